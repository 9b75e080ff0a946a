"""How fast the engine trains, against a plain loop and against itself with a trick off."""

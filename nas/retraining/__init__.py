"""The full training of one network: its run, its folder, and the one look at the test set."""

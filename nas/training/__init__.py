"""One training: the recipe, the batches, the step, the loop, and the device they run on.

Nothing here knows of a search. The recipe and the result need the standard library alone.
"""

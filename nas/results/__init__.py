"""What a study's trials say: the best, the estimates, what was spent, how long it will take.

It reads a study and never writes into one.
"""

"""A study: its definition, its folder and store, its trials, and who works on them.

Everything that is written about a search is written through here.
"""

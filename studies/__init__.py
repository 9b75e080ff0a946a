"""The published studies, one file per claim of the paper; `cli.py study` lists and runs them."""

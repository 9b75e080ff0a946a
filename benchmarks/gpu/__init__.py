"""What a visit to a GPU machine runs; see README.md beside this file."""

"""Scripts that print ratios against peers; each runs as a file."""

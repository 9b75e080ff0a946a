"""Data sets as tensors: loaded, split, augmented and served in batches."""

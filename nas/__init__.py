"""Neural architecture search under a parameter budget."""

__version__ = "0.1.0"

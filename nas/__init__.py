"""Neural architecture search under a parameter budget."""

__version__ = "0.2.0"

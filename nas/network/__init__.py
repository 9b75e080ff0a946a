"""A network as data: its records, its layers, what it costs, which one it is, its module.

Everything here is exact and follows from the records alone. Only `model` needs PyTorch.
"""

"""The paper's table and claims: rows trained as printed, claims tested with paired seeds.

An annex: only the commands `reproduce` and `study` know it.
"""

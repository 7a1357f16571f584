"""Measures the speed and memory of this package; a module for each subcommand of `tools/benchmark.py`.

Each module has `measure`, which yields records for a request, and `table`, which turns the records into text.
"""

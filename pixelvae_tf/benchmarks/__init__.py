"""How fast this package is and what memory it takes: a module for each subcommand of `tools/benchmark.py`.

Each has `measure`, from its request to records as they come, and `table`, from the records to text for people.
"""

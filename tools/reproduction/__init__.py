"""Makes the paper's tables and figures, and this project's own, from runs and records, for `tools/reproduce.py`."""

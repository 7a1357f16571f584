"""What `tools/reproduce.py` makes: the paper's tables and figures, and this project's own, from runs and records."""

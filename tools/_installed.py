"""Every tool imports this module first. If the package is missing, it ends with one line instead of a traceback."""

import importlib.util
import sys

for _name in ("pixelvae_tf", "absl", "tensorflow"):
    if importlib.util.find_spec(_name) is None:
        sys.exit(
            f"error: {_name} is not installed in this Python: run `pip install .` in the repository, "
            "or `make train` and then .venv/bin/python"
        )

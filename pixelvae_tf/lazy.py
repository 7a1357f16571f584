"""Names of a package that are imported when they are first asked for, so that it is imported without TensorFlow."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any


def lazy_names(package: str, homes: dict[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """What a package with such names defines: its `__getattr__`, `__dir__` and `__all__`.

    Args:
        package: its `__name__`.
        homes: the module of each name, relative to the package.
    """
    names = vars(sys.modules[package])

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        names[name] = getattr(importlib.import_module(f"{package}.{homes[name]}"), name)
        return names[name]

    return get, lambda: sorted({*names, *homes}), sorted(homes)

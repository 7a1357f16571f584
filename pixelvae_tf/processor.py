"""The processor that this runs on: its cores, its name, and its features."""

from __future__ import annotations

import functools
import os
import pathlib
import platform
import re

# Those that matter to matrix products, the slower first.
_TOLD_FEATURES = ("avx512f", "avx512_bf16", "amx_bf16")


def cores() -> int:
    """The cores that this process may use, where the system tells; else those of the machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def describe() -> str:
    """Name, cores and features of the processor that decide how fast it multiplies matrices."""
    names = re.findall(r"^model name\s*:\s*(.+)$", _cpuinfo(), re.MULTILINE)
    name = names[0].strip() if names else platform.processor() or platform.machine() or "unknown processor"
    told = [feature.upper().replace("_", "-") for feature in _TOLD_FEATURES if feature in features()]
    # Of the machine, which a record is about, whatever share of it this process has.
    return f"{name}, {os.cpu_count()} CPU cores" + (f" with {', '.join(told)}" if told else "")


def features() -> set[str]:
    """The features of the processor by Linux's names, such as "avx512_bf16"; none where the system does not tell."""
    return set(" ".join(re.findall(r"^(?:flags|Features)\s*:(.*)$", _cpuinfo(), re.MULTILINE)).split())


@functools.cache
def _cpuinfo() -> str:
    try:
        return pathlib.Path("/proc/cpuinfo").read_text()
    except OSError:
        return ""

"""Describes this machine's processor: its cores, its name, and its features."""

from __future__ import annotations

import functools
import os
import pathlib
import platform
import re

# The features that speed up matrix products, slowest first.
_TOLD_FEATURES = ("avx512f", "avx512_bf16", "amx_bf16")


def cores() -> int:
    """Returns the number of cores that this process may use, or all cores if the system does not tell."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def describe() -> str:
    """Returns the processor's name, cores, and features for matrix products."""
    names = re.findall(r"^model name\s*:\s*(.+)$", _cpuinfo(), re.MULTILINE)
    name = names[0].strip() if names else platform.processor() or platform.machine() or "unknown processor"
    told = [feature.upper().replace("_", "-") for feature in _TOLD_FEATURES if feature in features()]
    # All cores of the machine, because records describe the machine, not this process.
    return f"{name}, {os.cpu_count()} CPU cores" + (f" with {', '.join(told)}" if told else "")


def features() -> set[str]:
    """Returns the processor's features by Linux's names, such as "avx512_bf16"; empty if the system does not tell."""
    return set(" ".join(re.findall(r"^(?:flags|Features)\s*:(.*)$", _cpuinfo(), re.MULTILINE)).split())


@functools.cache
def _cpuinfo() -> str:
    try:
        return pathlib.Path("/proc/cpuinfo").read_text()
    except OSError:
        return ""

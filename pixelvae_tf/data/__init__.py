"""Datasets by name, and the batches that training and evaluation read. TensorFlow is imported when needed."""

import importlib

_HOMES = {
    "DataError": "schema",
    "DatasetInfo": "schema",
    "describe": "registry",
    "evaluation_batches": "pipeline",
    "explain_read_error": "damage",
    "fingerprint": "registry",
    "image_names": "registry",
    "load": "registry",
    "load_labelled": "registry",
    "names": "registry",
    "notes": "registry",
    "reading": "damage",
    "training_batches": "pipeline",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted([*globals(), *__all__])

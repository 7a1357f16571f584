"""The base of all configurations: frozen dataclasses that check each field and convert to JSON."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from pixelvae_tf.errors import UserError


class ConfigError(UserError):
    """A setting is not allowed. The message is one line that names the field and the remedy."""


def setting(default: Any, help: str, **metadata: Any) -> Any:
    """Declares a dataclass field with its help text.

    In the metadata, `choices` lists the allowed values (of each entry, for a tuple), `refused` says why certain values
    are not allowed, and `resumable` lets a resumed run change the field.
    """
    return dataclasses.field(default=default, metadata={"help": help, **metadata})


@dataclasses.dataclass(frozen=True)
class Config:
    """The base of the three configurations: type checks, and conversion to JSON and back."""

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(field.default, tuple):
                object.__setattr__(self, field.name, _checked_tuple(field, value))
            else:
                _check_scalar(field, value)

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as JSON values (tuples as lists)."""
        return {
            key: list(value) if isinstance(value, tuple) else value for key, value in dataclasses.asdict(self).items()
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]):
        """Inverts `to_dict`. Raises ConfigError for a field that does not exist."""
        known = {field.name for field in dataclasses.fields(cls)}
        for name in values:
            if name not in known:
                raise ConfigError(f"{name}: {cls.__name__} has no such field; known: {', '.join(sorted(known))}")
        return cls(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})


def _checked_tuple(field: dataclasses.Field, value: Any) -> tuple:
    """Checks a tuple of whole numbers or of the field's choices."""
    choices = field.metadata.get("choices")
    if not isinstance(value, (tuple, list)) or not all(
        item in choices if choices else type(item) is int for item in value
    ):
        remedy = f"choose from {', '.join(choices)}" if choices else "give whole numbers, for example (28, 28, 1)"
        raise ConfigError(f"{field.name}={value!r}: {remedy}")
    return tuple(value)


def _check_scalar(field: dataclasses.Field, value: Any) -> None:
    wanted = type(field.default)
    allowed = (int, float) if wanted is float else (wanted,)
    if type(value) not in allowed:
        raise ConfigError(f"{field.name}={value!r}: give a value of type {wanted.__name__}")
    if wanted is float and not math.isfinite(value):
        raise ConfigError(f"{field.name}={value!r}: give a finite number")
    choices = field.metadata.get("choices")
    refused = field.metadata.get("refused", {})
    if value in refused:
        raise ConfigError(f"{field.name}={value!r}: {refused[value]}")
    if choices and value not in choices:
        raise ConfigError(f"{field.name}={value!r}: choose one of {', '.join(map(repr, choices))}")


def require(condition: bool, name: str, value: Any, remedy: str) -> None:
    if not condition:
        raise ConfigError(f"{name}={value!r}: {remedy}")

"""A whole run: network, data and training."""

from __future__ import annotations

import dataclasses
from typing import Any

from pixelvae_tf.config.base import ConfigError
from pixelvae_tf.config.data import DataConfig
from pixelvae_tf.config.model import ModelConfig
from pixelvae_tf.config.training import TrainConfig


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """A whole run, as `config.json` in a work directory records it."""

    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    training: TrainConfig = dataclasses.field(default_factory=TrainConfig)

    def to_dict(self) -> dict[str, Any]:
        """The three parts as JSON values."""
        return {part.name: getattr(self, part.name).to_dict() for part in dataclasses.fields(self)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> RunConfig:
        """The inverse of `to_dict`. Raises ConfigError where a part is missing or unknown."""
        parts = {"model": ModelConfig, "data": DataConfig, "training": TrainConfig}
        if set(values) != set(parts):
            raise ConfigError(f"a run's configuration has the parts {', '.join(parts)}, not {', '.join(values)}")
        return cls(**{name: part.from_dict(values[name]) for name, part in parts.items()})

    def portable(self) -> RunConfig:
        """The same run without the folder of its data, which is this machine's."""
        return dataclasses.replace(self, data=dataclasses.replace(self.data, data_dir=""))

    def difference(self, other: RunConfig) -> str | None:
        """The first field in which a run that would continue `self` may not differ, as one line, or None."""
        for part in dataclasses.fields(self):
            mine, theirs = getattr(self, part.name), getattr(other, part.name)
            for field in dataclasses.fields(mine):
                old, new = getattr(mine, field.name), getattr(theirs, field.name)
                if old != new and not field.metadata.get("resumable"):
                    return f"{field.name} was {old!r} and is now {new!r}"
        return None

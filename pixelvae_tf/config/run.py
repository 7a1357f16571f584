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
        """Returns the three sections as JSON values."""
        return {section.name: getattr(self, section.name).to_dict() for section in dataclasses.fields(self)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> RunConfig:
        """Inverts `to_dict`. Raises ConfigError if a section is missing or unknown."""
        sections = {"model": ModelConfig, "data": DataConfig, "training": TrainConfig}
        if set(values) != set(sections):
            raise ConfigError(f"a run's configuration has the sections {', '.join(sections)}, not {', '.join(values)}")
        return cls(**{name: section.from_dict(values[name]) for name, section in sections.items()})

    def portable(self) -> RunConfig:
        """Returns the same run without the folder of its data, which exists only on this machine."""
        return dataclasses.replace(self, data=dataclasses.replace(self.data, data_dir=""))

    def difference(self, other: RunConfig) -> str | None:
        """Returns the first difference that keeps `other` from continuing `self`, as one line, or None."""
        for section in dataclasses.fields(self):
            mine, theirs = getattr(self, section.name), getattr(other, section.name)
            for field in dataclasses.fields(mine):
                old, new = getattr(mine, field.name), getattr(theirs, field.name)
                if old != new and not field.metadata.get("resumable"):
                    return f"{field.name} was {old!r} and is now {new!r}"
        return None

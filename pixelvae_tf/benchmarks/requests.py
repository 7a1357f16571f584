"""The request of each benchmark. Its fields are flags of `tools/benchmark.py`. Nothing here needs TensorFlow."""

from __future__ import annotations

import dataclasses

from pixelvae_tf.config import ConfigError, RunConfig
from pixelvae_tf.config.base import Config, require, setting
from pixelvae_tf.config.training import OPTIMIZERS

PRECISIONS = ("float32", "bfloat16")
IMPLEMENTATIONS = ("ours", "straightforward")


@dataclasses.dataclass(frozen=True)
class Input(Config):
    """Reading prepared images."""

    dataset: str = setting("imagenet64", "A prepared dataset, or image_folder.")
    data_dir: str = setting("", "Folder of prepared data, or of images.")
    image_size: int = setting(64, "Height and width.")
    batch_size: int = setting(64, "Images per batch.")
    images: int = setting(60_000, "Number of images to time the pipeline on.")
    augmentation: float = setting(0.0, "Fraction of the images that a second pipeline transforms; 0 for no second one.")

    def __post_init__(self):
        super().__post_init__()
        require(0 <= self.augmentation <= 1, "augmentation", self.augmentation, "use 0 to 1")


@dataclasses.dataclass(frozen=True)
class Prepare(Config):
    """Preparing images."""

    input: str = setting("", "An archive or folder of images of 64x64.")
    image_size: int = setting(64, "Height and width.")


@dataclasses.dataclass(frozen=True)
class OfModel(Config):
    """A benchmark of a model with initial weights."""

    run: RunConfig = setting(RunConfig(), "The model and its training.", flag=False)
    image_shape: tuple[int, ...] = setting(
        (), "Height, width and colors of the images; empty for those of --dataset (with --image_size, if it is given)."
    )
    pixel_levels: int = setting(2, "With --image_shape: number of values of a pixel.")


@dataclasses.dataclass(frozen=True)
class Sample(OfModel):
    """Drawing images."""

    batch_sizes: tuple[int, ...] = setting((1, 8, 64, 100, 256), "Images per call.")
    naive_passes: int = setting(28, "Passes of the naive sampler to time; the time of all passes is scaled from these.")
    calls: int = setting(5, "Calls after the first one; the fastest counts.")

    def __post_init__(self):
        super().__post_init__()
        require(self.batch_sizes and min(self.batch_sizes) >= 1, "batch_sizes", self.batch_sizes, "use 1 or more")
        for name in ("naive_passes", "calls"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "use 1 or more")


@dataclasses.dataclass(frozen=True)
class Size(OfModel):
    """The calculated needs of training, and two measured steps."""

    measured_batch_size: int = setting(2, "Images of each measured step; 0 measures none and only calculates.")

    def __post_init__(self):
        super().__post_init__()
        require(self.measured_batch_size >= 0, "measured_batch_size", self.measured_batch_size, "use 0 or more")


@dataclasses.dataclass(frozen=True)
class Timed(OfModel):
    """A benchmark that times its work several times."""

    repeats: int = setting(10, "Number of times to time everything, in turns; medians count.")

    def __post_init__(self):
        super().__post_init__()
        require(self.repeats >= 1, "repeats", self.repeats, "use 1 or more")


@dataclasses.dataclass(frozen=True)
class Step(Timed):
    """The training step, in every combination of the listed values."""

    batch_sizes: tuple[int, ...] = setting((), "Images per step; empty for --batch_size.")
    precision: tuple[str, ...] = setting((), "Precisions; empty for --mixed_precision.", choices=PRECISIONS)
    xla: tuple[str, ...] = setting(
        (),
        "What XLA compiles: 'elementwise' is the gates; 'none' is nothing; 'all' is the whole step, as with "
        "--compile_step. Empty follows --compile_step: 'all' with it, else 'elementwise'.",
        choices=("none", "elementwise", "all"),
    )
    implementation: tuple[str, ...] = setting(
        ("ours",),
        "'ours', or 'straightforward' masked stacks: whole kernels times masks, a linear layer for each gate, "
        "automatic gradients.",
        choices=IMPLEMENTATIONS,
    )
    activations: tuple[str, ...] = setting(
        (),
        "Maps inside the masked blocks for the gradient: 'stored' or 'recomputed'; empty follows --recompute_blocks.",
        choices=("stored", "recomputed"),
    )
    steps_a_repeat: int = setting(1, "Steps to time together; more of them keep a GPU busy between two readings.")

    def __post_init__(self):
        super().__post_init__()
        require(self.steps_a_repeat >= 1, "steps_a_repeat", self.steps_a_repeat, "use 1 or more")
        require(all(size >= 1 for size in self.batch_sizes), "batch_sizes", self.batch_sizes, "use 1 or more")


@dataclasses.dataclass(frozen=True)
class Profile(Step):
    """The training step by kind of operation; `repeats` is the number of profiled steps."""


@dataclasses.dataclass(frozen=True)
class Convergence(OfModel):
    """Trainings of --steps steps, each with a validation at its end."""

    seeds: tuple[int, ...] = setting((0, 1), "Seeds to train from, instead of --seed.")
    implementation: tuple[str, ...] = setting(
        IMPLEMENTATIONS, "Masked stacks to train; see `step`.", choices=IMPLEMENTATIONS
    )
    optimizers: tuple[str, ...] = setting((), "Optimizers to train with; empty for --optimizer.", choices=OPTIMIZERS)
    precision: tuple[str, ...] = setting(
        (), "Precisions to train in; see `step`. Empty for --mixed_precision.", choices=PRECISIONS
    )

    def __post_init__(self):
        super().__post_init__()
        require(self.seeds and min(self.seeds) >= 0, "seeds", self.seeds, "give at least one; each must be 0 or more")
        require(bool(self.implementation), "implementation", self.implementation, "give at least one")


@dataclasses.dataclass(frozen=True)
class Outputs(Timed):
    """A training of --steps steps with each output distribution, and the time of a step."""

    distributions: tuple[str, ...] = setting(
        ("discrete", "logistics"),
        "Distributions to compare, instead of --output_distribution.",
        choices=("discrete", "logistics", "gaussian"),
    )

    def __post_init__(self):
        super().__post_init__()
        require(bool(self.distributions), "distributions", self.distributions, "give at least one")


@dataclasses.dataclass(frozen=True)
class Evaluate(Timed):
    """The bound and the importance-sampled likelihood."""

    batch_sizes: tuple[int, ...] = setting((1, 10, 100), "Images per call.")
    importance_samples: int = setting(10, "Latent samples per image.")

    def __post_init__(self):
        super().__post_init__()
        require(self.importance_samples >= 1, "importance_samples", self.importance_samples, "use 1 or more")
        require(all(size >= 1 for size in self.batch_sizes), "batch_sizes", self.batch_sizes, "use 1 or more")


@dataclasses.dataclass(frozen=True)
class Scaling(Timed):
    """The training step against one number at a time; the flags set the others."""

    layers: tuple[int, ...] = setting((1, 4, 7, 13), "Masked layers over the pixels.")
    channels: tuple[int, ...] = setting((8, 16, 32), "Feature maps of each masked stack.")
    batches: tuple[int, ...] = setting((25, 50, 100), "Images per step.")
    sides: tuple[int, ...] = setting((14, 28, 42), "Height and width of the images.")

    def __post_init__(self):
        super().__post_init__()
        for name in ("layers", "channels", "batches", "sides"):
            values = getattr(self, name)
            require(all(value >= 1 for value in values), name, values, "use 1 or more")
        if not (self.layers or self.channels or self.batches or self.sides):
            raise ConfigError("layers, channels, batches, sides: give values for at least one of them")


BY_NAME = {
    request.__name__.lower(): request
    for request in (Input, Prepare, Sample, Size, Step, Profile, Convergence, Outputs, Evaluate, Scaling)
}

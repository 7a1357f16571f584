"""Frozen, validated settings of a model, its data and its training.

Three dataclasses describe a run completely: `ModelConfig` rebuilds the network, `DataConfig` names the
images, `TrainConfig` says how to optimise. Every field carries its own help text, from which the command
lines make their flags, and every error names the field and the remedy. Nothing here needs TensorFlow.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from pixelvae_tf.errors import UserError


class ConfigError(UserError):
    """A setting that cannot be used; the message is one line that names the field and the remedy."""


def setting(default: Any, help: str, **metadata: Any) -> Any:
    """A dataclass field with its help text; `choices` limits it, `resumable` lets a resumed run change it."""
    return dataclasses.field(default=default, metadata={"help": help, **metadata})


@dataclasses.dataclass(frozen=True)
class _Config:
    """What the three configurations share: checks by type, and a round trip through JSON."""

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(field.default, tuple):
                object.__setattr__(self, field.name, _checked_tuple(field.name, value))
            else:
                _check_scalar(field, value)

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values (tuples as lists)."""
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in dataclasses.asdict(self).items()
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]):
        """The inverse of `to_dict`. Raises ConfigError for a field that does not exist."""
        known = {field.name for field in dataclasses.fields(cls)}
        for name in values:
            if name not in known:
                raise ConfigError(f"{name}: {cls.__name__} has no such field; known: {', '.join(sorted(known))}")
        return cls(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})


def _checked_tuple(name: str, value: Any) -> tuple[int, ...]:
    if not isinstance(value, (tuple, list)) or not all(type(item) is int for item in value):
        raise ConfigError(f"{name}={value!r}: give whole numbers, for example (28, 28, 1)")
    return tuple(value)


def _check_scalar(field: dataclasses.Field, value: Any) -> None:
    wanted = type(field.default)
    allowed = (int, float) if wanted is float else (wanted,)
    if type(value) not in allowed:
        raise ConfigError(f"{field.name}={value!r}: give a value of type {wanted.__name__}")
    if wanted is float and not math.isfinite(value):
        raise ConfigError(f"{field.name}={value!r}: give a finite number")
    choices = field.metadata.get("choices")
    if choices and value not in choices:
        raise ConfigError(f"{field.name}={value!r}: choose one of {', '.join(map(repr, choices))}")


def _require(condition: bool, name: str, value: Any, remedy: str) -> None:
    if not condition:
        raise ConfigError(f"{name}={value!r}: {remedy}")


@dataclasses.dataclass(frozen=True)
class ModelConfig(_Config):
    """The network of one PixelVAE: everything needed to rebuild it.

    The default is the best row of the paper's Table 1, "GatedPixelVAE without upsampling". `latent_channels`
    lists the levels from z1 upward, so `()` is an unconditional PixelCNN and `pixelcnn_layers=0` a plain VAE.
    """

    image_shape: tuple[int, ...] = setting((28, 28, 1), "Height, width and colors of an image.", flag=False)
    pixel_levels: int = setting(
        2, "Values that a pixel can take, 0..levels-1: 2 is a Bernoulli output, more a softmax.", flag=False
    )
    network: str = setting(
        "convolutional",
        "Unmasked networks: 'convolutional' (section 4.1: ReLU, one level of latents) or 'residual' (sections 4.2 "
        "and 4.3: ELU residual blocks, any number of levels).",
        choices=("convolutional", "residual"),
    )
    latent_channels: tuple[int, ...] = setting(
        (16,), "Dimensions of each level of latents (at each position), z1 first; empty for an unconditional PixelCNN."
    )
    latent_strides: tuple[int, ...] = setting(
        (), "Pixels from one position of a level's maps to the next, z1 first: 4 makes 8x8 maps of 32x32 images, 0 a "
        "vector for the whole image; empty for vectors."
    )
    latent_scale: str = setting(
        "exp",
        "Standard deviations from a network's output s: 'exp' is exp(s), 'softsign' is (softsign(s) + 1) / 2, with "
        "bounded means of p(z1 | z2).",
        choices=("exp", "softsign"),
    )
    encoder_channels: tuple[int, ...] = setting(
        (32, 64, 64), "Feature maps of the encoder, full resolution first. Convolutional: of its stages, each of "
        "which halves the sides; residual: at each resolution, half the one before."
    )
    conditioning: str = setting(
        "bias",
        "How z reaches the decoder: 'bias' adds a linear map of z inside every gate, 'maps' upsamples z to maps "
        "that enter beside the image.",
        choices=("bias", "maps"),
    )
    upsampling_channels: tuple[int, ...] = setting(
        (32, 32, 64), "Feature maps of the upsampling decoder, full resolution first (conditioning='maps'); residual: "
        "at each resolution, as many as encoder_channels."
    )
    residual_blocks: int = setting(1, "Residual blocks at each resolution besides those that change it.")
    batch_normalization: bool = setting(True, "Batch normalization in the residual blocks.")
    masked_blocks: str = setting(
        "stacks",
        "Masked layers: 'stacks' (vertical and horizontal, no blind spot) or 'residual' (the paper's code for natural "
        "images, with its blind spot).",
        choices=("stacks", "residual"),
    )
    pixelcnn_layers: int = setting(
        13, "Masked layers over the pixels, the first one (mask A) included; 0 makes pixels independent given z."
    )
    pixelcnn_channels: int = setting(16, "Feature maps of each masked stack.")
    latent_pixelcnn_layers: int = setting(
        3, "Masked layers over the maps of each lower level of latents; 0 makes its positions independent given the "
        "level above."
    )
    latent_pixelcnn_channels: int = setting(64, "Feature maps of each masked stack over latents.")
    first_kernel_size: int = setting(7, "Side of the first masked layer's kernel, odd.")
    kernel_size: int = setting(5, "Side of the other masked layers' kernels, odd.")
    activation: str = setting(
        "gated", "Unit of the masked layers: 'gated' (tanh times sigmoid) or 'relu'.", choices=("gated", "relu")
    )
    output_layers: int = setting(2, "Masked 1x1 layers between the last masked layer and the logits.")
    output_distribution: str = setting(
        "discrete",
        "Distribution of a pixel: 'discrete' (Bernoulli for two levels, else a softmax) or 'gaussian' (a discretised "
        "diagonal Gaussian; for decoders without masked layers).",
        choices=("discrete", "gaussian"),
    )
    embedding_channels: int = setting(
        0, "Learned dimensions for each value of each color at the input; 0 feeds the scaled pixel values."
    )
    weight_normalization: bool = setting(True, "Normalise the weights of every convolution and linear layer.")

    def __post_init__(self):
        super().__post_init__()
        _require(len(self.image_shape) == 3 and min(self.image_shape, default=0) >= 1, "image_shape",
                 self.image_shape, "give (height, width, colors), each at least 1")
        _require(2 <= self.pixel_levels <= 256, "pixel_levels", self.pixel_levels, "use 2 to 256")
        for name in ("latent_channels", "encoder_channels", "upsampling_channels"):
            value = getattr(self, name)
            _require(all(item >= 1 for item in value), name, value, "every entry must be at least 1")
        for name in ("pixelcnn_layers", "latent_pixelcnn_layers", "output_layers", "embedding_channels",
                     "residual_blocks"):
            _require(getattr(self, name) >= 0, name, getattr(self, name), "use 0 or more")
        for name in ("first_kernel_size", "kernel_size"):
            value = getattr(self, name)
            _require(value >= 3 and value % 2 == 1, name, value, "use an odd number of at least 3")
        _require(self.pixelcnn_channels >= self.image_shape[2], "pixelcnn_channels", self.pixelcnn_channels,
                 "use at least one feature map for each color")
        _require(self.latent_pixelcnn_channels >= 1, "latent_pixelcnn_channels", self.latent_pixelcnn_channels,
                 "use 1 or more")
        if self.num_levels:
            _require(len(self.encoder_channels) >= 1, "encoder_channels", (), "an encoder needs a stage")
        if self.pixelcnn_layers == 0:
            _require(self.num_levels > 0, "pixelcnn_layers", 0, "without latents a masked layer is needed")
            _require(self.conditioning == "maps", "pixelcnn_layers", 0,
                     "without masked layers z must be upsampled: use conditioning='maps'")
        if self.output_distribution == "gaussian":
            _require(self.pixelcnn_layers == 0, "output_distribution", "gaussian",
                     "masked layers need discrete pixels: use pixelcnn_layers=0 or output_distribution='discrete'")
        if self.num_levels and self.conditioning == "maps":
            _require(len(self.upsampling_channels) >= 1, "upsampling_channels", (), "upsampling needs a stage")
        self._check_levels()

    def _check_levels(self) -> None:
        strides = self.latent_strides
        _require(not strides or len(strides) == self.num_levels, "latent_strides", strides,
                 f"give one for each of the {self.num_levels} latent_channels, or none")
        if self.network == "convolutional":
            _require(self.num_levels <= 1, "latent_channels", self.latent_channels,
                     "several levels need network='residual'")
            _require(not any(strides), "latent_strides", strides, "maps of latents need network='residual'")
            _require(self.masked_blocks == "stacks", "masked_blocks", self.masked_blocks,
                     "needs network='residual'")
            return
        if not self.num_levels:
            return
        _require(self.conditioning == "maps", "conditioning", self.conditioning, "network='residual' needs 'maps'")
        _require(len(self.upsampling_channels) == len(self.encoder_channels), "upsampling_channels",
                 self.upsampling_channels, f"give {len(self.encoder_channels)}, as many as encoder_channels")
        coarsest = 2 ** (len(self.encoder_channels) - 1)
        _require(all(side % coarsest == 0 for side in self.image_shape[:2]), "image_shape", self.image_shape,
                 f"{len(self.encoder_channels)} encoder_channels halve the sides to 1/{coarsest}: use sides that "
                 f"{coarsest} divides, or fewer encoder_channels")
        allowed = [2**halvings for halvings in range(len(self.encoder_channels))]
        of_maps = strides[:-1] if strides[-1:] in ((), (0,)) else strides
        _require(all(stride in allowed for stride in of_maps) and list(of_maps) == sorted(set(of_maps)),
                 "latent_strides", strides,
                 f"use rising powers of two up to {coarsest}, and 0 (a vector) for the topmost level alone")
        _require(self.num_levels == 1 or strides, "latent_strides", strides,
                 "several levels need a stride each, for example 4,0")

    @property
    def latent_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shape of each level's latents without the batch, z1 first: (channels,) or (height, width, channels)."""
        height, width, _ = self.image_shape
        strides = self.latent_strides or (0,) * self.num_levels
        return tuple(
            (height // stride, width // stride, channels) if stride else (channels,)
            for stride, channels in zip(strides, self.latent_channels, strict=True)
        )

    @property
    def num_levels(self) -> int:
        """Levels of latent variables, L in equation 2; 0 for an unconditional PixelCNN."""
        return len(self.latent_channels)

    @property
    def num_dimensions(self) -> int:
        """Dimensions of an image, over which bits per dimension are counted."""
        return math.prod(self.image_shape)


@dataclasses.dataclass(frozen=True)
class DataConfig(_Config):
    """Which images: a dataset by name and where its prepared files lie."""

    dataset: str = setting(
        "digits", "Dataset by name: digits, binarized_mnist, mnist, lsun_bedroom, imagenet64 or image_folder."
    )
    data_dir: str = setting(
        "", "Folder of prepared TensorFlow Datasets, empty for TFDS_DATA_DIR or ~/tensorflow_datasets; for "
        "image_folder the folder of your images.",
        resumable=True,
    )
    image_size: int = setting(
        0, "Height and width of the images: 32 or 64 for lsun_bedroom and imagenet64, any for image_folder, which crops "
        "and resizes to it; 0 for the size that the dataset has."
    )
    data_variant: str = setting(
        "", "How a prepared dataset's images must have been made (its metadata.json says how they were); empty for any."
    )
    cache: bool = setting(
        False, "Whether to keep the training images in memory; changes speed and memory, not the batches.",
        resumable=True,
    )

    def __post_init__(self):
        super().__post_init__()
        _require(self.image_size >= 0, "image_size", self.image_size, "use 0 or more")


@dataclasses.dataclass(frozen=True)
class TrainConfig(_Config):
    """How a model is optimised and how often the run is measured and saved. The defaults are the paper's."""

    steps: int = setting(200_000, "Training steps in all; a resumed run counts the steps already taken.",
                         resumable=True)
    batch_size: int = setting(100, "Images a step, over all devices.")
    seed: int = setting(0, "Seed of the initial weights, the data order and the noise.")
    learning_rate: float = setting(1e-3, "Adam's learning rate, at its highest.")
    learning_rate_schedule: str = setting(
        "constant", "'constant'; 'step' multiplies by learning_rate_decay every learning_rate_decay_steps; "
        "'cosine' falls to learning_rate_decay times the rate at the last step.",
        choices=("constant", "step", "cosine"),
    )
    learning_rate_warmup_steps: int = setting(0, "Steps over which the learning rate rises linearly from 0.")
    learning_rate_decay: float = setting(0.1, "Factor of the 'step' schedule, final fraction of 'cosine'.")
    learning_rate_decay_steps: int = setting(180_000, "Steps between the drops of the 'step' schedule.")
    kl_warmup_steps: tuple[int, ...] = setting(
        (10_000,), "Steps over which the weight of the KL terms rises linearly from 0 to 1; further numbers, one a "
        "level from z2 upward, are steps over which that level's weight rises besides, times the one below."
    )
    prior_scale_floor_steps: int = setting(
        0, "Steps over which the smallest standard deviation of p(z1 | z2) in training falls from 1 to 0."
    )
    gradient_clip_value: float = setting(1.0, "Clip every gradient element to +-this; 0 does not.")
    gradient_clip_norm: float = setting(0.0, "Scale the gradient down to at most this global norm; 0 does not.")
    ema_decay: float = setting(
        0.0, "Decay of the moving average of the weights, which evaluation and sampling then use; 0 keeps none."
    )
    validation_every: int = setting(500, "Steps between measurements of the validation bound.")
    validation_examples: int = setting(0, "Validate on this many examples; 0 on all.")
    checkpoint_every: int = setting(500, "Steps between checkpoints.", resumable=True)
    log_every: int = setting(50, "Steps between entries in TensorBoard.", resumable=True)
    images_every: int = setting(5_000, "Steps between sample and reconstruction grids in TensorBoard; 0 for none.",
                                resumable=True)
    deterministic: bool = setting(False, "Make every operation repeatable bit for bit, at some cost in speed.")
    mixed_precision: str = setting("float32", "Precision of the network: 'float32' or 'bfloat16' (losses and "
                                   "weights stay float32).", choices=("float32", "bfloat16"))
    profile_steps: tuple[int, ...] = setting((), "First and last step of a TensorBoard profile.", resumable=True)
    strategy: str = setting(
        "auto", "Devices: 'one_device'; 'mirrored' copies the model to all GPUs of this machine; 'multi_worker' to "
        "those of all machines that TF_CONFIG names; 'auto' takes the last that applies.",
        choices=("auto", "one_device", "mirrored", "multi_worker"), resumable=True,
    )
    cpu_devices: int = setting(
        0, "Divide the CPU into so many devices for strategy='mirrored', to test it without GPUs; 0 uses GPUs.",
        resumable=True,
    )

    def __post_init__(self):
        super().__post_init__()
        for name in ("steps", "batch_size", "validation_every", "checkpoint_every", "log_every",
                     "learning_rate_decay_steps"):
            _require(getattr(self, name) >= 1, name, getattr(self, name), "use 1 or more")
        for name in ("prior_scale_floor_steps", "learning_rate_warmup_steps", "validation_examples", "images_every", "seed",
                     "gradient_clip_value", "gradient_clip_norm", "cpu_devices"):
            _require(getattr(self, name) >= 0, name, getattr(self, name), "use 0 or more")
        _require(all(steps >= 0 for steps in self.kl_warmup_steps), "kl_warmup_steps", self.kl_warmup_steps,
                 "use 0 or more")
        _require(self.seed < 2**31, "seed", self.seed, "use less than 2147483648")
        _require(self.learning_rate > 0, "learning_rate", self.learning_rate, "use a positive number")
        _require(0 <= self.ema_decay < 1, "ema_decay", self.ema_decay, "use 0 up to, but not including, 1")
        _require(0 <= self.learning_rate_decay <= 1, "learning_rate_decay", self.learning_rate_decay, "use 0 to 1")
        _require(self.learning_rate_warmup_steps < self.steps or self.learning_rate_warmup_steps == 0,
                 "learning_rate_warmup_steps", self.learning_rate_warmup_steps, "use fewer than steps")
        _require(not self.cpu_devices or self.strategy == "mirrored", "cpu_devices", self.cpu_devices,
                 "only strategy='mirrored' divides the CPU; leave it at 0")
        if self.profile_steps:
            _require(len(self.profile_steps) == 2 and 1 <= self.profile_steps[0] <= self.profile_steps[1],
                     "profile_steps", self.profile_steps, "give the first and the last step, for example 100,110")


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

    def difference(self, other: RunConfig) -> str | None:
        """The first field in which a run that would continue `self` may not differ, as one line, or None."""
        for part in dataclasses.fields(self):
            mine, theirs = getattr(self, part.name), getattr(other, part.name)
            for field in dataclasses.fields(mine):
                old, new = getattr(mine, field.name), getattr(theirs, field.name)
                if old != new and not field.metadata.get("resumable"):
                    return f"{field.name} was {old!r} and is now {new!r}"
        return None

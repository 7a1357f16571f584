"""The settings of training."""

from __future__ import annotations

import dataclasses
import re

from pixelvae_tf.config.base import Config, require, setting
from pixelvae_tf.probability.seeds import LARGEST_SEED

OPTIMIZERS = ("adam", "soap", "rmsprop")


@dataclasses.dataclass(frozen=True)
class TrainConfig(Config):
    """How to train a model, and how often to validate and save it. The defaults are the paper's."""

    steps: int = setting(
        200_000, "Training steps in total, including those that a resumed run has already taken.", resumable=True
    )
    batch_size: int = setting(100, "Images per step over all devices.")
    seed: int = setting(0, "Seed of the initial weights, the data order and the noise.")
    initialize_from: str = setting(
        "",
        "Start from the best weights of a trained model (a work directory, or the name of a pretrained model) instead "
        "of random ones, where names and shapes match. The command reports weights that do not match. Several models, "
        "separated by commas, give the mean of their weights: for models fine-tuned from the same weights.",
    )
    initialize_from_sha256: str = setting(
        "",
        "Required SHA-256 of the weights file of initialize_from (several separated by commas); empty accepts any. A "
        "run records the one that it started from.",
    )
    optimizer: str = setting(
        "adam",
        "'adam' (the paper's); 'soap' (Adam in the eigenbasis of the gradients' second moments: fewer steps, each a "
        "little slower); 'rmsprop' (PixelRNN's).",
        choices=OPTIMIZERS,
    )
    learning_rate: float = setting(1e-3, "The highest learning rate of the run.")
    learning_rate_schedule: str = setting(
        "constant",
        "'constant'; 'step' multiplies by learning_rate_decay every learning_rate_decay_steps; "
        "'cosine' falls to learning_rate_decay times the rate at the last step.",
        choices=("constant", "step", "cosine"),
    )
    learning_rate_warmup_steps: int = setting(0, "Steps over which the learning rate rises linearly from 0.")
    learning_rate_decay: float = setting(
        0.1, "Factor of each drop of the 'step' schedule; final fraction of the 'cosine' schedule."
    )
    learning_rate_decay_steps: int = setting(180_000, "Steps between the drops of the 'step' schedule.")
    kl_warmup_steps: tuple[int, ...] = setting(
        (10_000,),
        "Steps over which the weight of the KL terms rises linearly from 0 to 1. A second number adds a warm-up for z2 "
        "and so on: the weight of such a level is its own warm-up times the weight of the level below.",
    )
    kl_weight: float = setting(
        1.0,
        "Weight of the KL terms in the training loss after all warm-ups: below 1 the latents carry more, above 1 less. "
        "The reported bound always has weight 1.",
    )
    free_bits: float = setting(
        0.0,
        "Nats that each level of latents may carry for free: the training loss counts a level's KL, averaged over the "
        "batch, as at least this. The reported bound counts the true KL. 0 turns this off.",
    )
    prior_scale_floor_steps: int = setting(
        0, "Steps over which the lower limit of the standard deviations of p(z1 | z2) in training falls from 1 to 0."
    )
    gradient_clip_value: float = setting(1.0, "Clip every element of the gradients to +- this value; 0 turns this off.")
    gradient_clip_norm: float = setting(
        0.0, "Scale the gradients of the loss (in nats an image) down to at most this global norm; 0 turns this off."
    )
    ema_decay: float = setting(
        0.0, "Decay of a moving average of the weights, which evaluation and sampling use; 0 turns this off."
    )
    dropout: float = setting(
        0.0,
        "Fraction of the elements of the maps inside the masked residual blocks that training drops at random, rounded "
        "to 256ths; 0 turns this off.",
    )
    augmentation: float = setting(
        0.0,
        "Fraction of the training images that are turned, sheared and stretched a little, at random and anew at each "
        "step. Pixels are copied, not mixed, so levels stay levels. Validation and test images stay as they are. 0 "
        "turns this off.",
    )
    augmentation_steps: int = setting(
        0,
        "Steps that transform images; the steps after them see the images as they are, whose distribution counts. 0 "
        "for all.",
    )
    validation_every: int = setting(500, "Steps between measurements of the validation bound.")
    validation_examples: int = setting(0, "Number of images to validate on; 0 for all.")
    checkpoint_every: int = setting(500, "Steps between checkpoints.", resumable=True)
    log_every: int = setting(50, "Steps between entries in TensorBoard.", resumable=True)
    images_every: int = setting(
        5_000, "Steps between grids of samples and reconstructions in TensorBoard; 0 for none.", resumable=True
    )
    deterministic: bool = setting(False, "Make every operation repeatable bit for bit, at a cost in speed.")
    mixed_precision: str = setting(
        "auto",
        "Precision of the networks in training: 'float32'; 'bfloat16' (losses and weights stay float32); or 'auto', "
        "which uses bfloat16 on GPUs of compute capability 8.0 or more and on processors with AMX-BF16 or AVX512-BF16, "
        "but float32 elsewhere and with --deterministic. A run keeps the precision that it began with.",
        choices=("auto", "float32", "bfloat16"),
        refused={"float16": "its gradients need a scaled loss, which this training does not have; use bfloat16"},
    )
    recompute_blocks: bool = setting(
        False,
        "Recompute the maps inside the masked blocks for the gradient instead of keeping them (gradient "
        "checkpointing): less memory, more time, the same gradients.",
        resumable=True,
    )
    compile_step: bool = setting(
        False,
        "XLA compiles the whole training step, not only the gates. This is for GPUs, which take longer to start the "
        "step's many small operations than to compute them. Compiling takes minutes (docs/performance.md has XLA's "
        "settings that shorten it), and results differ by rounding.",
        resumable=True,
    )
    profile_steps: tuple[int, ...] = setting(
        (), "First and last step of a TensorBoard profile, for example 100,110.", resumable=True
    )
    strategy: str = setting(
        "auto",
        "Devices: 'one_device'; 'mirrored' uses all GPUs of this machine; 'multi_worker' uses all GPUs of all "
        "machines that TF_CONFIG names; 'auto' picks the last of these that applies.",
        choices=("auto", "one_device", "mirrored", "multi_worker"),
        resumable=True,
    )
    cpu_devices: int = setting(
        0,
        "Split the CPU into this many devices, to test strategy='mirrored' without GPUs; 0 uses GPUs.",
        resumable=True,
    )

    def __post_init__(self):
        super().__post_init__()
        for name in (
            "steps",
            "batch_size",
            "validation_every",
            "checkpoint_every",
            "log_every",
            "learning_rate_decay_steps",
        ):
            require(getattr(self, name) >= 1, name, getattr(self, name), "use 1 or more")
        for name in (
            "prior_scale_floor_steps",
            "learning_rate_warmup_steps",
            "validation_examples",
            "images_every",
            "gradient_clip_value",
            "kl_weight",
            "free_bits",
            "gradient_clip_norm",
            "cpu_devices",
            "augmentation_steps",
        ):
            require(getattr(self, name) >= 0, name, getattr(self, name), "use 0 or more")
        require(
            all(steps >= 0 for steps in self.kl_warmup_steps), "kl_warmup_steps", self.kl_warmup_steps, "use 0 or more"
        )
        require(0 <= self.seed <= LARGEST_SEED, "seed", self.seed, f"use 0 to {LARGEST_SEED}")
        require(self.learning_rate > 0, "learning_rate", self.learning_rate, "use a positive number")
        require(0 <= self.ema_decay < 1, "ema_decay", self.ema_decay, "use 0 up to, but not including, 1")
        require(0 <= self.dropout < 1, "dropout", self.dropout, "use 0 up to, but not including, 1")
        require(0 <= self.augmentation <= 1, "augmentation", self.augmentation, "use 0 to 1")
        require(
            not self.augmentation_steps or self.augmentation > 0,
            "augmentation_steps",
            self.augmentation_steps,
            "say with augmentation which fraction of the images is transformed, or leave it at 0",
        )
        require(0 <= self.learning_rate_decay <= 1, "learning_rate_decay", self.learning_rate_decay, "use 0 to 1")
        require(
            self.learning_rate_warmup_steps < self.steps or self.learning_rate_warmup_steps == 0,
            "learning_rate_warmup_steps",
            self.learning_rate_warmup_steps,
            "use a number below steps",
        )
        require(
            not self.cpu_devices or self.strategy == "mirrored",
            "cpu_devices",
            self.cpu_devices,
            "only strategy='mirrored' splits the CPU; leave it at 0",
        )
        require(
            not self.initialize_from_sha256 or bool(self.initialize_from),
            "initialize_from_sha256",
            self.initialize_from_sha256,
            "say with initialize_from which weights these are",
        )
        require(
            re.fullmatch("([0-9a-f]{64}(,[0-9a-f]{64})*)?", self.initialize_from_sha256) is not None,
            "initialize_from_sha256",
            self.initialize_from_sha256,
            "give 64 hexadecimal digits in lower case, separated by commas for several models, or none",
        )
        models = self.initialize_from.split(",")
        require(
            models == [""] or "" not in models,
            "initialize_from",
            self.initialize_from,
            "name a model on each side of a comma",
        )
        require(
            not self.initialize_from_sha256 or len(models) == len(self.initialize_from_sha256.split(",")),
            "initialize_from_sha256",
            self.initialize_from_sha256,
            f"give one checksum for each of the {len(models)} models of initialize_from",
        )
        if self.profile_steps:
            require(
                len(self.profile_steps) == 2 and 1 <= self.profile_steps[0] <= self.profile_steps[1],
                "profile_steps",
                self.profile_steps,
                "give the first and the last step, for example 100,110",
            )

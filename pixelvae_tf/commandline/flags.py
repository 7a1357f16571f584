"""Flags: a flag for each field of the configuration, read from flag files and the command line.

A flag file has one --name=value on each line. A `--flagfile` in a flag file is relative to that file. A flag on the
command line overrides every flag file, in any order.
"""

from __future__ import annotations

import dataclasses
import math
import os
import pathlib
import sys

from absl import flags

from pixelvae_tf.config import ConfigError, DataConfig, ModelConfig, RunConfig, TrainConfig
from pixelvae_tf.errors import UserError
from pixelvae_tf.probability.seeds import LARGEST_SEED
from pixelvae_tf.runs import pretrained

flags.disclaim_key_flags()
FLAGS = flags.FLAGS
# Sides that allow any number of halvings, to check flags before the image size is known.
ANY_SHAPE = (1 << 10, 1 << 10, 1)
_DEEPEST_FLAGFILE = 20
# Files that include the next one several times would take forever, even if few levels deep.
_MOST_FLAGFILES = 100


class UsageError(UserError):
    """An error in the command line; the message is one line."""


def define_config_flags(values: flags.FlagValues = FLAGS) -> None:
    """Defines a flag for every field of the three configurations that users set."""
    for config_class in (ModelConfig, DataConfig, TrainConfig):
        define_flags(config_class, values)


def define_flags(config_class, values: flags.FlagValues = FLAGS) -> None:
    """Defines a flag for every field of one configuration class that users set."""
    for field in dataclasses.fields(config_class):
        if field.metadata.get("flag", True):
            _define(field, values)


def _define(field: dataclasses.Field, values: flags.FlagValues) -> None:
    name, default, help = field.name, field.default, field.metadata["help"]
    if isinstance(default, tuple):
        flags.DEFINE_list(name, [str(item) for item in default], help, flag_values=values)
    elif isinstance(default, bool):
        flags.DEFINE_bool(name, default, help, flag_values=values)
    elif isinstance(default, int):
        flags.DEFINE_integer(name, default, help, flag_values=values)
    elif isinstance(default, float):
        flags.DEFINE_float(name, default, help, flag_values=values)
    elif "choices" in field.metadata and "refused" not in field.metadata:
        flags.DEFINE_enum(name, default, list(field.metadata["choices"]), help, flag_values=values)
    else:
        flags.DEFINE_string(name, default, help, flag_values=values)


def values_of(config_class, values: flags.FlagValues = FLAGS) -> dict:
    """Returns the values of the flags of one configuration class as arguments for its constructor."""
    arguments = {}
    for field in dataclasses.fields(config_class):
        if field.metadata.get("flag", True):
            value = values[field.name].value
            of_numbers = isinstance(field.default, tuple) and "choices" not in field.metadata
            arguments[field.name] = integers(field.name, value) if of_numbers else value
    return arguments


def run_of_flags(
    image_shape: tuple[int, ...] = ANY_SHAPE, pixel_levels: int | None = None, values: flags.FlagValues = FLAGS
) -> RunConfig:
    """Builds the configuration of a run from the flags.

    Args:
        image_shape: height, width and colors of its images; the default suits every network, before the data is known.
        pixel_levels: number of values of a pixel; None for the default.
        values: the flags.

    Raises:
        ConfigError: for values that are not allowed.
    """
    of_images = {"image_shape": tuple(image_shape)}
    if pixel_levels is not None:
        of_images["pixel_levels"] = pixel_levels
    return RunConfig(
        ModelConfig(**of_images, **values_of(ModelConfig, values)),
        DataConfig(**values_of(DataConfig, values)),
        TrainConfig(**values_of(TrainConfig, values)),
    )


def configuration(path: pathlib.Path, changes: list[str], image_shape: tuple[int, ...], pixel_levels: int) -> RunConfig:
    """Returns the configuration that training would record for a flag file, more flags, and images of this shape.

    Raises:
        UsageError: for an unreadable flag file, or for flags that do not exist.
        ConfigError: for values that are not allowed.
    """
    values = flags.FlagValues()
    define_config_flags(values)
    try:
        values(["train", *_read_flagfile(path), *changes])
    except flags.Error as error:
        raise UsageError(f"{path}: {error}") from None
    return run_of_flags(image_shape, pixel_levels, values)


def integers(name: str, items: list[str]) -> tuple[int, ...]:
    """Parses the whole numbers of a list flag. Raises ConfigError."""
    try:
        return tuple(int(item) for item in items)
    except ValueError:
        raise ConfigError(f"{name}={','.join(items)!r}: give whole numbers with commas between them") from None


def define_model_flags() -> None:
    """Defines the flags that choose a trained model; `trained_model` reads them."""
    flags.DEFINE_string("workdir", "", "Work directory of a run; the command uses its best weights.")
    flags.DEFINE_enum(
        "pretrained",
        None,
        pretrained.accepted_names(),
        "In place of --workdir: a model inside the package (mnist is the former name of binarized_mnist_best).",
    )


def trained_model() -> pathlib.Path | str:
    """Returns the model that the flags name, for `trained.find`. Raises UsageError unless they name exactly one."""
    workdir, name = FLAGS["workdir"].value, FLAGS["pretrained"].value
    if bool(workdir) == bool(name):
        raise UsageError("--workdir, --pretrained: give one of the two, to choose a model")
    return name or pathlib.Path(workdir)


def define_data_dir_flag(split: str = "") -> None:
    """Defines --data_dir, where the images of a split are; `split_data` reads it.

    Args:
        split: the flag that names the split, for the help of commands that also work without one.
    """
    of_split = f" for {split}" if split else ""
    flags.DEFINE_string(
        "data_dir", None, f"Folder of prepared data{of_split}, if it differs from that of the training."
    )


def split_data(config: DataConfig) -> DataConfig:
    """Returns the data that a model was trained on, in the folder that --data_dir names if it is given."""
    folder = FLAGS["data_dir"].value
    return config if folder is None else dataclasses.replace(config, data_dir=folder)


def define_drawing_flags() -> None:
    """Defines the flags that say how to draw images from a model; `drawing` reads them."""
    flags.DEFINE_integer(
        "seed", 0, "Seed of the noise; the same seed draws the same images.", lower_bound=0, upper_bound=LARGEST_SEED
    )
    flags.DEFINE_enum(
        "method",
        "cached",
        ["cached", "naive"],
        "cached computes nothing twice; naive runs a full pass of the network for every pixel and color, and "
        "gives the same images slowly.",
    )
    flags.DEFINE_list(
        "temperature",
        ["1"],
        "Below 1 favors likely values. One number for all, or one for the pixels and one for each level of latents, "
        "z1 first.",
    )


def drawing() -> dict:
    """Returns seed, method and temperatures from the flags, as arguments for the model's methods. Raises UsageError."""
    given = FLAGS["temperature"].value
    try:
        temperatures = tuple(float(item) for item in given)
    except ValueError:
        temperatures = ()
    if not temperatures or not all(0 < value < math.inf for value in temperatures):
        raise UsageError(f"--temperature={','.join(given)}: give positive numbers, such as 0.8")
    return {"seed": FLAGS["seed"].value, "method": FLAGS["method"].value, "temperature": temperatures}


def define_label_flag(help: str) -> None:
    """Defines --label, the class of images; `label_of` reads it."""
    flags.DEFINE_string("label", None, f"For a model of classes: {help}, as its number or name.")


def label_of(names: tuple[str, ...], also: tuple[str, ...] = ()) -> int | str | None:
    """Returns the number of the class that --label names; None for a model without classes.

    Args:
        names: the names of the model's classes, in the order of their numbers.
        also: other values that the flag accepts, which are returned unchanged.

    Raises:
        UsageError: if the label is missing or not a class, or the model has no classes but a label is given.
    """
    given = FLAGS["label"].value
    if not names:
        if given is not None:
            raise UsageError(f"--label={given}: this model has no classes; leave it out")
        return None
    if given in (*also, *names):
        return given if given in also else names.index(given)
    if given is not None and given.isdecimal() and int(given) < len(names):
        return int(given)
    called = "" if names[0] == "0" else f" ({', '.join(names[:10])}{', ...' if len(names) > 10 else ''})"
    known = f"0 to {len(names) - 1}{called}" + "".join(f", or {word!r}" for word in also)
    if given is None:
        raise UsageError(f"--label: is missing; this model is of classes: give one of {known}")
    raise UsageError(f"--label={given}: this model has the classes {known}")


def first_word() -> str:
    """Removes the subcommand, a word before the flags, from the command line and returns it; "" if there is none."""
    return sys.argv.pop(1) if len(sys.argv) > 1 and not sys.argv[1].startswith("-") else ""


def parse(description: str) -> None:
    """Reads the command line into FLAGS. Raises UsageError. With --help it prints the help and exits.

    Args:
        description: the first lines of the help.
    """
    module = sys.modules["__main__"].__spec__
    program = f"python -m {module.name}" if module else f"python {sys.argv[0]}"
    arguments = sys.argv[1:]
    if {"--help", "-help", "-h", "--helpfull", "--helpshort"} & set(arguments):
        print(f"{description}\n\nUsage: {program} [--flagfile=FILE] [--flag=value ...]\n")
        print(FLAGS.module_help("__main__"))
        print("--flagfile: read flags from this file; flags on the command line override it.")
        sys.exit(0)
    try:
        rest = FLAGS([program, *_expanded(arguments)])
    except flags.Error as error:
        message = " ".join(str(error).split())
        raise UsageError(f"{message} (try {program} --help)") from None
    if len(rest) > 1:
        raise UsageError(f"{rest[1]!r} is not a flag: write --name=value (try {program} --help)")


def _expanded(arguments: list[str]) -> list[str]:
    """Returns the contents of all flag files, then the other arguments."""
    from_files, rest = [], []
    words = iter(arguments)
    for word in words:
        name, equals, path = word.lstrip("-").partition("=")
        if word.startswith("-") and name == "flagfile":
            path = path if equals else next(words, "")
            from_files += _read_flagfile(pathlib.Path(path))
        else:
            rest.append(word)
    return from_files + rest


def _read_flagfile(
    path: pathlib.Path, including: tuple[pathlib.Path, ...] = (), read: list[pathlib.Path] | None = None
) -> list[str]:
    """Reads the flags of a file that `including` led to, and appends to `read`."""
    read = [] if read is None else read
    if len(read) >= _MOST_FLAGFILES:
        raise UsageError(f"--flagfile={(*including, path)[0]}: leads to more than {_MOST_FLAGFILES} files")
    read.append(path)
    if path in including:
        raise UsageError(f"--flagfile={path}: includes itself")
    if len(including) > _DEEPEST_FLAGFILE:
        raise UsageError(f"--flagfile={path}: lies deeper than {_DEEPEST_FLAGFILE} files that include each other")
    try:
        lines = [line.strip() for line in path.read_text().splitlines()]
    except (OSError, ValueError) as error:  # ValueError: not text, or a null byte in the name
        reason = getattr(error, "strerror", None) or "not a text file"
        raise UsageError(
            f"--flagfile={_printable(path)}: cannot be read ({reason}); the flag files are in the folder flags/"
        ) from None
    arguments = []
    for number, line in enumerate(lines, start=1):
        if line.startswith("--flagfile="):
            nested = pathlib.Path(os.path.normpath(path.parent / line.partition("=")[2]))
            arguments += _read_flagfile(nested, (*including, path), read)
        elif line.startswith("--"):
            arguments.append(line)
        elif line and not line.startswith(("#", "//")):
            raise UsageError(f"{path}, line {number}: {line!r} is not a flag; write --name=value or a comment")
    return arguments


def _printable(path: pathlib.Path) -> str:
    return str(path).encode("unicode_escape").decode() if "\0" in str(path) else str(path)

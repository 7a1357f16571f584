"""Initializes the weights of a run from a trained model, or from the mean of several, where names and shapes match."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable

import numpy as np

from pixelvae_tf.config import RunConfig
from pixelvae_tf.files import FileError
from pixelvae_tf.model.pixelvae import PixelVAE
from pixelvae_tf.runs.trained import find, load_best
from pixelvae_tf.runs.workdir import Run


class Source:
    """The best weights of a trained model (averaged weights, if it averaged them), or the mean of several models'.

    Args:
        names: the name of a pretrained model, or a work directory, as for `load`; several are separated by commas.
        sha256: the required checksums of the weights files, in the same order; "" accepts any.

    Attributes:
        sha256: the checksums of the weights files, separated by commas.
        weights: weights by name: the path of each variable without the model's own name.

    Raises:
        FileError: if there is no such model, its weights are missing, damaged or have another checksum, or the models
            of a mean have other names or shapes of weights.

    Source of the mean: Wortsman et al., "Model soups: averaging weights of multiple fine-tuned models improves accuracy
    without increasing inference time", ICML 2022 (arXiv 2203.05482). It is good where the models are close to each
    other: fine-tuned from the same weights.
    """

    def __init__(self, names: str, sha256: str = ""):
        self.names = names
        each = names.split(",")
        required = sha256.split(",") if sha256 else [""] * len(each)
        sources = [_trained(name, checksum) for name, checksum in zip(each, required, strict=True)]
        self.sha256 = ",".join(record["sha256"] for _, record in sources)
        self._told = ", ".join(
            f"{name} ({record['weights']}, step {record['step']:,})"
            for name, (_, record) in zip(each, sources, strict=True)
        )
        if len(each) > 1:
            self._told = f"the mean of {self._told}"
        self.weights = _mean([(name, weights) for name, (weights, _) in zip(each, sources, strict=True)])

    def check_fits(self, model: PixelVAE) -> None:
        """Raises FileError if no weight of the model matches one of the source."""
        if not any(self._fits(variable) for variable in model.weights):
            raise FileError(
                f"--initialize_from={self.names}: none of its {len(self.weights)} weights has the name and the shape "
                "of one in this model; choose a model with the same kind of networks"
            )

    def put_into(self, model: PixelVAE) -> list[str]:
        """Replaces the matching weights of a model, and restarts its averaged weights from the result.

        Returns:
            Lines that say how many weights match, and which do not and why.
        """
        self.check_fits(model)
        fresh = []
        for variable in model.weights:
            if self._fits(variable):
                variable.assign(self.weights[_name(variable)])
            else:
                fresh.append(variable)
        if model.average is not None:
            model.average.restart()
        fitting = len(model.weights) - len(fresh)
        told = f"{fitting} of {len(model.weights)} weights are those of {self._told}"
        unused = self.weights.keys() - {_name(variable) for variable in model.weights}
        return [
            told,
            *(f"fresh: {line}" for line in self._reasons(fresh)),
            *(f"not used: {line}" for line in _by_network(unused, "this model has no weights of these names")),
        ]

    def _fits(self, variable) -> bool:
        found = self.weights.get(_name(variable))
        return found is not None and found.shape == tuple(variable.shape)

    def _reasons(self, fresh: list) -> list[str]:
        absent = [name for name in map(_name, fresh) if name not in self.weights]
        reshaped = [variable for variable in fresh if _name(variable) in self.weights]
        lines = _by_network(absent, "the source has no weights of these names")
        for _, group in itertools.groupby(reshaped, lambda variable: _network(_name(variable))):
            first, *others = group
            here, there = _shown(first.shape), _shown(self.weights[_name(first)].shape)
            also = f" ({len(others)} more of this network differ)" if others else ""
            lines.append(f"{_name(first)} is {here} here and {there} in the source{also}")
        return lines


def source_of(config: RunConfig, run: Run) -> tuple[RunConfig, Source | None]:
    """Reads the source of a new run, before anything is written to its work directory.

    A run that has begun needs its source again only if it has no checkpoint yet, so this does not read it.

    Args:
        config: the configuration of the run.
        run: its work directory.

    Returns:
        The configuration with the checksum of the weights, and the source if it was read.

    Raises:
        FileError: as `Source` does, and if no weight matches.
    """
    training = config.training
    if not training.initialize_from:
        return config, None
    if run.config_file.exists():
        source, sha256 = None, training.initialize_from_sha256 or run.config().training.initialize_from_sha256
    else:
        source = Source(training.initialize_from, training.initialize_from_sha256)
        source.check_fits(PixelVAE(config.model))
        sha256 = source.sha256
    training = dataclasses.replace(training, initialize_from_sha256=sha256)
    return dataclasses.replace(config, training=training), source


def _trained(name: str, sha256: str) -> tuple[dict[str, np.ndarray], dict]:
    """Returns the best weights of one trained model by name, and their record."""
    try:
        model, record = load_best(find(name))
    except FileError as error:
        raise FileError(f"--initialize_from: {str(error).replace('--workdir=', '')}") from None
    if sha256 not in ("", record["sha256"]):
        raise FileError(
            f"--initialize_from={name}: its weights have the checksum {record['sha256'][:12]}..., and this run begins "
            f"with those of {sha256[:12]}...; restore them, or train anew in another folder"
        )
    return {_name(variable): variable.numpy() for variable in model.weights}, record


def _mean(sources: list[tuple[str, dict[str, np.ndarray]]]) -> dict[str, np.ndarray]:
    """Returns the mean of each weight over models of the same weights. A model that occurs twice counts twice."""
    (first, weights), *others = sources
    shapes = {name: value.shape for name, value in weights.items()}
    for source, other in others:
        found = {name: value.shape for name, value in other.items()}
        if different := sorted(name for name in shapes.keys() | found.keys() if shapes.get(name) != found.get(name)):
            raise FileError(
                f"--initialize_from: {source} has other weights than {first} ({different[0]} is the first); a mean "
                "needs models of the same configuration"
            )
    means = {name: np.mean([of[name] for _, of in sources], axis=0, dtype=np.float64) for name in weights}
    return {name: mean.astype(weights[name].dtype) for name, mean in means.items()}


def _name(variable) -> str:
    return variable.path.partition("/")[2]


def _network(name: str) -> str:
    return name.partition("/")[0]


def _by_network(names: Iterable[str], why: str) -> list[str]:
    """Returns a line for each network that has any of these weights."""
    groups = itertools.groupby(sorted(names), _network)
    return [f"{network}: {sum(1 for _ in group)} weights, since {why}" for network, group in groups]


def _shown(shape) -> str:
    return "x".join(map(str, np.atleast_1d(shape)))

"""Tables of the measurements of `tools/benchmark.py`, from its records."""

from __future__ import annotations

import re
from collections.abc import Callable

from pixelvae_tf.benchmarks import tables
from reproduction import markdown
from reproduction.records import Records


def of(name: str, rows_of: Callable[[list[dict]], list[dict[str, str]]]) -> Callable[[Records], str]:
    """Returns a function that makes the table of results/benchmark_NAME.json and names its hardware."""

    def table(records: Records) -> str:
        found = records.committed(f"benchmark_{name}")
        if found is None:
            return "No record yet."
        rows = rows_of(found["rows"])
        return f"{markdown.table(list(rows[0]), rows)}\n\n{found['hardware']}, TensorFlow {found['tensorflow']}."

    return table


_ON_A_GPU = (
    "step_mnist_gpu_float32",
    "step_mnist_gpu_bfloat16",
    "step_mnist_gpu_compiled_float32",
    "step_mnist_gpu_compiled_bfloat16",
    "step_imagenet64_small_gpu",
)


def steps_on_a_gpu(records: Records) -> str:
    """Makes a table of the training steps of several models on a GPU, and names the GPU."""
    rows, devices = [], []
    for name in _ON_A_GPU:
        found = records.committed(f"benchmark_{name}")
        if found is None:
            continue
        flag_file = re.search(r"flags/(\w+)\.cfg", found["command"])[1]
        rows += [{"flag file": f"`{flag_file}`", **row} for row in tables.step(found["rows"])]
        devices.append(f"{found['hardware']}, TensorFlow {found['tensorflow']}.")
    if not rows:
        return "No record yet."
    return "\n\n".join([markdown.table(list(rows[0]), rows), *dict.fromkeys(devices)])


TABLES = {"steps_on_a_gpu": steps_on_a_gpu} | {
    name: of(name, rows_of)
    for name, rows_of in {
        "step_mnist": tables.step,
        "step_mnist_without_bfloat16": tables.step,
        "step_mnist_pixelrnn": tables.step,
        "step_mnist_row_lstm": tables.step,
        "profile_mnist": tables.profile,
        "recompute_mnist": tables.step,
        "convergence_mnist": tables.convergence,
        "optimizers_mnist": tables.convergence,
        "precisions_mnist": tables.convergence,
        "outputs_mnist256": tables.outputs,
        "outputs_compare32": tables.outputs,
        "evaluate_mnist": tables.evaluate,
        "scaling_mnist": tables.scaling,
        "input": tables.images,
        "prepare": tables.images,
    }.items()
}

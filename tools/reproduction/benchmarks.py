"""Tables of the measurements of `tools/benchmark.py`, from its records."""

from __future__ import annotations

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


TABLES = {
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

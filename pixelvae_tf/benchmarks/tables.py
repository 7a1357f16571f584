"""Formats the records of the benchmarks as tables: each row maps columns to cells. Nothing here needs TensorFlow."""

from __future__ import annotations

from typing import Any

Row = dict[str, str]
_XLA = {"none": "nothing", "elementwise": "gates", "all": "the step"}
_NUMBERS = {
    "layers": "masked layers",
    "channels": "feature maps",
    "batches": "images a step",
    "sides": "side of the images",
}


def step(rows: list[dict[str, Any]]) -> list[Row]:
    """Formats records of `tools/benchmark.py step`."""
    return [
        {
            "step": row["implementation"],
            "compiled by XLA": _XLA[row["xla"]],
            "precision": row["precision"],
            "maps": row["activations"],
            "images": str(row["batch_size"]),
            "ms (lowest to highest)": _spread(row),
            "CPU ms": f"{row['cpu_ms']:,.0f}",
            "images/s": f"{row['images_per_second']:,.0f}",
            "GFLOP computed": f"{row['computed_gflop']:.0f}",
            "useful GFLOP/s": f"{row['gflop_per_second']:,.0f}",
            "of the matrix rate": _percent(row["fraction_of_matrix_rate"]),
            "memory, MiB": f"{row['peak_memory_mib'] - row['memory_before_mib']:,}",
            "calculated": _whole(row["calculated_memory_mib"]),
        }
        for row in rows
    ]


def _whole(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


def _percent(fraction: float) -> str:
    return f"{fraction:.{0 if fraction >= 0.01 else 1}%}"


def images(rows: list[dict[str, Any]]) -> list[Row]:
    """Formats records of `tools/benchmark.py input` and `prepare`."""
    return [
        {
            "what": row["measure"],
            "images": f"{row['images']:,}",
            "seconds": f"{row['seconds']:.2f}",
            "images/s": f"{row['images_per_second']:,}",
            "peak memory, MiB": f"{row['peak_memory_mib']:,}",
        }
        for row in rows
    ]


def profile(rows: list[dict[str, Any]]) -> list[Row]:
    """Formats records of `tools/benchmark.py profile`: a row for each kind of operation, a column for each variant."""
    times = {kind: [row["parts"][kind] for row in rows] for kind in rows[0]["parts"]}
    times["total"] = [row["ms"] for row in rows]
    titles = [f"{row['implementation']}, {row['precision']}, XLA for {_XLA[row['xla']]}: ms" for row in rows]
    return [
        {"operation": kind, **{title: f"{value:,.0f}" for title, value in zip(titles, values, strict=True)}}
        for kind, values in times.items()
    ]


def convergence(rows: list[dict[str, Any]]) -> list[Row]:
    """Formats records of `tools/benchmark.py convergence`."""
    return [
        {
            "masked stacks": row["implementation"],
            "optimizer": row["optimizer"],
            "learning rate": f"{row['learning_rate']:g}",
            "seed": str(row["seed"]),
            # Older records have no precision: it was float32.
            "precision": row.get("precision", "float32"),
            "steps": f"{row['steps']:,} of {row['batch_size']}",
            "training loss, last tenth of the steps": f"{row['loss']:.2f}" if "loss" in row else "",
            "validation bound": f"{row['bound']:.2f}",
            "its KL": f"{sum(value for name, value in row.items() if name.startswith('kl_')):.2f}",
        }
        for row in rows
    ]


def outputs(rows: list[dict[str, Any]]) -> list[Row]:
    """Formats records of `tools/benchmark.py outputs`."""
    return [
        {
            "output": row["output_distribution"],
            "numbers a color": str(row["outputs_per_color"]),
            "weights": f"{row['parameters']:,}",
            "steps": f"{row['steps']:,} of {row['batch_size']}",
            "validation bound, bits per dimension": f"≤ {row['bits_per_dim']:.3f}",
            "its KL, nats": f"{sum(value for name, value in row.items() if name.startswith('kl_')):.1f}",
            "a step, CPU ms": f"{row['cpu_ms']:,.0f}",
            "images a CPU second": f"{1e3 * row['batch_size'] / row['cpu_ms']:,.0f}",
            "memory of a step, MiB": f"{row['peak_memory_mib'] - row['memory_before_mib']:,}",
            "calculated": _whole(row["calculated_memory_mib"]),
        }
        for row in rows
    ]


def evaluate(rows: list[dict[str, Any]]) -> list[Row]:
    """Formats records of `tools/benchmark.py evaluate`."""
    return [
        {
            "images": str(row["batch_size"]),
            "bound, ms (lowest to highest)": _spread(row, "bound_"),
            "images/s": f"{row['bound_images_per_second']:,.0f}",
            f"{row['importance_samples']} importance samples, ms": _spread(row, "importance_"),
            "one by one, ms": _spread(row, "one_by_one_"),
            "importance samples/s": f"{row['importance_samples_per_second']:,.0f}",
            "memory, MiB": f"{row['peak_memory_mib'] - row['memory_before_mib']:,}",
        }
        for row in rows
    ]


def scaling(rows: list[dict[str, Any]]) -> list[Row]:
    """Formats records of `tools/benchmark.py scaling`."""
    return [
        {
            "": _NUMBERS[row["number"]],
            "value": str(row["value"]),
            "ms (lowest to highest)": _spread(row),
            "GFLOP": f"{row['step_gflop']:.3g}",
            "time grows": f"x {row['growth']:.2f}",
            "GFLOP grow": f"x {row['expected_growth']:.2f}",
            "memory, MiB": f"{row['peak_memory_mib'] - row['memory_before_mib']:,}",
            "calculated": _whole(row["calculated_memory_mib"]),
        }
        for row in rows
    ]


def _spread(row: dict[str, Any], prefix: str = "") -> str:
    median, lowest, highest = (row[f"{prefix}{name}"] for name in ("ms", "ms_lowest", "ms_highest"))
    digits = 0 if median >= 100 else 1
    return f"{median:,.{digits}f} ({lowest:,.{digits}f} to {highest:,.{digits}f})"


def aligned(rows: list[Row]) -> str:
    """Formats rows as lines of aligned columns."""
    lines = [list(rows[0]), *(list(row.values()) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(f"{cell:>{width}}" for cell, width in zip(line, widths, strict=True)) for line in lines)

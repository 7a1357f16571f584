"""Tables of single measurements: the needs of models, and anomaly detection by their scores."""

from __future__ import annotations

import re
from collections.abc import Callable

from reproduction import markdown
from reproduction.records import Records


def anomaly(records: Records) -> str:
    """Lists the scores of test images and foreign images, and how well the scores separate them."""
    cells: dict[str, dict[str, str]] = {}
    for name, dataset in (("digits", "digits"), ("mnist", "binarized_mnist")):
        found = records.committed(f"anomaly_{name}")
        nats, area = f"`{dataset}`: nats an image", f"`{dataset}`: area under the ROC curve"
        for images in [found["normal"], *found["foreign"]] if found else []:
            row = cells.setdefault(images["name"], {"images": images["name"].replace("_", " ")})
            row[nats] = f"≤ {images['mean_bound_nats']:,.1f}"
            row[area] = f"{images['auc_bound']:.3f}" if "auc_bound" in images else ""
    if not cells:
        return "No record yet."
    columns = list(dict.fromkeys(column for row in cells.values() for column in row))
    return markdown.table(columns, list(cells.values()))


def sizes(records: Records) -> str:
    """Lists arithmetic, memory and time of the full-size models."""
    gflop, memory = "GFLOP an image, forward / step", "memory, float32 / bfloat16"
    least, here = "A100: a step at least, float32 / bfloat16", "here, 2 images: building + two steps + bound"
    rows = []

    def each(rows: list[dict], value: Callable[[dict], float], form: Callable[[float], str]) -> str:
        return " / ".join(form(value(row)) for row in rows)

    for name in (
        "mnist",
        "lsun32",
        "lsun64",
        "imagenet64_small",
        "imagenet64",
        "imagenet64_pixelrnn",
        "imagenet64_gated_pixelcnn",
    ):
        row = {"flag file": f"`{name}`"}
        if found := records.committed(f"size_{name}"):
            measured, calculated = (
                [row for row in found["rows"] if row["measure"] == kind] for kind in ("measured", "calculated")
            )
            in_float32 = calculated[0]
            row |= {
                "weights": f"{in_float32['parameters']:,}",
                gflop: " / ".join(markdown.three_figures(in_float32[f"{of}_gflop"]) for of in ("forward", "step")),
                "batch": str(in_float32["batch_size"]),
                memory: each(calculated, lambda row: (row["state_bytes"] + row["tensors_bytes"]) / 1e9, "{:.1f}".format)
                + " GB",
                least: each(calculated, lambda row: 1e3 * row["device_step_seconds"], markdown.three_figures) + " ms",
                here: "".join(map(_taken, measured)) or "not run",
            }
        rows.append(row)
    return markdown.table(["flag file", "weights", gflop, "batch", memory, least, here], rows)


def _taken(row: dict) -> str:
    taken = " + ".join(f"{row[f'{phase}_seconds']:.1f}" for phase in ("build", "step_1", "step_2", "bound"))
    return f"{taken} s, {row['peak_memory_mib'] * 2**20 / 1e9:.1f} GB"


SAMPLED = (
    "mnist",
    "mnist_14",
    "mnist_56",
    "mnist_gated_pixelvae",
    "mnist256",
    "compare32",
    "imagenet64_cpu",
    "mnist_pixelrnn",
    "mnist_row_lstm",
)


def sampling(records: Records, names: tuple[str, ...] = SAMPLED) -> str:
    """Lists the time of both samplers and of a full pass, for batch sizes, images and networks."""
    rows = []
    for name in names:
        found = records.committed(f"benchmark_sample_{name}")
        for measured in found["rows"] if found else []:
            flag_file = re.search(r"flags/(\w+)\.cfg", found["command"])[1]
            # Older records have the shape in their command.
            shape = measured.get("image_shape") or re.search(r"--image_shape=([\d,]+)", found["command"])[1].split(",")
            naive, passes = measured["naive_seconds"], int(measured["naive_scaled_from"].split()[2])
            rows.append(
                {
                    "flag file": f"`{flag_file}`",
                    "image": "x".join(map(str, shape)),
                    "images": str(measured["batch_size"]),
                    "full pass, s": f"{measured['full_pass_seconds']:.3g}",
                    "cached, s": f"{measured['cached_seconds']:.3g}",
                    "first call, s": f"{measured['cached_first_call_seconds']:.1f}",
                    "cached / full pass": f"{measured['cached_to_full_pass']:.2f}",
                    "naive, s": f"{naive:,.0f}",
                    "naive / cached": f"{measured['naive_to_cached']:,.0f}",
                    "its passes alone / cached": f"{passes / measured['cached_to_full_pass']:,.0f}",
                    "state, MiB": f"{measured['state_mib']:.2f}",
                    "full pass, MiB": f"{measured['full_pass_mib']:.0f}",
                }
            )
    return markdown.table(list(rows[0]), rows) if rows else "No record yet."


def sampling_on_a_gpu(records: Records) -> str:
    """Lists the same for a GPU."""
    return sampling(records, ("mnist_gpu",))

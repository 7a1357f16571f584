"""What images take when they are compressed without loss: by models, and by methods that know nothing of a dataset."""

from __future__ import annotations

from reproduction import markdown
from reproduction.records import Records

# Records of tools/compression.py.
RECORDS = (
    "compression_digits",
    "compression_digits_conditional",
    "compression_mnist",
    "compression_mnist_flow",
    "compression_mnist256_short",
    "compression_compare32_logistics",
    "compression_imagenet64_cpu_logistics",
)
_NOT_YET = "No record yet."


def sizes(records: Records) -> str:
    """Bits per dimension of every method, a column for each model and its images."""
    rows: dict[str, dict[str, str]] = {}

    def fill(method: str, column: str, bits: float) -> None:
        rows.setdefault(method, {"bits per dimension": method})[column] = f"{bits:.4f}"

    for name in RECORDS:
        found = records.committed(name)
        if found is None:
            continue
        ours, shape = found["ours"], found["image_shape"]
        dimensions = found["num_images"] * shape[0] * shape[1] * shape[2]
        column = f"`{found['model']}`, {found['num_images']:,} of {found['split']}"
        for other in found["others"]:
            fill(other["method"], column, 8 * other["bytes"] / dimensions)
        fill("**the model's file**", column, ours["bits_per_dim"])
        fill("its bound, ideally", column, ours["ideal_bits_per_dim"])
        # The tool records it if it is of the same images and weights.
        if "importance_bits_per_dim" in ours:
            fill("its importance estimate", column, ours["importance_bits_per_dim"])
    # Each number of levels has its own raw size.
    ordered = sorted(rows.values(), key=lambda row: not row["bits per dimension"].startswith("raw"))
    return markdown.table(_columns(ordered), ordered) if rows else _NOT_YET


def costs(records: Records) -> str:
    """Lists the excess of the files over the bound, and the speed of both directions."""
    rows = []
    for name in RECORDS:
        if (found := records.committed(name)) is None:
            continue
        ours = found["ours"]
        excess = ours["bytes"] - ours["ideal_bytes"]
        rows.append(
            {
                "model": f"`{found['model']}`",
                "images": f"{found['num_images']:,}",
                "bound, bytes": f"{ours['ideal_bytes']:,}",
                "file, bytes": f"{ours['bytes']:,}",
                "more": f"{excess:+,} ({100 * excess / ours['ideal_bytes']:+.2f}%)",
                "of it header and initial bits": f"{ours['header_bytes'] + ours['initial_bits'] // 8}",
                "side by side": str(ours["batch_size"]),
                "compressed a second": f"{ours['compressed_a_second']:.1f}",
                "restored a second": f"{ours['restored_a_second']:.1f}",
                "scored a second": f"{ours['scored_a_second']:.1f}",
            }
        )
    return markdown.table(list(rows[0]), rows) if rows else _NOT_YET


def _columns(rows) -> list[str]:
    return list(dict.fromkeys(column for row in rows for column in row))

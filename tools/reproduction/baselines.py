"""Tables of runs and baselines on the same split: the quick start, a small version of section 4.2, photographs."""

from __future__ import annotations

import math

from reproduction import markdown
from reproduction.records import Found, Records, budget, evaluation

NATS, BITS, KL = "nats an image", "bits per dimension", "KL of each level, nats"
IMPORTANCE = "importance estimate, nats"


def against_baselines(records: Records, baselines: str, systems: dict[str, str], split: str) -> str:
    """Lists baselines and runs on one split, the best last: nats, bits per dimension, and the cost of each run."""
    rows = [
        {"model": found["baseline"], NATS: f"{found['nll_nats']:,.1f}", BITS: f"{found['bits_per_dim']:.3f}"}
        for found in records.committed(baselines) or []
    ]
    cells, order = {}, {}
    for name in systems:
        found = records.run(name)
        measured = found.record and evaluation(name, found.record, split)
        cells[name] = run_cells(found, measured)
        order[name] = -measured["bits_per_dim"] if measured else math.inf
    rows += [{"model": systems[name], **cells[name]} for name in sorted(systems, key=order.get)]
    return markdown.table(["model", NATS, BITS, KL, IMPORTANCE, "weights", "budget"], rows)


def run_cells(found: Found, measured: dict | None) -> dict[str, str]:
    if measured is None:
        return {NATS: found.problem}
    return {
        NATS: markdown.bound(measured["nll_bound_nats"], measured, 1),
        BITS: markdown.bound(measured["bits_per_dim"], measured, 3),
        KL: " + ".join(f"{value:.1f}" for value in measured["kl_nats"]),
        IMPORTANCE: f"{measured['nll_importance_nats']:,.1f}" if "nll_importance_nats" in measured else "",
        "weights": f"{found.record['summary']['parameters']:,}",
        "budget": budget(found.record),
    }


def digits(records: Records) -> str:
    systems = {"digits_vae": "VAE without masked layers", "digits": "**PixelVAE**"}
    return against_baselines(records, "digits_baselines", systems, "test")


def section42(records: Records) -> str:
    systems = {
        "compare32_conv_vae": "two-level VAE without masked layers, Gaussian pixels",
        "compare32_gaussian_prior": "PixelVAE whose p(z1 given z2) has no PixelCNN",
        "compare32_pixelrnn": "PixelRNN (Row LSTM, no latents)",
        "compare32_gated_pixelcnn": "Gated PixelCNN (no latents)",
        "compare32_one_level": "one-level PixelVAE",
        "compare32": "**two-level PixelVAE**",
    }
    return against_baselines(records, "compare32_baselines", systems, "validation")


def photographs(records: Records) -> str:
    systems = {"imagenet64_cpu": "**two-level PixelVAE**"}
    return against_baselines(records, "imagenet64_baselines", systems, "validation")

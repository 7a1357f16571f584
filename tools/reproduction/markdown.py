"""Formats tables as Markdown, and numbers in their cells."""

from __future__ import annotations


def table(columns: list[str], rows: list[dict[str, str]]) -> str:
    """Formats rows, which map columns to cells, as a table. Leaves out empty columns."""
    filled = [column for column in columns if any(row.get(column) for row in rows)]
    lines = [filled, ["---"] * len(filled), *([row.get(column, "") for column in filled] for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def bound(value: float, found: dict, digits: int) -> str:
    """Formats an upper bound on the negative log-likelihood, or its exact value for a model without latents."""
    return f"{'≤ ' if found['kl_nats'] else ''}{value:,.{digits}f}"


def three_figures(value: float) -> str:
    """Formats a number with three significant figures, and from 1,000 on with all its whole digits."""
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"

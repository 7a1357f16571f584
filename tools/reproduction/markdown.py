"""Tables as Markdown, and the numbers in their cells."""

from __future__ import annotations


def table(columns: list[str], rows: list[dict[str, str]]) -> str:
    """A table of rows, each from column to cell; a column that no row fills is left out."""
    filled = [column for column in columns if any(row.get(column) for row in rows)]
    lines = [filled, ["---"] * len(filled), *([row.get(column, "") for column in filled] for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def bound(value: float, found: dict, digits: int) -> str:
    """An upper bound on the negative log-likelihood; for a model without latents its value."""
    return f"{'≤ ' if found['kl_nats'] else ''}{value:,.{digits}f}"

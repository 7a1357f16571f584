"""Interpolates between two points of standard normal noise, in NumPy."""

from __future__ import annotations

import numpy as np

PATHS = ("sphere", "line")
# At smaller angles, and at angles that close to 180 degrees, rounding makes the arc unstable.
_SMALLEST_ANGLE = 1e-4


def points_between(start: np.ndarray, end: np.ndarray, steps: int, path: str = "sphere") -> np.ndarray:
    """Returns evenly spaced points from `start` to `end`, including both.

    "sphere" rotates the direction along the great circle at constant speed and changes the length linearly (spherical
    linear interpolation, Shoemake 1985). "line" is the straight line. Points in the same or in opposite directions
    always use the straight line: it is the limit of the arc, or the only choice without a preferred direction.

    Args:
        start, end: points, (batch, ...).
        steps: number of points, at least 2.
        path: one of PATHS.

    Returns:
        (batch, steps, ...) float32.
    """
    flat = [points.reshape(len(points), 1, -1).astype("float64") for points in (start, end)]
    share = np.linspace(0.0, 1.0, steps)[None, :, None]
    straight = (1.0 - share) * flat[0] + share * flat[1]
    points = straight if path == "line" else _along_the_arc(*flat, share, straight)
    return points.reshape(len(start), steps, *start.shape[1:]).astype("float32")


def _along_the_arc(start, end, share, straight):
    lengths = [np.linalg.norm(points, axis=-1, keepdims=True) for points in (start, end)]
    directions = [
        points / np.where(length > 0, length, 1.0) for points, length in zip((start, end), lengths, strict=True)
    ]
    angle = np.arccos(np.clip(np.sum(directions[0] * directions[1], axis=-1, keepdims=True), -1.0, 1.0))
    has_arc = (np.minimum(*lengths) > 0) & (angle > _SMALLEST_ANGLE) & (angle < np.pi - _SMALLEST_ANGLE)
    sine = np.where(has_arc, np.sin(angle), 1.0)
    direction = (np.sin((1.0 - share) * angle) * directions[0] + np.sin(share * angle) * directions[1]) / sine
    return np.where(has_arc, direction * ((1.0 - share) * lengths[0] + share * lengths[1]), straight)

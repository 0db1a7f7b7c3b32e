"""Intervals by their formulas, for tests."""

import math


def wilson(successes: int, runs: int, z: float = 1.959963984540054) -> tuple[float, float]:
    """Wilson's interval (1927) of a rate."""
    p = successes / runs
    centre = p + z**2 / (2 * runs)
    half = z * math.sqrt(p * (1 - p) / runs + z**2 / (4 * runs**2))
    return (centre - half) / (1 + z**2 / runs), (centre + half) / (1 + z**2 / runs)

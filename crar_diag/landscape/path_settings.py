"""How a minimum-loss curve is optimised."""

from dataclasses import dataclass

from crar_diag.agent.checks import check_counts
from crar_diag.errors import InputError


@dataclass(frozen=True)
class PathSettings:
    """How a curve is optimised.

    Attributes:
        bends: inner control points; 1 makes the quadratic curve.
        iterations: of L-BFGS, in all rounds together.
        per_round: at most so many in one round.
        points: of the curve in the objective, besides summits that are found.
        sharpness: beta of the second round times the spread of the sum over these points at its
            start.
        sharpening: by which that product grows from round to round.
        patience: the curve has converged when so many rounds together lower its highest point by
        tolerance: at most this share of all that it fell by since it was straight.
        nudge: length of a random step of each control point off the straight segment at the start,
            as a share of the distance from A to B: that segment can be a ridge, whose sides no
            gradient on it tells of.
        seed: of that step.
    """

    bends: int = 3
    iterations: int = 1000
    per_round: int = 100
    points: int = 32
    sharpness: float = 10.0
    sharpening: float = 1.5
    patience: int = 3
    tolerance: float = 5e-4
    nudge: float = 0.01
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse numbers that mean nothing.

        Raises:
            InputError: naming the number.
        """
        for name in ("bends", "iterations", "per_round", "points", "patience"):
            check_counts(**{name: getattr(self, name)})
        for name in ("sharpness", "sharpening", "tolerance"):
            if not 0 < getattr(self, name) < float("inf"):
                raise InputError(f"{name} must be above 0 and finite, found {getattr(self, name)}")

"""A metric that lets loss-landscapes lead a model about and notes where each call finds it."""

from collections.abc import Callable, Mapping

import numpy as np
from loss_landscapes import ModelWrapper
from loss_landscapes.metrics.metric import Metric
from torch import Tensor

from crar_diag.errors import InputError
from crar_diag.landscape.bridge import AgentModule, moved
from crar_diag.landscape.problem import Evaluation, Parameters, Problem, evaluate
from crar_diag.landscape.surface import Surface
from crar_diag.landscape.vectors import added, difference, dot, norm, scaled

# Of the largest displacement: what sticks out by less is rounding, not another direction.
_ROUNDING = 1e-9


class Walk(Metric):
    """A metric that evaluates the losses, notes where, and returns the number of the call.

    So the array that the library makes of its returns says which call stands where in it.

    Args:
        problem: what is evaluated.
        origin: the moving parameters from which displacements count.
        held: all others.
        progress: told how many points are done.

    Attributes:
        basis: orthonormal directions that span all displacements so far.
    """

    def __init__(
        self,
        problem: Problem,
        origin: Parameters,
        held: Parameters,
        progress: Callable[[int], None],
    ) -> None:
        super().__init__()
        self.problem = problem
        self.origin = origin
        self.held = held
        self.progress = progress
        self.basis: list[Parameters] = []
        self._start = walked(origin)
        self._farthest = 0.0
        self._places: list[list[float]] = []
        self._found: list[Evaluation] = []

    def module(self) -> AgentModule:
        """Return the model at the origin, for the library to lead about."""
        return AgentModule(self.problem, self._start)

    def __call__(self, model_wrapper: ModelWrapper) -> int:
        """Evaluate and note one point."""
        now = {name: p.detach() for name, p in moved(model_wrapper).items()}
        rest = difference(now, self._start)
        self._farthest = max(self._farthest, norm(rest))
        self._places.append([])
        for direction in self.basis:
            self._places[-1].append(dot(rest, direction))
            rest = added(rest, direction, -self._places[-1][-1])
        height = norm(rest)
        if height > _ROUNDING * self._farthest:
            self.basis.append(scaled(rest, 1 / height))
            self._places[-1].append(height)
        point = {name: now[name].to(p)[None] for name, p in self.origin.items()}
        self._found.append(evaluate(self.problem, point, self.held, at_once=1))
        self.progress(len(self._found))
        return len(self._found) - 1

    def places(self) -> np.ndarray:
        """Return the coordinates of all calls in the basis, float64 `[calls, directions]`."""
        found = np.zeros((len(self._places), len(self.basis)))
        for call, place in enumerate(self._places):
            found[call, : len(place)] = place
        return found

    def in_basis(self, direction: Parameters) -> np.ndarray:
        """Return a direction's coordinates in the basis, float64."""
        return np.array([dot(direction, one) for one in self.basis])

    def axes(self, order: np.ndarray) -> tuple[Parameters, Parameters]:
        """Return the directions from row to row and along a row, as long as the origin.

        They are taken between rows of even number, which no release has shifted, and far apart.

        Args:
            order: the number of the call of each value, `[steps, steps]`.
        """
        places, last = self.places(), len(order) - 1
        if places.shape[1] != 2:
            raise InputError(f"expected a plane, found {places.shape[1]} directions")
        corner, below = places[order[0, 0]], places[order[last - last % 2, 0]]
        return self._long(below - corner), self._long(places[order[0, last]] - corner)

    def surface(self, order: np.ndarray) -> Surface:
        """Return the losses of the calls in the library's order."""
        losses, errors = (
            {
                name: np.array([getattr(one, kind)[name].item() for one in self._found])[order]
                for name in getattr(self._found[0], kind)
            }
            for kind in ("losses", "errors")
        )
        return Surface(losses=losses, errors=errors)

    def _long(self, way: np.ndarray) -> Parameters:
        """Return the direction of coordinates in the basis, as long as the origin."""
        x, y = (way * (norm(self._start) / np.linalg.norm(way))).tolist()
        return added(scaled(self.basis[0], x), self.basis[1], y)


def walked(parameters: Mapping[str, Tensor]) -> Parameters:
    """Return parameters as the library is given them: in double precision, where it draws them.

    Their order is that of their names, so that sums are the same whatever the order in a file.
    """
    return {name: parameters[name].detach().double().cpu() for name in sorted(parameters)}

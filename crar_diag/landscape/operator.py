"""The Hessian of a loss by the parameters that move, as products with directions.

The Hessian of a loss L at a point theta is met through H v alone: it has as many rows as there are
parameters (about 40,000 in the simple maze), and a product costs a few evaluations of the loss.
"""

from collections.abc import Iterator
from functools import cached_property

import torch
from torch import Tensor

from crar_diag.errors import InputError
from crar_diag.landscape.problem import SUM, Parameters, Problem, Values
from crar_diag.landscape.vectors import doubled, flatten, unflatten


class Hessian:
    """The symmetric matrix of second derivatives of one loss, or of the weighted sum, at a point.

    All is in double precision. A product is one backward pass through the graph of the gradient,
    which is made once and kept: H v = d(g(theta) . v) / d(theta) (Pearlmutter, 1994). A
    Jacobian-vector product of the gradient, which evaluates it anew, took two to nineteen times as
    long here. The graph takes memory: about 10 MB a transition of the labyrinth.

    What a loss detaches (a Q target) has no derivative: H is that of the loss with the target held
    as it is at the point, and the gradient is that of the same function. From point to point it is
    the same function only where the target is held among the parameters (`Problem.anchored`).

    Args:
        problem: whose losses; its `moves` say which parameters the Hessian is by.
        parameters: the point: all of the model's parameters, in any precision; the problem's batch
            must be in double precision.
        loss: the name of one of the losses, or `sum` for the weighted sum.

    Attributes:
        size: P, the number of scalars that move.

    Raises:
        InputError: no parameter moves, an unknown loss, or a loss or gradient that is not finite.
    """

    def __init__(self, problem: Problem, parameters: Parameters, loss: str = SUM) -> None:
        held = doubled(parameters)
        self._moving = {
            name: p.detach().clone().requires_grad_() for name, p in problem.moving(held).items()
        }
        self.size = sum(p.numel() for p in self._moving.values())
        self._values: Values = problem.values(held | self._moving)
        self._values[SUM] = problem.total(self._values)
        if loss not in self._values:
            raise InputError(
                f"expected one of the losses {', '.join(self._values)}, found '{loss}'"
            )
        self._loss = loss
        if not torch.isfinite(self._values[loss]):
            raise InputError(f"the loss '{loss}' is not finite: it has no curvature here")

    @cached_property
    def losses(self) -> dict[str, float]:
        """Each loss at the point, and their weighted sum as `sum`."""
        return {name: value.item() for name, value in self._values.items()}

    @cached_property
    def gradient(self) -> Tensor:
        """The gradient of the loss, `[P]`, in the order of the problem's moving parameters."""
        return self._gradient.detach()

    def gradient_norms(self) -> dict[str, float]:
        """Return the norm of the gradient of each loss, and of the weighted sum."""
        return {name: self._differentiate(name).norm().item() for name in self._values}

    def product(self, direction: Tensor) -> Tensor:
        """Return H v, `[P]`, of a direction v, `[P]`."""
        return next(iter(self._products(direction[None])))

    def dense(self) -> Tensor:
        """Return H itself, `[P, P]`, where P is small; made symmetric to the last bit."""
        identity = torch.eye(self.size, dtype=torch.float64, device=self._gradient.device)
        rows = torch.stack(list(self._products(identity)))
        return (rows + rows.T) / 2

    def split(self, vector: Tensor) -> Parameters:
        """Return a vector `[..., P]` as directions by the parameters' names."""
        return unflatten(vector, self._moving)

    @cached_property
    def _gradient(self) -> Tensor:
        found = self._differentiate(self._loss, create_graph=True)
        if not torch.isfinite(found).all():
            raise InputError(f"the gradient of '{self._loss}' is not finite here")
        return found

    def _differentiate(self, loss: str, create_graph: bool = False) -> Tensor:
        """Return the gradient of a loss; 0 by parameters on which it does not depend."""
        value = self._values[loss]
        if not value.requires_grad:
            return flatten({name: torch.zeros_like(p) for name, p in self._moving.items()})
        parts = torch.autograd.grad(
            value,
            list(self._moving.values()),
            retain_graph=True,
            create_graph=create_graph,
            materialize_grads=True,
        )
        return flatten(dict(zip(self._moving, parts, strict=True)))

    def _products(self, directions: Tensor) -> Iterator[Tensor]:
        """Yield H v for each row v."""
        for v in directions:
            if not self._gradient.requires_grad:  # of a loss that is constant or linear
                yield torch.zeros_like(v)
                continue
            parts = torch.autograd.grad(
                self._gradient,
                list(self._moving.values()),
                grad_outputs=v,
                retain_graph=True,
                materialize_grads=True,
            )
            yield flatten(dict(zip(self._moving, parts, strict=True)))

"""The bridge to the library loss-landscapes: CRAR losses in its users' own scripts.

    wanted = LossMetric(problem, agent.parameters)
    module = AgentModule(problem, agent.parameters)
    values = loss_landscapes.random_plane(module, wanted, steps=41, deepcopy_model=True)

The library (Marcello De Bernardi, 2019; release 3.0.6) leads a model's parameters along lines and
planes in place and calls a metric at each point. `AgentModule` is a model of which the parameters
are those that a `Problem` moves; the metrics evaluate the problem's losses where the model stands.
Where it stands is another matter: `crar_diag.landscape.bridge_grids` runs the library and says so.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from loss_landscapes import ModelWrapper
from loss_landscapes.metrics.metric import Metric
from torch import Tensor

from crar_diag.errors import InputError, did_you_mean
from crar_diag.landscape.problem import SUM, Parameters, Problem, Values


class AgentModule(torch.nn.Module):
    """The parameters of a model that move, as a module: what loss-landscapes takes for a model.

    The library moves this module itself unless it is told to copy it (`deepcopy_model=True`).

    Args:
        problem: says which parameters move.
        parameters: all of one model; those that move are copied, and never change.

    Attributes:
        names: what the problem calls them, in the order of `parameters()`: alphabetical, since the
            library tells parameters of two models, and draws for one, by their position alone.

    Raises:
        InputError: no parameter moves.
    """

    names: tuple[str, ...]

    def __init__(self, problem: Problem, parameters: Mapping[str, Tensor]) -> None:
        super().__init__()
        moving = problem.moving(dict(parameters))
        self.names = tuple(sorted(moving))
        for position, name in enumerate(self.names):
            p = moving[name]
            own = torch.nn.Parameter(p.detach().clone(), requires_grad=p.requires_grad)
            self.register_parameter(_registered(position, name), own)

    def named(self) -> Parameters:
        """Return the parameters where they stand now, not copied, by the problem's names."""
        return dict(zip(self.names, self.parameters(), strict=True))


class AgentWrapper(ModelWrapper):
    """An `AgentModule` whose forward pass is the problem's, for metrics that bring their own data.

    So the library's `Loss(loss_fn, inputs, target)` draws any function of the features, as of an
    agent's abstract states.

    Args:
        problem: its features are the forward pass.
        parameters: all of one model; those that move are copied.
    """

    def __init__(self, problem: Problem, parameters: Mapping[str, Tensor]) -> None:
        super().__init__([AgentModule(problem, parameters)])
        self.problem = problem
        self.held = dict(parameters)

    def forward(self, batch: Any) -> Any:
        """Return the features of a batch (abstract states), or itself if there are none."""
        if self.problem.features is None:
            return batch
        return self.problem.features(self.held | moved(self), batch)


class LossMetric(Metric):
    """One loss of a problem where the model stands, a float.

    Args:
        problem: what is evaluated.
        held: the parameters that do not move, of one model; others are taken from the module.
        loss: its name, or `sum` for the weighted sum of all.

    Raises:
        InputError: when it is called, if the problem has no such loss.
    """

    def __init__(self, problem: Problem, held: Mapping[str, Tensor], loss: str = SUM) -> None:
        super().__init__()
        self.problem = problem
        self.held = dict(held)
        self.loss = loss

    def __call__(self, model_wrapper: ModelWrapper) -> float:
        """Evaluate the loss."""
        values = losses_at(self.problem, self.held, model_wrapper)
        if self.loss not in values:
            raise InputError(f"unknown loss '{self.loss}'{did_you_mean(self.loss, values)}")
        return values[self.loss].item()


class LossesMetric(Metric):
    """All losses of a problem where the model stands, and last their weighted sum, float64 `[L]`.

    Args:
        problem: what is evaluated.
        held: the parameters that do not move, of one model.

    Attributes:
        names: of the losses, in order, from the first call on; empty before.
    """

    def __init__(self, problem: Problem, held: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.problem = problem
        self.held = dict(held)
        self.names: tuple[str, ...] = ()

    def __call__(self, model_wrapper: ModelWrapper) -> np.ndarray:
        """Evaluate the losses."""
        values = losses_at(self.problem, self.held, model_wrapper)
        self.names = tuple(values)
        return np.array([value.item() for value in values.values()])


def moved(model_wrapper: ModelWrapper) -> Parameters:
    """Return the parameters of a wrapped `AgentModule` where they stand now, not copied.

    Raises:
        InputError: the wrapper holds no `AgentModule`.
    """
    found: Parameters = {}
    for module in model_wrapper.get_modules():
        if isinstance(module, AgentModule):
            found |= module.named()
    if not found:
        kinds = ", ".join(type(module).__name__ for module in model_wrapper.get_modules())
        raise InputError(f"expected a model that is an AgentModule, found {kinds or 'none'}")
    return found


def losses_at(problem: Problem, held: Parameters, model_wrapper: ModelWrapper) -> Values:
    """Return each loss where the model stands, and last their weighted sum, scalars.

    They are what `evaluate` finds for that one model, up to the rounding of its batched products.
    """
    with torch.no_grad():
        values = problem.values(held | moved(model_wrapper))
        return values | {SUM: problem.total(values)}


def _registered(position: int, name: str) -> str:
    """Return a name that a module accepts: without dots, and none of its methods'."""
    return f"{position}:{name.replace('.', '/')}"

"""What is timed, and the check that all of it does the same work.

Every way of training starts from the same weights and sees the same batches for a few updates;
the weights that come out must be equal up to rounding.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import plain
import torch

from crar_diag.agent.assembly import build
from crar_diag.agent.config import MODES
from crar_diag.agent.engine import Engine, ReferenceEngine
from crar_diag.agent.fused.engine import FusedEngine
from crar_diag.agent.population import Population
from crar_diag.agent.presets import preset
from crar_diag.agent.replay import Replay

# Seven updates with a target copy at the first, the fourth and the seventh.
UPDATES = 7
TARGET_PERIOD = 3

# Rounding alone: 1e-15 and 1e-6 are usual.
TOLERANCE = {"float64": 1e-12, "float32": 2e-5}


@dataclass(frozen=True)
class Case:
    """What an update is, and of how many agents.

    Attributes:
        mode: `sequential`, `simultaneous` or `joint`.
        frozen: train the encoder alone, on the negated pictures (a transfer).
        members: agents in the population, each with its own 5,000 transitions.
    """

    mode: str = "sequential"
    frozen: bool = False
    members: int = 1

    def build(
        self, precision: str = "float32", target_period: int = 1000
    ) -> tuple[Population, Replay]:
        """Return an untrained population under the published configuration."""
        config = preset("simple-maze")
        changes: dict[str, object] = {
            "seeds": tuple(range(self.members)),
            "precision": precision,
            "target_period": target_period,
            "optimizer": config.optimizer.model_copy(update={"mode": self.mode}),
        }
        if self.frozen:
            changes |= {"trainable": ("encoder",), "domain": "inverse"}
        return build(config.model_copy(update=changes), torch.device("cpu"))

    def __str__(self) -> str:
        return f"{self.mode}, encoder only" if self.frozen else self.mode


@dataclass(frozen=True)
class Difference:
    """How far two ways of training came apart.

    Attributes:
        what: the two.
        precision: the lower one of theirs.
        largest: largest absolute difference of a weight.
        moved: largest distance by which the updates moved a weight.
    """

    what: str
    precision: str
    largest: float
    moved: float

    @property
    def equal(self) -> bool:
        """Whether it is rounding (a NaN is not)."""
        return self.moved > 0 and self.largest <= TOLERANCE[self.precision]

    def __str__(self) -> str:
        return (
            f"{self.what}: largest difference of a weight {self.largest:.1e} after {UPDATES} "
            f"updates that moved weights by up to {self.moved:.1e}"
        )


def plain_training(
    population: Population,
    replay: Replay,
    foreach: bool | None = None,
    target_period: int = 1000,
) -> plain.Training:
    """Return the plain loop with the weights and the data of a population's first member."""
    everything = replay.members[0].batch(torch.arange(len(replay.members[0])))
    weights = [p[0] for p in population.agents().values()]
    return plain.Training(weights, everything, foreach, target_period)


def _after(case: Case, engine: Engine, precision: str) -> torch.Tensor:
    population, replay = case.build(precision, TARGET_PERIOD)
    engine.advance(population, replay, UPDATES)
    return population.parameters.double()


def _plainly(foreach: bool | None) -> torch.Tensor:
    population, replay = Case().build("float64", TARGET_PERIOD)
    training = plain_training(population, replay, foreach, TARGET_PERIOD)
    for rows in replay.draws(0, 0, UPDATES):
        training.update(torch.from_numpy(rows))
    return torch.cat([p.detach().flatten() for p in training.agent.parameters()])[None]


def differences(threads: int) -> Iterable[Difference]:
    """Compare the plain loop, the fused engine and the reference, the last in double precision."""
    for case in (Case(), *(Case(mode, members=2) for mode in MODES), Case(frozen=True, members=2)):
        start = case.build("float64")[0].parameters
        reference = _after(case, ReferenceEngine(), "float64")
        moved = float((reference - start).abs().max())
        if case == Case():
            for foreach, name in ((None, "plain loop"), (True, "plain loop, foreach")):
                gap = float((_plainly(foreach) - reference).abs().max())
                yield Difference(f"{name} and reference, float64", "float64", gap, moved)
        else:
            gap = float((_after(case, FusedEngine(threads), "float32") - reference).abs().max())
            what = f"fused in float32 and reference in float64, {case}"
            yield Difference(what, "float32", gap, moved)

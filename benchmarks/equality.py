"""What is timed, and the check that all of it does the same work.

Every way of training starts from the same weights and sees the same batches for a few updates;
the weights that come out must be equal up to rounding.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache

import plain
import torch

from crar_diag.agent.assembly import build
from crar_diag.agent.config import MODES
from crar_diag.agent.engine import Engine, ReferenceEngine
from crar_diag.agent.fused.engine import FusedEngine
from crar_diag.agent.population import Population
from crar_diag.agent.presets import preset
from crar_diag.agent.replay import Replay
from crar_diag.envs.names import LABYRINTH, Environment

# Three updates with a target copy at the first and the third.
UPDATES = 3
TARGET_PERIOD = 2

# Rounding alone: 1e-15 and 1e-6 are usual.
TOLERANCE = {"float64": 1e-12, "float32": 2e-5}


@dataclass(frozen=True)
class Case:
    """What an update is, and of how many agents.

    Attributes:
        environment: `simple-maze` or `labyrinth`.
        mode: `sequential`, `simultaneous` or `joint`.
        frozen: train the encoder alone.
        domain: how the agents see.
        members: agents in the population, each with its own published number of transitions.
    """

    environment: Environment
    mode: str = "sequential"
    frozen: bool = False
    domain: str = "normal"
    members: int = 1

    @property
    def work(self) -> str:
        """What an update does; cases are compared only where it is equal."""
        return f"{self.mode}, encoder only" if self.frozen else self.mode

    def build(
        self, precision: str = "float32", target_period: int = 1000
    ) -> tuple[Population, Replay]:
        """Return an untrained population under the published configuration, and its data."""
        drawn, replay = _drawn(self.environment, self.domain, self.members, precision)
        rule = replace(drawn.rule, mode=self.mode, target_period=target_period)
        rules = drawn.members
        if self.frozen:
            rules = tuple(replace(rule, trainable=frozenset({"encoder"})) for rule in rules)
        return Population(drawn.architecture, drawn.agents(), rule, rules), replay

    def __str__(self) -> str:
        return self.work if self.domain == "normal" else f"{self.work}, {self.domain} domain"


@cache
def _drawn(
    environment: Environment, domain: str, members: int, precision: str
) -> tuple[Population, Replay]:
    config = preset(environment)
    changes = {"domain": domain, "seeds": tuple(range(members)), "precision": precision}
    return build(config.model_copy(update=changes), torch.device("cpu"))


def kinds(environment: Environment) -> list[Case]:
    """Return a case for everything that an update can be: the modes, a transfer, plain pictures.

    A transfer trains the encoder alone on the negated pictures. Noise is not made of tiles, so that
    the fused engine works on the labyrinth's whole pictures.
    """
    found = [Case(environment, mode) for mode in MODES]
    found.append(Case(environment, frozen=True, domain="inverse"))
    if environment == LABYRINTH:
        found.append(Case(environment, domain="noise"))
    return found


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


@cache
def _plain_data(environment: str, domain: str, precision: str) -> dict[str, torch.Tensor]:
    data = _drawn(environment, domain, 1, precision)[1].members[0]
    return {
        "pictures": data.observe(torch.arange(len(data.tiles))),
        "first": data.first,
        "second": data.second,
        "action": data.actions,
        "reward": data.rewards,
        "terminal": data.terminals,
    }


def plain_training(
    case: Case, precision: str = "float32", target_period: int = 1000
) -> plain.Training:
    """Return the plain loop with the weights and the data of a case's first member."""
    population, _ = replace(case, members=1).build(precision)
    return plain.Training(
        plain.TASKS[case.environment],
        [p[0] for p in population.agents().values()],
        _plain_data(case.environment, case.domain, precision),
        case.mode,
        case.frozen,
        target_period,
    )


def _after(case: Case, engine: Engine, precision: str) -> torch.Tensor:
    population, replay = case.build(precision, TARGET_PERIOD)
    engine.advance(population, replay, UPDATES)
    return population.parameters.double()


def _plainly(case: Case) -> torch.Tensor:
    training = plain_training(case, "float64", TARGET_PERIOD)
    for rows in case.build("float64")[1].draws(0, 0, UPDATES):
        training.update(torch.from_numpy(rows))
    return torch.cat([p.detach().flatten() for p in training.agent.parameters()])


def differences(environment: Environment, threads: int) -> Iterable[Difference]:
    """Compare the plain loop and the fused engine with the reference in double precision."""
    for case in (replace(kind, members=2) for kind in kinds(environment)):
        start = case.build("float64")[0].parameters
        reference = _after(case, ReferenceEngine(), "float64")
        moved = float((reference - start).abs().max())
        plainly = float((_plainly(case) - reference[0]).abs().max())
        yield Difference(f"{case}: plain loop, float64, and reference", "float64", plainly, moved)
        # Rounding to float32 can decide otherwise about a maximum of the labyrinth's pooling, and
        # what follows then differs by more than rounding: on noise the reference itself ends 1e-3
        # away from the reference in double precision.
        precision = "float64" if environment == LABYRINTH else "float32"
        fused = float((_after(case, FusedEngine(threads), precision) - reference).abs().max())
        yield Difference(f"{case}: fused, {precision}, and reference", precision, fused, moved)

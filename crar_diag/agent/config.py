"""The configuration of a training run: frozen models, and their keys under dotted names.

`presets` holds the published values, `config_sources` reads what a user chose. Torch is not
imported here, so that `--help` and refusals answer at once.
"""

import re
import sys
from bisect import bisect_right
from collections.abc import Mapping
from functools import cache
from itertools import pairwise
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    RootModel,
    field_validator,
    model_serializer,
    model_validator,
)

from crar_diag.envs.names import Environment, Observation

Loss = Literal[
    "transition", "reward", "discount", "volume", "random_pairs", "consecutive_pairs", "q"
]
Component = Literal["encoder", "transition", "reward", "discount", "q"]
Mode = Literal["sequential", "simultaneous", "joint"]
Preset = Literal["paper", "quick"]

LOSSES: Final[tuple[str, ...]] = get_args(Loss)
"""The losses in the order in which one update applies them."""
COMPONENTS: Final[tuple[str, ...]] = get_args(Component)
MODES: Final[tuple[str, ...]] = get_args(Mode)
PRESETS: Final[tuple[str, ...]] = get_args(Preset)

MAX_SEEDS: Final = 100_000

# Counts stay below 2**53 so that they survive every reader of TOML, JSON and HDF5 attributes.
Count = Annotated[int, Field(ge=1, le=2**53)]
CountOrZero = Annotated[int, Field(ge=0, le=2**53)]
Seed = Annotated[int, Field(ge=0, le=2**63 - 1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class FrozenModel(BaseModel):
    """Base of every configuration model: immutable, no unknown keys, no silent conversions."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Schedule(RootModel[tuple[tuple[int, float], ...]]):
    """A loss weight over the epochs: a number, or `[[first_epoch, weight], ...]`.

    The first pair begins at epoch 0, first epochs increase, weights are finite and not negative.
    `[[0, 0.0], [15, 1.0]]` omits a loss for 15 epochs and restores it then.
    """

    model_config = ConfigDict(frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _read(cls, value: Any) -> Any:
        if isinstance(value, Schedule):
            return value
        points = [[0, value]] if _is_weight(value) else value
        if not isinstance(points, list | tuple) or not points:
            raise ValueError("a finite number >= 0 or a list of [first_epoch, weight] pairs")
        for pair in points:
            if (
                not isinstance(pair, list | tuple)
                or len(pair) != 2
                or not isinstance(pair[0], int)
                or isinstance(pair[0], bool)
                or not _is_weight(pair[1])
            ):
                raise ValueError("pairs of a whole first_epoch and a finite weight >= 0")
        epochs = [pair[0] for pair in points]
        if epochs[0] != 0 or any(b <= a for a, b in pairwise(epochs)):
            raise ValueError("pairs whose first epochs begin at 0 and increase")
        return tuple((epoch, float(weight)) for epoch, weight in points)

    @model_serializer
    def _write(self) -> Any:
        if len(self.root) == 1:
            return self.root[0][1]
        return [[epoch, weight] for epoch, weight in self.root]

    def weight_at(self, epoch: int) -> float:
        """Return the weight that holds in `epoch` (counted from 0).

        Raises:
            ValueError: `epoch` is negative.
        """
        if epoch < 0:
            raise ValueError(f"expected an epoch >= 0, got {epoch}")
        return self.root[bisect_right(self.root, epoch, key=lambda point: point[0]) - 1][1]


def _is_weight(value: Any) -> bool:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and 0 <= value <= sys.float_info.max
    )


_ONE: Final = Schedule(((0, 1.0),))


class LossWeights(FrozenModel):
    """The step ratio of every loss (0 leaves the loss out), each a `Schedule`.

    The defaults are 1. The published step of the consecutive-pair loss L'_d1 is a fifth of the
    others' in the simple maze; `preset` sets it.
    """

    transition: Schedule = _ONE
    reward: Schedule = _ONE
    discount: Schedule = _ONE
    volume: Schedule = _ONE
    random_pairs: Schedule = _ONE
    consecutive_pairs: Schedule = _ONE
    q: Schedule = _ONE


class OptimizerConfig(FrozenModel):
    """RMSprop as Keras defines it, and the order in which an update applies the losses.

    `learning_rate_decay` multiplies the rate after every epoch; `epsilon` stands outside the square
    root; `clip_norm` bounds a gradient's 2-norm, of each tensor or of all tensors of a step
    together (`clip_scope`); `mode` is `sequential` in the published code: every loss is its own
    step, and later losses see the weights that earlier ones changed.
    """

    learning_rate: Positive = 5e-4
    learning_rate_decay: Positive = 1.0
    rho: Annotated[float, Field(ge=0, lt=1)] = 0.9
    epsilon: Positive = 1e-4
    clip_norm: Positive = 1.0
    clip_scope: Literal["tensor", "global"] = "tensor"
    mode: Mode = "sequential"


class DataConfig(FrozenModel):
    """The transitions that a uniformly random policy gathers once, before training.

    `mark_last_terminal` reproduces the published code's marking of each gathering's last step as
    terminal (10 of 5,000 transitions of the simple maze).
    """

    transitions: Count
    steps_per_gathering: Count = 500
    mark_last_terminal: bool = False


class EvaluationConfig(FrozenModel):
    """The score: epsilon-greedy planning over `steps` steps, every `every` epochs (0 = never).

    `environments` are played side by side; 1 is the published protocol.
    """

    depth: Annotated[int, Field(ge=0, le=6)] = 3
    epsilon: Fraction = 0.1
    steps: Count = 200
    episode_cap: Count = 50
    environments: Count = 1
    every: CountOrZero = 0


class TrainConfig(FrozenModel):
    """Everything that decides what a training run computes.

    Defaults are the values that the published experiments share, or the neutral one (no decay, no
    evaluation, weight 1). What differs between the environments comes from `preset`. `engine`
    chooses the implementation of an update; `auto` takes the fused one where it applies, and on a
    CUDA device the graphed one.
    `snapshots_every` keeps each agent's weights as they are at the start, after every so many
    epochs and at the end (0 = none); see `crar_diag.agent.snapshots`.
    """

    name: str = "base"
    environment: Environment
    observation: Observation = "symbolic"
    domain: Annotated[str, Field(min_length=1)] = "normal"
    seeds: tuple[Seed, ...] = (0,)
    updates: Count
    updates_per_epoch: Count
    snapshots_every: CountOrZero = 0
    batch_size: Annotated[int, Field(ge=2, le=2**31)] = 32
    precision: Literal["float32", "float64"] = "float32"
    engine: Literal["auto", "reference", "fused", "graphed"] = "auto"
    discount_factor: Fraction = 0.9
    double_q: bool = False
    target_period: Count = 1000
    pair_scale: Positive = 5.0
    trainable: tuple[Component, ...] = get_args(Component)
    optimizer: OptimizerConfig = OptimizerConfig()
    loss_weights: LossWeights = LossWeights()
    data: DataConfig
    evaluation: EvaluationConfig = EvaluationConfig()

    @property
    def member_count(self) -> int:
        """How many agents are trained."""
        return len(self.seeds)

    def agents(self) -> dict[Any, str]:
        """Return how the run's files are called, by what tells its agents apart: the seed."""
        return {seed: f"{self.name}-seed{seed}" for seed in self.seeds}

    def members(self) -> tuple[str, ...]:
        """Return the name of each agent that is trained, in the order of the population."""
        return tuple(self.agents().values())

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
            raise ValueError(
                "usable in a file name (1 to 64 of the letters a-z, digits, '.', '_' and '-', "
                "beginning with a letter or digit)"
            )
        return name

    @field_validator("seeds", mode="before")
    @classmethod
    def _read_seeds(cls, value: Any) -> Any:
        if isinstance(value, str):
            return expand_seeds(value)
        if isinstance(value, int) and not isinstance(value, bool):
            return (value,)
        return tuple(value) if isinstance(value, list) else value

    @field_validator("seeds")
    @classmethod
    def _check_seeds(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if not 1 <= len(seeds) <= MAX_SEEDS or len(set(seeds)) != len(seeds):
            raise ValueError(f"1 to {MAX_SEEDS} different seeds")
        return seeds

    @field_validator("trainable", mode="before")
    @classmethod
    def _read_trainable(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(","))
        return tuple(value) if isinstance(value, list) else value

    @field_validator("trainable")
    @classmethod
    def _order_trainable(cls, trainable: tuple[str, ...]) -> tuple[str, ...]:
        if not trainable or len(set(trainable)) != len(trainable):
            raise ValueError("at least one component, each named once")
        return tuple(component for component in COMPONENTS if component in trainable)


def expand_seeds(text: str) -> tuple[int, ...]:
    """Return the seeds that `"0:6"`, `"3"` or `"0,2,5:8"` names; ranges are half-open.

    Raises:
        ValueError: not of this form, an empty range, or a seed named twice; its message completes
            "seeds must be".
    """
    seeds: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*([0-9]{1,19})\s*(?::\s*([0-9]{1,19})\s*)?", part)
        if match is None:
            raise ValueError("numbers and half-open ranges such as '0:6', '3' or '0,2,5:8'")
        first = int(match[1])
        end = first + 1 if match[2] is None else int(match[2])
        if end <= first:
            raise ValueError(f"ranges that hold a seed ('{part.strip()}' is empty: half-open)")
        if end - first + len(seeds) > MAX_SEEDS:
            raise ValueError(f"at most {MAX_SEEDS} seeds")
        seeds += range(first, end)
    if len(set(seeds)) != len(seeds):
        raise ValueError("different seeds (ranges overlap)")
    return tuple(seeds)


@cache
def config_fields(model: type[TrainConfig] = TrainConfig) -> tuple[str, ...]:
    """Return every key of a configuration, dotted (`optimizer.learning_rate`), in order."""
    return tuple(_fields(model, ""))


@cache
def config_sections(model: type[TrainConfig] = TrainConfig) -> frozenset[str]:
    """Return the tables of a configuration: the first parts of its dotted keys."""
    return frozenset(key.split(".")[0] for key in config_fields(model) if "." in key)


def _fields(model: type[BaseModel], prefix: str) -> list[str]:
    keys: list[str] = []
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, FrozenModel):
            keys += _fields(kind, f"{prefix}{name}.")
        else:
            keys.append(prefix + name)
    return keys


def flatten(config: TrainConfig) -> dict[str, Any]:
    """Return `config` as plain values under dotted keys, in the order of `config_fields`."""
    tables = config.model_dump()
    values: dict[str, Any] = {}
    for key in config_fields(type(config)):
        section, _, name = key.rpartition(".")
        values[key] = (tables[section] if section else tables)[name]
    return values


def nest(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return `values` under dotted keys as the tables that `TrainConfig` is validated from."""
    tables: dict[str, Any] = {}
    for key, value in values.items():
        section, _, name = key.rpartition(".")
        (tables.setdefault(section, {}) if section else tables)[name] = value
    return tables

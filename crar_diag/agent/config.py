"""The configuration of a training run, and the ways by which a user's choices reach it.

The first half holds the frozen models and the published presets; the second half reads a
configuration from a preset, a TOML file, `--set key=value` and command line options, and says in
one sentence which key of which source is wrong. Torch is not imported here, so that `--help` and
`--dry-run` answer at once.
"""

import re
import stat
import sys
import tomllib
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from datetime import date, time
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args

import tomli_w
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    RootModel,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)

from crar_diag.errors import InputError, did_you_mean

Loss = Literal[
    "transition", "reward", "discount", "volume", "random_pairs", "consecutive_pairs", "q"
]
Component = Literal["encoder", "transition", "reward", "discount", "q"]
Mode = Literal["sequential", "simultaneous", "joint"]
Environment = Literal["simple-maze", "labyrinth"]
Observation = Literal["symbolic", "pixels"]
Preset = Literal["paper", "quick"]

LOSSES: Final[tuple[str, ...]] = get_args(Loss)
"""The losses in the order in which one update applies them."""
COMPONENTS: Final[tuple[str, ...]] = get_args(Component)
MODES: Final[tuple[str, ...]] = get_args(Mode)
ENVIRONMENTS: Final[tuple[str, ...]] = get_args(Environment)
PRESETS: Final[tuple[str, ...]] = get_args(Preset)

MAX_SEEDS: Final = 100_000
MAX_TOML_BYTES: Final = 2**20

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

    `episodes` environments are evaluated side by side; 1 is the published protocol.
    """

    depth: Annotated[int, Field(ge=0, le=20)] = 3
    epsilon: Fraction = 0.1
    steps: Count = 200
    episode_cap: Count = 50
    episodes: Count = 1
    every: CountOrZero = 0


class TrainConfig(FrozenModel):
    """Everything that decides what a training run computes.

    Defaults are the values that the published experiments share, or the neutral one (no decay, no
    evaluation, weight 1). What differs between the environments comes from `preset`. `engine`
    chooses the implementation of an update; `auto` takes the fused one where it applies.
    """

    name: str = "base"
    environment: Environment
    observation: Observation = "symbolic"
    domain: Annotated[str, Field(min_length=1)] = "normal"
    seeds: tuple[Seed, ...] = (0,)
    updates: Count
    updates_per_epoch: Count
    batch_size: Annotated[int, Field(ge=2, le=2**31)] = 32
    precision: Literal["float32", "float64"] = "float32"
    engine: Literal["auto", "reference", "fused"] = "auto"
    discount_factor: Fraction = 0.9
    double_q: bool = False
    target_period: Count = 1000
    pair_scale: Positive = 5.0
    trainable: tuple[Component, ...] = get_args(Component)
    optimizer: OptimizerConfig = OptimizerConfig()
    loss_weights: LossWeights = LossWeights()
    data: DataConfig
    evaluation: EvaluationConfig = EvaluationConfig()

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
            return _expand_seeds(value)
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


_PUBLISHED: Final[dict[str, dict[str, Any]]] = {
    "simple-maze": {
        "observation": "symbolic",
        "updates": 160_000,  # base model 1 in the text; the published code's limit is 250,000
        "updates_per_epoch": 5000,
        "double_q": False,
        "optimizer.learning_rate_decay": 0.9,
        "loss_weights.consecutive_pairs": 0.2,
        "data.transitions": 5000,
        "evaluation.every": 0,
    },
    "labyrinth": {
        "observation": "pixels",
        "updates": 400_000,  # 200 epochs
        "updates_per_epoch": 2000,
        "double_q": True,
        "optimizer.learning_rate_decay": 1.0,
        "loss_weights.consecutive_pairs": 1.0,
        "data.transitions": 200_000,
        "evaluation.every": 1,
    },
}
_QUICK: Final[dict[str, dict[str, Any]]] = {
    "simple-maze": {"updates": 40_000},
    "labyrinth": {"updates": 20_000, "data.transitions": 20_000},
}


def preset(environment: str, name: str = "paper") -> TrainConfig:
    """Return the published configuration (`paper`) or its shorter twin (`quick`), with seed 0.

    Raises:
        InputError: unknown environment or preset.
    """
    if environment not in ENVIRONMENTS:
        hint = did_you_mean(str(environment), ENVIRONMENTS)
        raise InputError(f"unknown environment {_show(environment)}{hint}")
    if name not in PRESETS:
        raise InputError(f"unknown preset {_show(name)}{did_you_mean(str(name), PRESETS)}")
    shorter = _QUICK[environment] if name == "quick" else {}
    return TrainConfig.model_validate(
        _nest({"environment": environment, **_PUBLISHED[environment], **shorter})
    )


@cache
def config_fields() -> tuple[str, ...]:
    """Return every configuration key, dotted (`optimizer.learning_rate`), in order."""
    return tuple(_fields(TrainConfig, ""))


@cache
def _sections() -> frozenset[str]:
    return frozenset(key.split(".")[0] for key in config_fields() if "." in key)


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
    values = _flatten(config.model_dump(), str)
    return {key: values[key] for key in config_fields()}


def parse_seeds(text: str) -> tuple[int, ...]:
    """Return the seeds that `"0:6"`, `"3"` or `"0,2,5:8"` names; ranges are half-open.

    Raises:
        InputError: not of this form, an empty range, or a seed named twice.
    """
    try:
        return _expand_seeds(text)
    except ValueError as error:
        raise InputError(f"seeds must be {error}, found {_show(text)}") from None


def _expand_seeds(text: str) -> tuple[int, ...]:
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


def build_config(
    environment: str | None = None,
    preset_name: str = "paper",
    config_file: Path | None = None,
    overrides: Mapping[str, Any] | Iterable[str] = (),
    **options: Any,
) -> TrainConfig:
    """Resolve a configuration: preset < `config_file` < `overrides` < `options`.

    Args:
        environment: which preset to begin with; None takes it from the overrides or the file.
        preset_name: `paper` or `quick`.
        config_file: a TOML file with any of the configuration's keys.
        overrides: a mapping from dotted keys to values, or `key=value` strings (`--set`). A
            string's value is read as a TOML value (`0.5`, `true`, `[[0, 0.0], [15, 1.0]]`) and,
            where it is none, taken as it stands: `seeds=0:6` and `seeds="0:6"` are the same.
        options: explicit command line options by their dotted key (`**{"optimizer.rho": 0.95}`);
            None means that the option was not given. Messages name `optimizer.learning_rate` as
            `--learning-rate`.

    Raises:
        InputError: an unreadable file, an unknown key or name, or a value of the wrong kind.
    """
    chosen: dict[str, Any] = {}
    labels: dict[str, str] = {}

    def add(values: Mapping[str, Any], label: Callable[[str], str]) -> None:
        for key, value in _flatten(values, label).items():
            chosen[key], labels[key] = value, label(key)

    if config_file is not None:
        add(parse_toml(read_text(config_file), str(config_file)), lambda k: f"{config_file}: {k}")
    add(_read_overrides(overrides), lambda key: f"--set {key}")
    given = {"environment": environment, **options}
    add({key: value for key, value in given.items() if value is not None}, _option_name)
    start = chosen.get("environment")
    if start is None:
        raise InputError(
            "no environment given: expected --env simple-maze or --env labyrinth, "
            "or the key 'environment' in the configuration file"
        )
    base = flatten(preset(start, preset_name))
    return _validate({**base, **chosen}, lambda key: labels.get(key, key))


def _option_name(key: str) -> str:
    return "--env" if key == "environment" else "--" + key.rsplit(".")[-1].replace("_", "-")


def _read_overrides(overrides: Mapping[str, Any] | Iterable[str]) -> dict[str, Any]:
    if isinstance(overrides, Mapping):
        return dict(overrides)
    values: dict[str, Any] = {}
    for text in overrides:
        key, separator, value = text.partition("=")
        if not separator or not key.strip():
            raise InputError(f"--set must be followed by key=value, found {_show(text)}")
        values[key.strip()] = _read_value(value.strip())
    return values


def _read_value(text: str) -> Any:
    try:
        table = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    # No key takes a date or a time, and newer TOML reads the seeds 10:20 as a time of day.
    if len(table) != 1 or isinstance(table["value"], date | time):
        return text
    return table["value"]


def to_toml(config: TrainConfig) -> str:
    """Return `config` as the text of a TOML file; `from_toml` gives back an equal one."""
    return tomli_w.dumps(config.model_dump())


def from_toml(text: str, source: str) -> TrainConfig:
    """Read a whole configuration, as `to_toml` writes it.

    Args:
        text: the TOML text.
        source: the name under which messages speak of it, such as the file's path.

    Raises:
        InputError: no valid TOML, an unknown or missing key, or a value of the wrong kind.
    """

    def label(key: str) -> str:
        return f"{source}: {key}"

    return _validate(_flatten(parse_toml(text, source), label), label)


def read_text(path: Path) -> str:
    """Return the text of a TOML file of at most `MAX_TOML_BYTES`.

    Raises:
        InputError: missing, not a regular file, too large, or not UTF-8.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"'{path}' is not a regular file: expected a TOML file")
        if status.st_size > MAX_TOML_BYTES:
            raise InputError(
                f"'{path}' is too large for a configuration: expected at most {MAX_TOML_BYTES} "
                f"bytes, found {status.st_size}"
            )
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise InputError(f"'{path}' is not a TOML file: expected UTF-8 text") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"configuration file '{path}' cannot be read: {reason}") from None


def parse_toml(text: str, source: str) -> dict[str, Any]:
    """Return the tables of a TOML text.

    Raises:
        InputError: no valid TOML; the sentence names `source` and the line.
    """
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else error
        raise InputError(f"'{source}' is not valid TOML: {reason}") from None


def describe_error(error: ValidationError, label: Callable[[str], str]) -> str:
    """Return one sentence about the first thing that pydantic found wrong.

    Args:
        error: what validation raised.
        label: how to name a dotted key to the user.
    """
    first = error.errors(include_url=False)[0]
    parts: list[str] = []
    for part in first["loc"]:
        if not isinstance(part, str):
            break
        parts.append(part)
    key = label(".".join(parts))
    context = first.get("ctx", {})
    if first["type"] == "missing":
        return f"{key} is missing"
    if first["type"] == "extra_forbidden":
        return f"{key} is not known to this version"
    if first["type"] == "literal_error":
        known = re.findall(r"'([^']*)'", context["expected"])
        hint = did_you_mean(str(first["input"]), known)
        return f"{key} has the unknown value {_show(first['input'])}{hint}"
    if first["type"] == "value_error":
        expected = f"be {context['error']}"
    else:
        expected = first["msg"].partition(" should ")[2] or f"be valid ({first['msg']})"
    return f"{key} must {expected}, found {_show(first['input'])}"


def _validate(values: Mapping[str, Any], label: Callable[[str], str]) -> TrainConfig:
    try:
        config = TrainConfig.model_validate(_nest(values))
    except ValidationError as error:
        raise InputError(describe_error(error, label)) from None
    from crar_diag.envs.domains import domain_names  # late: imports numpy

    if config.domain not in domain_names():
        hint = did_you_mean(config.domain, domain_names())
        raise InputError(f"{label('domain')} has the unknown value {_show(config.domain)}{hint}")
    return config


def _flatten(table: Mapping[str, Any], label: Callable[[str], str]) -> dict[str, Any]:
    """Bring tables to dotted keys, refusing unknown ones."""
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key in _sections():
            if not isinstance(value, Mapping):
                raise InputError(f"{label(key)} must be a table of keys, found {_show(value)}")
            values |= _flatten({f"{key}.{name}": inner for name, inner in value.items()}, label)
        elif key in config_fields():
            values[key] = value
        else:
            # A key without its section is the likeliest slip: `rho` for `optimizer.rho`.
            last = key.rsplit(".")[-1]
            alike = [known for known in config_fields() if known.rsplit(".")[-1] == last]
            hint = did_you_mean(key, alike or config_fields())
            if len(alike) == 1:
                hint = f" (did you mean '{alike[0]}'?)"
            shown = key if key.isprintable() else repr(key)
            raise InputError(f"{label(shown)} is not a configuration key{hint}")
    return values


def _nest(values: Mapping[str, Any]) -> dict[str, Any]:
    tables: dict[str, Any] = {}
    for key, value in values.items():
        section, _, name = key.rpartition(".")
        (tables.setdefault(section, {}) if section else tables)[name] = value
    return tables


def _show(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."

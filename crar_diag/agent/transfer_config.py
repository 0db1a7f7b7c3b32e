"""The configuration of transfers: which bases, in which variants, and how often.

Torch is not imported here, so that `--help` and refusals answer at once.
"""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import PurePath
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import Field, field_validator, model_validator

from crar_diag.agent.config import (
    COMPONENTS,
    Count,
    CountOrZero,
    FrozenModel,
    Positive,
    TrainConfig,
)

Variant = Literal[
    "original",
    "reset-encoder",
    "permute-encoder",
    "finetune",
    "no-disambiguation",
    "delayed-structure",
    "scratch",
    "oracle",
    "paired",
]
VARIANTS: Final[tuple[str, ...]] = get_args(Variant)
"""The approaches of section 5.2.3, and two points of reference (`oracle`, `paired`)."""

UNFROZEN: Final = ("finetune", "scratch")
"""Variants whose dynamics move, so that their embedding may move with them."""

MAX_MEMBERS: Final = 100_000
# A file's name has room for 255 bytes, of which the suffix takes 12.
_MAX_NAME_BYTES: Final = 243


class BaseFile(FrozenModel):
    """A base model: its checkpoint, and the SHA-256 of that file when the run began."""

    path: Annotated[str, Field(min_length=1)]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class RealignConfig(FrozenModel):
    """The first remedy: orthogonal maps of the embedding, tried every so many epochs (0 = never).

    A map is kept if it brings the frozen transition loss to `factor` times what it was or less.
    `angles` rotations and as many reflections are tried on a state of two numbers; on one of images
    all signed permutations of its channels.
    """

    every: CountOrZero = 0
    factor: Annotated[float, Field(gt=0, le=1)] = 0.5
    angles: Annotated[int, Field(ge=2, le=4096)] = 64


@dataclass(frozen=True)
class Transfer:
    """One encoder of a run of transfers.

    Attributes:
        name: of the transfer, and of its file; the restarts of a transfer share it.
        variant: one of `VARIANTS`.
        base: the position of its base model among the run's; None from scratch.
        seed: of its data and batches, and of what is drawn anew.
        learning_rate: at epoch 0.
        restart: 0, 1, ... among the encoders of which the best is kept.
    """

    name: str
    variant: str
    base: int | None
    seed: int
    learning_rate: float
    restart: int


class TransferConfig(TrainConfig):
    """Everything that decides what a run of transfers computes.

    Every base is transferred in every variant, at every learning rate, with every seed. The keys
    that it shares with `TrainConfig` hold for all of them, except `optimizer.learning_rate`, which
    is that of an agent from scratch, and `trainable`, which the variant decides.

    `no_disambiguation` says which loss that variant omits: the paper's formula calls the
    random-pair loss L_d1, its code gives that name to the volume loss. `delay` is the number of
    epochs for which `delayed-structure` omits the three structure losses. `restarts` encoders are
    trained for each transfer, from different starts (`variants.start`), of which the one with the
    smallest transition loss is kept.
    """

    kind: Literal["transfer"] = "transfer"
    name: str = "transfer"
    domain: Annotated[str, Field(min_length=1)] = "inverse"
    bases: tuple[BaseFile, ...]
    variants: tuple[Variant, ...] = ("original",)
    learning_rates: tuple[Positive, ...]
    no_disambiguation: Literal["random_pairs", "volume"] = "random_pairs"
    delay: Count = 15
    restarts: Annotated[int, Field(ge=1, le=1000)] = 1
    realign: RealignConfig = RealignConfig()

    @field_validator("bases", "variants", "learning_rates", mode="before")
    @classmethod
    def _read_list(cls, value: Any) -> Any:
        if isinstance(value, str):
            parts = [part.strip() for part in value.split(",")]
            return tuple(_number(part) for part in parts)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return (float(value),)
        return tuple(value) if isinstance(value, list) else value

    @field_validator("variants", "learning_rates", "bases")
    @classmethod
    def _different(cls, values: tuple[Any, ...]) -> tuple[Any, ...]:
        names = [value.path if isinstance(value, BaseFile) else str(value) for value in values]
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice or not names:
            which = f" ('{twice[0]}' is not)" if twice else ""
            raise ValueError(f"at least one, each given once{which}")
        return values

    @field_validator("trainable")
    @classmethod
    def _left_to_the_variant(cls, trainable: tuple[str, ...]) -> tuple[str, ...]:
        if trainable != COMPONENTS:
            raise ValueError("left out: a transfer's variant decides what moves")
        return trainable

    @model_validator(mode="after")
    def _fits_together(self) -> "TransferConfig":
        several = list(islice(self._each(), MAX_MEMBERS + 1))
        if len(several) > MAX_MEMBERS:
            raise ValueError(f"of at most {MAX_MEMBERS} encoders")
        names = self.members() if self.snapshots_every else [t.name for t in several]
        ending = f"-update{self.updates}" if self.snapshots_every else ""
        longest = max((os.fsencode(name + ending) for name in names), key=len)
        if len(longest) > _MAX_NAME_BYTES:
            raise ValueError(
                "of bases whose files have shorter names: a transfer's file would be called "
                f"'{longest[:40].decode(errors='replace')}...', {len(longest)} bytes"
            )
        return self

    @property
    def member_count(self) -> int:
        """How many encoders are trained."""
        return len(self.transfers())

    def base_labels(self) -> tuple[str, ...]:
        """Return a short name for each base, usable in a file name and different from the others'.

        They are the files', with their folders' before them if some bases share that, and with
        numbers besides if some share both.
        """
        paths = [PurePath(base.path) for base in self.bases]
        labels = [path.stem for path in paths]
        if len(set(labels)) < len(labels):
            labels = [f"{path.parent.name}-{path.stem}" for path in paths]
        if len(set(labels)) < len(labels):
            labels = [f"{label}-{k}" for k, label in enumerate(labels)]
        return tuple(labels)

    def transfers(self) -> tuple[Transfer, ...]:
        """Return every encoder of the run, in the order of the population.

        Those that are not trained by the engine of all others, `paired` and `oracle`, come last.
        """
        return tuple(self._each())

    def _each(self) -> Iterator[Transfer]:
        labels = self.base_labels()
        for variant in sorted(self.variants, key=lambda v: (_LAST.get(v, 0), VARIANTS.index(v))):
            scratch = variant == "scratch"
            rates = (self.optimizer.learning_rate,) if scratch else self.learning_rates
            if variant == "oracle":  # nothing is drawn and nothing is learned
                rates = rates[:1]
            for base in (None,) if scratch else range(len(self.bases)):
                for rate in rates:
                    stem = variant if base is None else f"{variant}-{labels[base]}"
                    for seed in self.seeds[:1] if variant == "oracle" else self.seeds:
                        name = f"{stem}-lr{_short(rate)}-seed{seed}"
                        if variant == "oracle":
                            name = stem
                        for restart in range(1 if variant in _LAST else self.restarts):
                            yield Transfer(name, variant, base, seed, rate, restart)

    def agents(self) -> dict[Any, str]:
        """Return how the run's files are called, by what tells the transfers apart: the name."""
        return {transfer.name: transfer.name for transfer in self.transfers()}

    def members(self) -> tuple[str, ...]:
        """Return the name of each encoder that is trained, in the order of the population.

        It is that of the transfer, or, where transfers have several restarts, that and the number
        of the restart.
        """
        several = self.restarts > 1
        return tuple(
            restart_name(t.name, t.restart) if several else t.name for t in self.transfers()
        )


_LAST: Final = {"paired": 1, "oracle": 2}
NOT_TRAINED_AS_THE_OTHERS: Final = tuple(_LAST)
"""Points of reference, which were told the base's embedding: no remedy applies to them."""


def restart_name(transfer: str, restart: int) -> str:
    """Return the name of one of the encoders that are trained for a transfer."""
    return f"{transfer}-restart{restart}"


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _short(number: float) -> str:
    """Return a number as `8e-05`, and in full where that would be another number."""
    short = f"{number:g}"
    return short if float(short) == number else repr(number)

"""The data of a population: each member's transitions, stored as tiles and drawn as batches."""

import itertools
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from crar_diag.agent.streams import BLOCK, batch_draws
from crar_diag.errors import InputError

if TYPE_CHECKING:
    from crar_diag.envs.data import TransitionData
    from crar_diag.envs.observer import Observer

# Up to this many distinct pictures, all are rendered once; beyond, each batch renders its own.
# The simple maze has 31. 4,096 pictures of 8 x 8 take one megabyte.
TABLE_LIMIT = 4096


@dataclass(frozen=True)
class Transitions:
    """One data set by its distinct pictures.

    Attributes:
        tiles: distinct pictures, uint8 `[K, 8, 8]`.
        first: the picture of s, `[T]`.
        second: the picture of s', `[T]`.
        actions: int64 `[T]`.
        rewards: `[T]`.
        terminals: 0 or 1 in the precision of the rewards, `[T]`.
        table: the pictures as observations `[K, c, h, w]`, or None where they are too many.
    """

    tiles: Tensor
    first: Tensor
    second: Tensor
    actions: Tensor
    rewards: Tensor
    terminals: Tensor
    observer: "Observer"
    table: Tensor | None

    @staticmethod
    def of(
        data: "TransitionData", observer: "Observer", dtype: torch.dtype, device: torch.device
    ) -> "Transitions":
        """Index a data set by its distinct pictures and render them if they are few."""
        tiles, first, second = data.distinct()
        pictures = torch.from_numpy(tiles).to(device)
        table = observer(pictures).to(dtype) if len(tiles) <= TABLE_LIMIT else None
        return Transitions(
            tiles=pictures,
            first=torch.from_numpy(first).to(device),
            second=torch.from_numpy(second).to(device),
            actions=torch.from_numpy(data.actions.astype(np.int64)).to(device),
            rewards=torch.from_numpy(data.rewards).to(device, dtype),
            terminals=torch.from_numpy(data.terminals).to(device, dtype),
            observer=observer,
            table=table,
        )

    def __len__(self) -> int:
        """Return the number of transitions."""
        return len(self.actions)

    def observe(self, pictures: Tensor) -> Tensor:
        """Return the observations of some pictures, `[n, c, h, w]`."""
        if self.table is not None:
            return self.table[pictures]
        return self.observer(self.tiles[pictures]).to(self.rewards.dtype)

    def batch(self, rows: Tensor) -> dict[str, Tensor]:
        """Return the transitions `rows`, `[n]`, as a batch for the losses."""
        return {
            "observation": self.observe(self.first[rows]),
            "next_observation": self.observe(self.second[rows]),
            "action": self.actions[rows],
            "reward": self.rewards[rows],
            "terminal": self.terminals[rows],
        }


class Replay:
    """The data and the batches of every member of a population.

    Args:
        data: each member's transitions; members may share one object, which is then stored once.
        observers: how each member sees them; as many as `data`.
        seeds: each member's seed, which fixes its batches.
        batch_size: transitions an update.
        dtype: precision of the observations.
        device: where batches are made.

    Raises:
        InputError: if the lengths disagree or there is no member.
    """

    def __init__(
        self,
        data: Sequence["TransitionData"],
        observers: Sequence["Observer"],
        seeds: Sequence[int],
        batch_size: int = 32,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        if not data or not len(data) == len(observers) == len(seeds):
            raise InputError(
                "a population needs one data set, one observer and one seed a member, got "
                f"{len(data)}, {len(observers)} and {len(seeds)}"
            )
        stored: dict[tuple[int, int], Transitions] = {}
        self.members: list[Transitions] = []
        for one, observer in zip(data, observers, strict=True):
            key = (id(one), id(observer))
            if key not in stored:
                stored[key] = Transitions.of(one, observer, dtype, torch.device(device))
            self.members.append(stored[key])
        self.seeds = tuple(seeds)
        self.batch_size = batch_size
        self.device = torch.device(device)
        self._drawn: dict[int, tuple[int, np.ndarray]] = {}
        self._joined: _Joined | None = None

    def part(self, members: slice) -> "Replay":
        """Return the data of some members."""
        own = copy(self)
        own.members, own.seeds = self.members[members], self.seeds[members]
        own._drawn, own._joined = {}, None
        if self._joined is not None:
            own._joined = replace(self._joined, starts=self._joined.starts[members])
        return own

    def draws(self, member: int, first: int, updates: int) -> np.ndarray:
        """Return the transitions of some of a member's updates, int64 `[updates, batch]`."""
        last = first + updates - 1
        blocks = [self._block(member, b) for b in range(first // BLOCK, last // BLOCK + 1)]
        return np.concatenate(blocks)[first % BLOCK :][:updates]

    def _block(self, member: int, block: int) -> np.ndarray:
        """Return a block of draws; a member's last is kept, for updates come in small pieces."""
        kept, draws = self._drawn.get(member, (None, None))
        if draws is None or kept != block:
            size = len(self.members[member])
            draws = batch_draws(self.seeds[member], block * BLOCK, BLOCK, self.batch_size, size)
            self._drawn[member] = block, draws
        return draws

    def batches(self, rows: Tensor) -> dict[str, Tensor]:
        """Return one batch a member, each entry `[M, batch, ...]`, for rows `[M, batch]`.

        All members' rows are taken at once where they can be joined: an accelerator would wait for
        hundreds of members one after the other.
        """
        self.join()
        if self._joined is None:
            each = [data.batch(r) for data, r in zip(self.members, rows, strict=True)]
            return {name: torch.stack([batch[name] for batch in each]) for name in each[0]}
        flat = (rows + self._joined.starts[:, None]).flatten()
        found = self._joined.all.batch(flat)
        return {name: values.unflatten(0, rows.shape) for name, values in found.items()}

    def join(self) -> None:
        """Put all members' data behind each other, if they have one observer.

        `part` of joined data are views of them.
        """
        first = self.members[0].observer
        if self._joined is None and all(data.observer == first for data in self.members):
            self._joined = _join(self.members)


@dataclass(frozen=True)
class _Joined:
    """All different data of a population behind each other, and where each member's begin, `[M]`.

    The data themselves become views of them, but for the numbers of pictures.
    """

    all: Transitions
    starts: Tensor


def _join(members: list[Transitions]) -> _Joined:
    """Put the members' data behind each other; they are kept once, as views."""
    different = list({id(one): one for one in members}.values())
    lengths = torch.tensor([0, *(len(one) for one in different)]).cumsum(0)
    pictures = torch.tensor([0, *(len(one.tiles) for one in different)]).cumsum(0).tolist()
    place = {id(one): k for k, one in enumerate(different)}
    first = different[0]
    tables = [one.table for one in different if one.table is not None]
    table = torch.cat(tables) if len(tables) == len(different) else None
    joined = Transitions(
        tiles=torch.cat([one.tiles for one in different]),
        first=torch.cat([one.first + n for one, n in zip(different, pictures[:-1], strict=True)]),
        second=torch.cat([one.second + n for one, n in zip(different, pictures[:-1], strict=True)]),
        actions=torch.cat([one.actions for one in different]),
        rewards=torch.cat([one.rewards for one in different]),
        terminals=torch.cat([one.terminals for one in different]),
        observer=first.observer,
        table=table,
    )
    own = [slice(a, b) for a, b in itertools.pairwise(lengths.tolist())]
    views = [
        replace(
            one,
            tiles=joined.tiles[a:b],
            table=one.table if table is None else table[a:b],
            actions=joined.actions[rows],
            rewards=joined.rewards[rows],
            terminals=joined.terminals[rows],
        )
        for one, a, b, rows in zip(different, pictures[:-1], pictures[1:], own, strict=True)
    ]
    starts = lengths[[place[id(one)] for one in members]]
    members[:] = [views[place[id(one)]] for one in members]
    return _Joined(joined, starts.to(first.tiles.device))

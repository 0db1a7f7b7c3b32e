"""What is recorded while a population trains, and the file `history.h5` that holds it."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
import xarray as xr

from crar_diag.agent.config import LOSSES
from crar_diag.agent.storage import write_atomically
from crar_diag.envs.gym_base import ACTIONS
from crar_diag.errors import InputError
from crar_diag.version import __version__

SCHEMA_VERSION = 1


def record_times(updates: int, updates_per_epoch: int) -> np.ndarray:
    """Return the updates after which losses and embeddings are recorded, int64, increasing.

    Logarithmic ones (0, 1, 2, 5, 10, 20, ...), every end of an epoch, and the end.
    """
    decades = range(len(str(updates)))
    logarithmic = {digit * 10**decade for decade in decades for digit in (1, 2, 5)}
    epochs = set(range(updates_per_epoch, updates + 1, updates_per_epoch))
    return np.array(sorted(t for t in {0, updates} | logarithmic | epochs if t <= updates))


@dataclass(frozen=True)
class Labels:
    """What a history says of its members beside their seeds.

    Attributes:
        names: different ones, `[M]`; none where the seeds tell the members apart.
        others: by name, one value a member and what they are.
    """

    names: tuple[str, ...] = ()
    others: Mapping[str, tuple[Sequence[Any], str]] = field(default_factory=dict)


@dataclass
class History:
    """The record of M members over E epochs and K times; NaN where nothing was recorded yet.

    Attributes:
        seeds: each member's, int64 `[M]`.
        epochs: the update at which each epoch ends, int64 `[E]`.
        times: the updates of the other records, int64 `[K]`.
        training_losses: mean over the updates of the epoch, on batches, float64 `[M, E, 7]`.
        learning_rate: in the epoch, float64 `[M, E]`.
        score: validation score at the end of the epoch, float64 `[M, E]`.
        seconds: time that the epoch took, float64 `[E]`.
        losses: exact (simple maze) or held-out (labyrinth), float64 `[M, K, 7]`.
        losses_error: standard error of held-out losses, 0 where exact, float64 `[M, K, 7]`.
        embedding: abstract states of fixed pictures, float32 `[M, K, S, *state_shape]`.
        prediction: next states predicted from them for each action, float32
            `[M, K, S, actions, *state_shape]`.
        realignment: the orthogonal map that was folded into the encoder right before the record,
            NaN where none was, float64 `[M, K, c, c]`; c is 0 where none are tried.
        labels: what else is known of the members.
    """

    seeds: np.ndarray
    epochs: np.ndarray
    times: np.ndarray
    training_losses: np.ndarray
    learning_rate: np.ndarray
    score: np.ndarray
    seconds: np.ndarray
    losses: np.ndarray
    losses_error: np.ndarray
    embedding: np.ndarray
    prediction: np.ndarray
    realignment: np.ndarray
    labels: Labels = Labels()

    @classmethod
    def empty(
        cls,
        seeds: Sequence[int],
        updates: int,
        updates_per_epoch: int,
        states: tuple[int, ...],
        map_size: int = 0,
        labels: Labels | None = None,
    ) -> "History":
        """Return a history with room for a run.

        Args:
            seeds: one a member.
            updates: of the whole run.
            updates_per_epoch: the last epoch may be shorter.
            states: shape of one embedding, `(S, *state_shape)`.
            map_size: of the maps that realign an embedding.
            labels: what else is known of the members.
        """
        times = record_times(updates, updates_per_epoch)
        epochs = np.append(np.arange(updates_per_epoch, updates, updates_per_epoch), updates)
        m, e, k = len(seeds), len(epochs), len(times)
        return cls(
            seeds=np.array(seeds, np.int64),
            epochs=epochs,
            times=times,
            training_losses=np.full((m, e, len(LOSSES)), np.nan),
            learning_rate=np.full((m, e), np.nan),
            score=np.full((m, e), np.nan),
            seconds=np.full(e, np.nan),
            losses=np.full((m, k, len(LOSSES)), np.nan),
            losses_error=np.full((m, k, len(LOSSES)), np.nan),
            embedding=np.full((m, k, *states), np.nan, np.float32),
            prediction=np.full((m, k, states[0], ACTIONS, *states[1:]), np.nan, np.float32),
            realignment=np.full((m, k, map_size, map_size), np.nan),
            labels=labels or Labels(),
        )

    def arrays(self) -> dict[str, torch.Tensor]:
        """Return the recorded arrays as tensors that share their memory, for the resume state."""
        return {f"history.{name}": torch.from_numpy(getattr(self, name)) for name in _ARRAYS}

    def restore(self, arrays: dict[str, torch.Tensor]) -> None:
        """Fill in what `arrays` returned.

        Raises:
            InputError: if it is the record of another run.
        """
        for name in _ARRAYS:
            own, other = getattr(self, name), arrays.get(f"history.{name}")
            if other is None or tuple(other.shape) != own.shape:
                raise InputError(f"the saved state does not fit this run at 'history.{name}'")
            own[:] = other.numpy()

    def part(self, members: slice) -> "History":
        """Return the history of some members, in the memory of this one but for the seconds."""
        own = {
            name: getattr(self, name)[members] if name in _OF_MEMBERS else getattr(self, name)
            for name in _ARRAYS
        }
        return History(**{**own, "seconds": self.seconds.copy()})

    def _member_coordinates(self) -> dict[str, Any]:
        seeds = labelled("member", self.seeds, "seed of the member")
        if not self.labels.names:
            return {"member": seeds}
        others = {
            name: labelled("member", list(values), long_name)
            for name, (values, long_name) in self.labels.others.items()
        }
        names = labelled("member", list(self.labels.names), "name of the member")
        return {"member": names, "seed": seeds, **others}

    def datasets(self) -> dict[str, xr.Dataset]:
        """Return the record as labelled data, one data set a group of the file."""
        member = self._member_coordinates()
        loss = labelled("loss", list(LOSSES), "name of the loss")
        epoch = labelled("epoch", self.epochs, "updates at its end", "updates")
        time = labelled("time", self.times, "updates so far", "updates")
        spatial = self.embedding.ndim == 6
        axes = ("picture", "channel", "row", "column") if spatial else ("picture", "coordinate")
        training = xr.Dataset(
            {
                "training_loss": labelled(
                    ("member", "epoch", "loss"),
                    self.training_losses,
                    "mean loss on the epoch's batches",
                ),
                "learning_rate": labelled(("member", "epoch"), self.learning_rate, "learning rate"),
                "score": labelled(
                    ("member", "epoch"), self.score, "validation score, reward an episode"
                ),
                "seconds": labelled(("epoch",), self.seconds, "duration of the epoch", "s"),
            },
            coords={**member, "epoch": epoch, "loss": loss},
        )
        evaluation = xr.Dataset(
            {
                "expected_loss": labelled(
                    ("member", "time", "loss"), self.losses, "loss, exact or on held-out mazes"
                ),
                "expected_loss_error": labelled(
                    ("member", "time", "loss"), self.losses_error, "standard error of that loss"
                ),
            },
            coords={**member, "time": time, "loss": loss},
        )
        embedding = xr.Dataset(
            {
                "embedding": labelled(("member", "time", *axes), self.embedding, "abstract state"),
                "prediction": labelled(
                    ("member", "time", axes[0], "action", *axes[1:]),
                    self.prediction,
                    "predicted next abstract state",
                ),
            },
            coords={**member, "time": time},
        )
        if self.realignment.size:
            embedding["realignment"] = labelled(
                ("member", "time", "to", "from"),
                self.realignment,
                "orthogonal map that was folded into the encoder before this record",
            )
        return {"training": training, "evaluation": evaluation, "embedding": embedding}


_ARRAYS = tuple(f.name for f in fields(History) if f.name != "labels")
_OF_MEMBERS = tuple(n for n in _ARRAYS if n not in ("epochs", "times", "seconds"))


def labelled(
    dims: str | Sequence[str], values: Any, long_name: str, units: str = "1"
) -> tuple[str | Sequence[str], Any, dict[str, str]]:
    """Return values as xarray takes a variable, with what a file says of them."""
    return dims, values, {"long_name": long_name, "units": units}


def write_history(history: History, path: Path, attributes: dict[str, str]) -> None:
    """Write `history.h5` atomically: netCDF-4, groups `training`, `evaluation`, `embedding`.

    Args:
        history: what to write.
        path: where.
        attributes: put on the file's root beside the schema version.

    Raises:
        StorageError: if the file system refuses; a previous file is then unharmed.
    """
    root = xr.Dataset(attrs={"schema_version": SCHEMA_VERSION, "crar_diag": __version__})
    root.attrs.update(attributes)
    # In memory first: HDF5 brings the whole process down when a disk is full.
    file = io.BytesIO()
    root.to_netcdf(file, engine="h5netcdf")
    for group, dataset in history.datasets().items():
        dataset.to_netcdf(file, mode="a", group=group, engine="h5netcdf")
    write_atomically(path, file.getvalue())


def read_history(path: Path) -> dict[str, xr.Dataset]:
    """Read the groups of a `history.h5` into memory.

    Raises:
        InputError: if it is missing, not such a file, or of a newer schema.
    """
    try:
        with h5py.File(path) as root:  # xarray warns of foreign files
            version = int(np.ravel(root.attrs["schema_version"])[0])
        if version > SCHEMA_VERSION:
            raise InputError(
                f"'{path}' has history schema {version}, this version reads up to {SCHEMA_VERSION}"
            )
        return {
            group: xr.load_dataset(path, group=group, engine="h5netcdf")
            for group in ("training", "evaluation", "embedding")
        }
    except FileNotFoundError as error:
        raise InputError(f"history '{path}' does not exist") from error
    except (OSError, KeyError, ValueError, IndexError) as error:
        raise InputError(f"'{path}' is not a crar-diag history file") from error

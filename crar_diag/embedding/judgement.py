"""Success and failure of transfers, found from how they ended and not from a threshold set before.

Transfers whose dynamics are frozen succeed where their encoder has found the base's embedding
again: they are grouped by their distance to it and their transition loss. Where the dynamics train
along (`finetune`, `scratch`), they may serve another embedding just as well, and the distance to
the base's is the wrong measure: those transfers are grouped by their transition loss and, where
there is one, their score.
"""

from dataclasses import dataclass

import numpy as np
import xarray as xr

from crar_diag.agent.transfer_config import NOT_TRAINED_AS_THE_OTHERS
from crar_diag.embedding.clustering import Groups, find_groups, name_groups

# Below these, distances and losses are equal for what is asked here; a logarithm needs a floor.
_LEAST_DISTANCE = 1e-3
_LEAST_LOSS = 1e-6


@dataclass(frozen=True)
class Judgement:
    """How one set of transfers was judged.

    Attributes:
        environment: of the transfers.
        unfrozen: whether their dynamics moved.
        measures: the features that they were grouped by.
        groups: what was found; None where no transfer ended with finite numbers.
        sizes: of the groups, the best first.
        medians: of what orders the groups, the best first.
        by: what orders them: `distance` or `transition`.
        reason: in a sentence, why there are so many groups and which ones succeeded.
    """

    environment: str
    unfrozen: bool
    measures: tuple[str, ...]
    groups: Groups | None
    sizes: tuple[int, ...]
    medians: tuple[float, ...]
    by: str
    reason: str


@dataclass(frozen=True, eq=False)
class Judged:
    """What was found of all transfers.

    Attributes:
        group: of each transfer within its set, 0 for the best, -1 where it was not grouped, `[T]`.
        success: whether it counts as a success, bool `[T]`.
        judgements: one a set.
    """

    group: np.ndarray
    success: np.ndarray
    judgements: tuple[Judgement, ...]


def judge(finals: xr.Dataset) -> Judged:
    """Group transfers by how they ended, frozen and unfrozen ones and environments apart.

    With several groups, those are the successes in which most transfers have their base's embedding
    (frozen), or the one with the smallest median transition loss (unfrozen). With one group, or too
    few transfers to find any, nothing is to be told apart: then the kind `identity` is a success
    (frozen), and none is judged a failure by its dynamics' freedom alone (unfrozen). Transfers that
    diverged are failures; points of reference, which were told the embedding, are not grouped but
    judged by their kind.

    Args:
        finals: how the transfers ended (`finals`), `[T]`.
    """
    variant = finals.variant.values.astype(str)
    reference = np.isin(variant, NOT_TRAINED_AS_THE_OTHERS)
    group = np.full(len(variant), -1)
    success = reference & (finals.kind.values.astype(str) == "identity")
    judgements = []
    for environment in dict.fromkeys(finals.environment.values.astype(str)):
        for unfrozen in (False, True):
            rows = np.flatnonzero(
                (finals.environment.values.astype(str) == environment)
                & (finals.unfrozen.values == unfrozen)
                & ~reference
            )
            if len(rows):
                found, labels, won = _judge(finals.isel(transfer=rows), unfrozen)
                judgements.append(found)
                group[rows], success[rows] = labels, won
    return Judged(group, success, tuple(judgements))


def _features(finals: xr.Dataset, unfrozen: bool) -> tuple[tuple[str, ...], np.ndarray]:
    transition = finals.final_loss.sel(loss="transition").values
    columns = {"log10 transition loss": np.log10(np.maximum(transition, _LEAST_LOSS))}
    if not unfrozen:
        distance = np.log10(np.maximum(finals.distance.values, _LEAST_DISTANCE))
        columns = {"log10 distance": distance, **columns}
    if np.isfinite(finals.score.values).all():
        columns["score"] = finals.score.values
    return tuple(columns), np.stack(list(columns.values()), axis=1)


def _judge(finals: xr.Dataset, unfrozen: bool) -> tuple[Judgement, np.ndarray, np.ndarray]:
    """Judge one set; return what was found, the groups and the successes, `[n]`."""
    measures, values = _features(finals, unfrozen)
    environment = str(finals.environment.values[0])
    # A run that diverged keeps its last finite parameters, and with them finite numbers.
    finite = np.isfinite(values).all(axis=1) & (finals.kind.values.astype(str) != "diverged")
    labels, won = np.full(len(values), -1), np.zeros(len(values), bool)
    by = "transition" if unfrozen else "distance"
    if not finite.any():
        reason = "no transfer ended with finite numbers"
        return Judgement(environment, unfrozen, measures, None, (), (), by, reason), labels, won
    groups = find_groups(values[finite])
    distance = finals.distance.values[finite]
    named = name_groups(
        groups.labels,
        distance,
        finals.final_loss.sel(loss="transition").values[finite],
        frozen_dynamics=not unfrozen,
    )
    labels[finite] = named.labels
    same = finals.kind.values.astype(str)[finite] == "identity"
    if groups.groups > 1 and unfrozen:
        won[finite] = named.labels == 0
        reason = f"{groups.reason}; the group of least loss are the successes"
    elif groups.groups > 1:
        shares = np.array([same[named.labels == g].mean() for g in range(groups.groups)])
        won[finite] = (shares > 0.5)[named.labels]
        count = int((shares > 0.5).sum())
        which = {0: "none of them is a success", 1: "the nearest to the base are the successes"}
        reason = f"{groups.reason}; " + which.get(count, f"the nearest {count} are the successes")
    elif unfrozen:
        won[finite] = True
        reason = f"one group: {groups.reason}; nothing tells a failure from a success"
    else:
        won[finite] = same
        reason = (
            f"one group: {groups.reason}; each is judged by its kind, and "
            f"{int(won.sum())} of {len(won)} have their base's embedding"
        )
    found = Judgement(
        environment,
        unfrozen,
        measures,
        groups,
        tuple(map(int, named.sizes)),
        tuple(map(float, named.medians)),
        by,
        reason,
    )
    return found, labels, won

"""Which transfers succeeded, on ones whose answer is known because it was put there."""

import numpy as np
import pytest
import xarray as xr

from crar_diag.embedding.judgement import judge
from tests.embedding.ended import ended

N = 15


def around(centre, seed, spread=0.05, n=N):
    """Numbers whose logarithms scatter about that of `centre`."""
    return centre * np.exp(np.random.default_rng(seed).normal(0, spread, n))


def near(seed=0, **columns):
    given = {"distance": around(0.1, seed), "transition": around(1e-3, seed + 50)}
    return ended(**given | {"kind": "identity", "identity_residual": 0.05} | columns)


def far(seed=1, **columns):
    given = {"distance": around(2.0, seed), "transition": around(4e-3, seed + 50)}
    return ended(**given | {"kind": "swap", "identity_residual": 1.9} | columns)


def together(*parts):
    return xr.concat(parts, "transfer")


def shuffled(finals, seed=0):
    order = np.random.default_rng(seed).permutation(finals.sizes["transfer"])
    return finals.isel(transfer=order), order


# Frozen dynamics


def test_of_two_groups_the_one_near_the_base_are_the_successes():
    judged = judge(together(far(), near()))
    assert judged.success.tolist() == [False] * N + [True] * N
    assert judged.group.tolist() == [1] * N + [0] * N
    (found,) = judged.judgements
    assert found.sizes == (N, N)
    assert found.groups.groups == 2
    assert found.by == "distance"
    assert found.medians == pytest.approx(
        (np.median(around(0.1, 0)), np.median(around(2.0, 1))), rel=1e-12
    )
    assert found.measures == ("log10 distance", "log10 transition loss")
    assert (found.environment, found.unfrozen) == ("simple-maze", False)
    assert found.reason.endswith("; the nearest to the base are the successes")


def test_the_near_group_succeeds_whatever_its_losses_are():
    judged = judge(together(near(transition=around(5e-2, 3)), far(transition=around(1e-5, 4))))
    assert judged.success.tolist() == [True] * N + [False] * N


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_the_rows_does_not_matter(seed):
    finals = together(near(), far(), near(7, variant="finetune"), ended(variant="oracle"))
    expected = judge(finals)
    rows, order = shuffled(finals, seed)
    judged = judge(rows)
    np.testing.assert_array_equal(judged.success, expected.success[order])
    np.testing.assert_array_equal(judged.group, expected.group[order])


def test_groups_that_failed_in_two_ways_are_both_failures():
    judged = judge(together(far(kind="exchange", distance=around(0.5, 3)), far()))
    assert judged.judgements[0].sizes == (N, N)
    assert not judged.success.any()
    assert judged.judgements[0].reason.endswith("; none of them is a success")


def test_groups_that_succeeded_better_and_worse_are_both_successes():
    finals = together(near(distance=around(0.01, 3)), near(distance=around(0.2, 4)), far())
    judged = judge(finals)
    assert judged.judgements[0].sizes == (N, N, N)
    assert judged.success.tolist() == [True] * 2 * N + [False] * N
    assert judged.judgements[0].reason.endswith("; the nearest 2 are the successes")


def test_one_group_near_the_base_are_all_successes():
    judged = judge(near())
    assert judged.success.all()
    assert (judged.group == 0).all()
    (found,) = judged.judgements
    assert found.sizes == (N,)
    assert found.reason.endswith(
        f"; each is judged by its kind, and {N} of {N} have their base's embedding"
    )


def test_one_group_far_from_the_base_are_all_failures():
    judged = judge(far())
    assert not judged.success.any()
    assert (judged.group == 0).all()
    assert judged.judgements[0].reason.startswith("one group: ")
    assert f"and 0 of {N} have their base's embedding" in judged.judgements[0].reason


def test_of_one_group_each_is_judged_by_its_own_kind():
    kinds = np.array(["identity", "other", "swap"] * (N // 3), dtype=object)
    judged = judge(near(kind=kinds))
    assert judged.judgements[0].sizes == (N,)
    np.testing.assert_array_equal(judged.success, kinds == "identity")


def test_a_few_transfers_are_not_split():
    few = together(near().isel(transfer=slice(2)), far().isel(transfer=slice(5)))
    judged = judge(few)
    assert "7 runs are too few" in judged.judgements[0].reason
    assert judged.success.tolist() == [True] * 2 + [False] * 5  # by their kinds


# Dynamics that train along


def test_unfrozen_transfers_are_judged_by_their_losses_however_far_they_are():
    finals = together(
        far(variant="finetune", transition=around(1e-4, 2)),
        near(variant="finetune", transition=around(1e-1, 3)),
    )
    judged = judge(finals)
    assert judged.success.tolist() == [True] * N + [False] * N
    (found,) = judged.judgements
    assert found.unfrozen
    assert found.by == "transition"
    assert found.measures == ("log10 transition loss",)
    assert found.medians == pytest.approx(
        (np.median(around(1e-4, 2)), np.median(around(1e-1, 3))), rel=1e-12
    )
    assert found.reason.endswith("; the group of least loss are the successes")
    # The same numbers with frozen dynamics are judged the other way round.
    frozen = finals.assign(variant=finals.variant.copy(data=np.full(2 * N, "original", object)))
    frozen["unfrozen"] = frozen.unfrozen & False
    assert judge(frozen).success.tolist() == [False] * N + [True] * N


def test_unfrozen_transfers_of_one_group_are_no_failures_for_being_far():
    judged = judge(far(variant="finetune"))
    assert judged.success.all()
    assert judged.judgements[0].reason.endswith("; nothing tells a failure from a success")


def test_transfers_from_scratch_have_no_distance():
    finals = ended(
        variant="scratch",
        base="",
        kind="no base",
        distance=np.nan,
        identity_residual=np.nan,
        transition=np.concatenate([around(1e-4, 0), around(1e-1, 1)]),
    )
    assert judge(finals).success.tolist() == [True] * N + [False] * N


def test_frozen_and_unfrozen_ones_do_not_disturb_each_other():
    frozen, unfrozen = together(near(), far()), far(9, variant="finetune")
    both = judge(together(frozen, unfrozen))
    assert [one.unfrozen for one in both.judgements] == [False, True]
    assert both.success.tolist() == [True] * N + [False] * N + [True] * N
    assert both.judgements[0].sizes == judge(frozen).judgements[0].sizes


# What is not grouped


@pytest.mark.parametrize("variant", ["original", "finetune"])
def test_transfers_that_are_not_finite_are_failures(variant):
    lost = ended(
        variant=variant,
        kind="diverged",
        distance=[np.nan, 0.1, np.inf],
        transition=[np.nan, np.nan, np.inf],
    )
    judged = judge(together(near(variant=variant), lost))
    assert judged.success.tolist() == [True] * N + [False] * 3
    assert judged.group.tolist() == [0] * N + [-1] * 3
    assert judged.judgements[0].sizes == (N,)


@pytest.mark.parametrize("variant", ["original", "finetune"])
def test_transfers_that_diverged_at_finite_numbers_are_failures(variant):
    """They stay at their last finite parameters, which may be the base's."""
    lost = near(5, variant=variant, kind="diverged")
    judged = judge(together(near(variant=variant), lost))
    assert judged.success.tolist() == [True] * N + [False] * N
    assert judged.group.tolist() == [0] * N + [-1] * N


def test_where_all_diverged_there_are_no_groups():
    judged = judge(ended(kind="diverged", distance=np.nan, transition=[np.nan] * 9))
    assert not judged.success.any()
    assert (judged.group == -1).all()
    (found,) = judged.judgements
    assert found.groups is None
    assert found.sizes == found.medians == ()
    assert found.reason == "no transfer ended with finite numbers"


def test_points_of_reference_are_judged_by_their_kind_and_take_no_part():
    alone = together(near(), far())
    references = together(
        ended(variant="oracle", kind=["identity", "mirror"], distance=1e-9, transition=1e-9),
        ended(variant="paired", kind=["other", "identity"], distance=[1e6, 0.1], transition=1e6),
    )
    judged = judge(together(alone, references))
    expected = judge(alone)
    np.testing.assert_array_equal(judged.success[: 2 * N], expected.success)
    np.testing.assert_array_equal(judged.group[: 2 * N], expected.group)
    assert judged.judgements[0].sizes == expected.judgements[0].sizes
    assert judged.success[2 * N :].tolist() == [True, False, False, True]
    assert judged.group[2 * N :].tolist() == [-1] * 4
    only = judge(references)
    assert only.judgements == ()
    assert only.success.tolist() == [True, False, False, True]


# Environments and scores


def test_environments_are_judged_apart():
    """All of the maze's are as far as the labyrinth's failures, and still are successes."""
    maze = near(distance=around(2.0, 3))
    labyrinth = {"environment": "labyrinth"}
    found = judge(together(near(distance=around(0.1, 4), **labyrinth), maze, far(**labyrinth)))
    assert found.success.tolist() == [True] * (2 * N) + [False] * N
    assert [(one.environment, one.sizes) for one in found.judgements] == [
        ("labyrinth", (N, N)),
        ("simple-maze", (N,)),
    ]


def test_scores_count_where_all_transfers_have_one():
    score = np.concatenate([around(1.0, 0), -around(4.5, 1)])
    finals = ended(
        variant="finetune", score=score, transition=around(1e-3, 2, n=2 * N), distance=5.0
    )
    judged = judge(finals)
    (found,) = judged.judgements
    assert found.measures == ("log10 transition loss", "score")
    assert found.sizes == (N, N)
    assert len(set(judged.group[:N])) == len(set(judged.group[N:])) == 1
    finals["score"][4] = np.nan
    (found,) = judge(finals).judgements
    assert found.measures == ("log10 transition loss",)
    assert found.sizes == (2 * N,)


def test_losses_below_what_matters_are_one_and_the_same():
    """Exactly 0 has no logarithm, and 1e-9 is no other group than 1e-7."""
    tiny = np.tile([0, 1e-12, 1e-9, 1e-7, 5e-7], 4)
    judged = judge(ended(variant="finetune", transition=tiny))
    assert judged.judgements[0].sizes == (20,)
    exact = judge(ended(distance=np.tile([0, 1e-9, 1e-5, 5e-4], 5)))
    assert exact.judgements[0].sizes == (20,)
    assert exact.success.all()

import numpy as np
import pytest

from crar_diag.embedding.clustering import find_groups, name_groups
from crar_diag.embedding.dip import dip
from crar_diag.errors import InputError

# Mean score over the last 20 epochs of the paper's own transfers, six seeds a base model.
PAPER_SCORES = {
    41: [0.92, 0.85, 0.79, 0.72, -2.31, 0.53],
    42: [0.84, 1.03, 1.18, -0.3, 0.62, 0.87],
    43: [-4.68, 0.39, -1.2, -3.08, -4.78, 0.16],
    44: [-4.72, -4.7, -4.78, -4.72, -4.72, -4.5],
    45: [-4.67, -4.63, -4.77, -4.79, -4.78, -4.72],
}


def blobs(sizes, distance, features=1, seed=0):
    """Gaussian groups of width 1, one after the other, `distance` apart in the first feature."""
    values = np.random.default_rng(seed).normal(size=(sum(sizes), features))
    labels = np.repeat(np.arange(len(sizes)), sizes)
    values[:, 0] += distance * labels
    return values, labels


def counts(sample, seeds):
    return [find_groups(sample(np.random.default_rng(seed))).groups for seed in range(seeds)]


@pytest.mark.parametrize("features", [1, 3])
@pytest.mark.parametrize("sizes", [(11, 11), (19, 5), (1, 21), (21, 1)])
def test_two_known_groups_are_found(sizes, features):
    values, labels = blobs(sizes, 16, features)
    found = find_groups(values)
    assert found.groups == 2
    assert found.labels.tolist() == labels.tolist()
    assert found.separation.holds
    assert found.bics.argmin() == found.bic_groups - 1
    assert found.responsibilities.max(1).min() > 0.99
    expected = [values[labels == g].mean(0) for g in range(2)]
    np.testing.assert_allclose(found.means, expected, atol=1e-3)
    assert found.dip == dip(values[:, 0])


def test_three_known_groups_are_found():
    values, labels = blobs((12, 12, 12), 15, 2)
    found = find_groups(values)
    assert found.groups == 3
    assert found.labels.tolist() == labels.tolist()


@pytest.mark.parametrize("features", [1, 2])
def test_one_gaussian_group_is_one_group(features):
    assert counts(lambda draw: draw.normal(size=(22, features)), 30) == [1] * 30


def test_one_gaussian_group_of_few_runs_is_mostly_one_group():
    assert counts(lambda draw: draw.normal(size=(12, 1)), 30).count(1) >= 28


def test_one_skewed_group_is_mostly_one_group_though_bic_splits_it():
    found = [
        find_groups(np.random.default_rng(seed).exponential(size=(22, 1))) for seed in range(30)
    ]
    assert sum(each.bic_groups > 1 for each in found) > 15
    assert sum(each.groups == 1 for each in found) >= 28
    # Ashman's D alone would not do.
    refused = [each for each in found if each.groups < each.bic_groups]
    assert sum(each.separation.ashman_d > 2 for each in refused) > 8
    assert all("do not keep apart" in each.reason for each in refused if each.groups == 1)


def test_one_flat_group_is_mostly_one_group():
    assert counts(lambda draw: draw.random((22, 1)), 30).count(1) >= 27


def test_a_refused_split_says_so():
    values = np.random.default_rng(2).exponential(size=(44, 1))
    found = find_groups(values)
    assert found.groups == 1 < found.bic_groups
    assert not found.separation.holds
    assert found.labels.tolist() == [0] * 44
    np.testing.assert_allclose(found.responsibilities, 1, atol=1e-12)
    np.testing.assert_allclose(found.means, values.mean(0)[None], rtol=1e-12)
    assert found.reason.startswith(f"BIC chooses {found.bic_groups} components, which the runs do")


def test_a_skewed_group_beside_another_stays_whole():
    draw = np.random.default_rng(3)
    values = np.concatenate([draw.exponential(size=30), 40 + draw.normal(size=14)])[:, None]
    found = find_groups(values)
    assert found.groups == 2 < found.bic_groups
    assert found.labels.tolist() == [0] * 30 + [1] * 14
    assert "2 groups of them apart" in found.reason


def test_two_groups_whose_distance_is_hidden_in_other_features_are_found():
    values, labels = blobs((14, 14), 12, 3, seed=4)
    turned = values[:, [1, 2, 0]]
    assert find_groups(turned).groups == 2
    # Groups are numbered by the first feature, which says nothing here.
    same = find_groups(turned).labels == labels
    assert same.all() or not same.any()


@pytest.mark.parametrize("n", [1, 2, 7])
def test_few_runs_are_one_group(n):
    values, _ = blobs((n - n // 2, n // 2), 50)
    found = find_groups(values)
    assert (found.groups, found.bic_groups) == (1, 1)
    assert found.separation is None
    assert len(found.bics) == 0
    assert "too few" in found.reason
    np.testing.assert_allclose(found.means, values.mean(0)[None], rtol=1e-12)


def test_runs_that_do_not_differ_are_one_group():
    values = np.full((30, 2), 0.1) * (1 + 1e-12 * np.random.default_rng(5).normal(size=(30, 2)))
    for same in (values, np.zeros((30, 2))):
        found = find_groups(same)
        assert found.groups == 1
        assert found.reason == "all runs have the same features"
        assert np.isnan(found.bimodality)


def test_groups_of_identical_runs_are_found():
    values = np.repeat([[1.0, 3.0], [2.0, 7.0]], [15, 7], axis=0)
    found = find_groups(values)
    assert found.groups == 2
    assert found.separation.ashman_d > 1e6
    np.testing.assert_allclose(found.means, [[1.0, 3.0], [2.0, 7.0]], atol=1e-6)


def test_constant_features_take_no_part():
    values, labels = blobs((11, 11), 16)
    with_constants = np.concatenate([values, np.full((22, 1), 4.0)], axis=1)
    found = find_groups(with_constants)
    assert found.labels.tolist() == labels.tolist()
    np.testing.assert_array_equal(found.bics, find_groups(values).bics)
    np.testing.assert_allclose(found.means[:, 1], 4.0, rtol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_groups_do_not_see_the_order_of_runs_and_the_units(seed):
    values, _ = blobs((9, 7, 8), 7, 2, seed)
    found = find_groups(values)
    order = np.random.default_rng(seed).permutation(24)
    shuffled = find_groups(values[order])
    assert shuffled.labels.tolist() == found.labels[order].tolist()
    np.testing.assert_allclose(shuffled.bics, found.bics, rtol=1e-9)
    moved = find_groups(values * [1e-4, 1e5] + [3.0, -70.0])
    assert moved.labels.tolist() == found.labels.tolist()
    np.testing.assert_allclose(moved.bics, found.bics, rtol=1e-6)
    np.testing.assert_allclose(moved.means, found.means * [1e-4, 1e5] + [3.0, -70.0], rtol=1e-6)


def test_no_more_components_are_tried_than_allowed():
    values, _ = blobs((8, 8, 8, 8), 30)
    assert find_groups(values).groups == 4
    assert len(find_groups(values, max_components=2).bics) == 2
    assert find_groups(values, max_components=1).groups == 1
    # One for every eight runs, and one more.
    assert len(find_groups(values[:12]).bics) == 2


def test_the_papers_transfers_fall_into_good_and_failed_ones():
    scores = np.array(list(PAPER_SCORES.values())).ravel()
    found = find_groups(scores[:, None])
    assert found.groups == 2
    # 14 end between -5 and -4.4; a few unfinished ones lie between them and the good ones.
    assert found.labels.tolist() == (scores >= -4.4).astype(int).tolist()
    assert (found.labels == 0).sum() == 14
    assert found.dip_p < 0.01


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_features_that_are_not_finite_are_refused(bad):
    values, _ = blobs((11, 11), 16)
    values[3] = bad
    with pytest.raises(InputError, match="diverged"):
        find_groups(values)


def test_what_has_no_features_is_refused():
    for features in (np.empty((0, 2)), np.empty((5, 0)), np.zeros(5)):
        with pytest.raises(InputError, match=r"\[runs, features\]"):
            find_groups(features)
    with pytest.raises(InputError, match="at least 1 component"):
        find_groups(np.zeros((5, 1)), max_components=0)


# Names

LABELS = np.array([4, 4, 7, 7, 7, 1])
DISTANCE = np.array([6.0, 7.0, 1.0, 1.1, 30.0, np.nan])
LOSS = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.01])


def test_the_best_group_has_the_least_median_distance():
    found = name_groups(LABELS, DISTANCE, LOSS)
    assert found.by == "distance"
    assert found.labels.tolist() == [1, 1, 0, 0, 0, 2]
    assert found.sizes.tolist() == [3, 2, 1]
    np.testing.assert_array_equal(found.medians, [1.1, 6.5, np.nan])


def test_with_dynamics_that_move_the_best_group_has_the_least_transition_loss():
    found = name_groups(LABELS, DISTANCE, LOSS, frozen_dynamics=False)
    assert found.by == "transition"
    assert found.labels.tolist() == [1, 1, 2, 2, 2, 0]
    np.testing.assert_allclose(found.medians, [0.01, 0.15, 0.4])


def test_names_do_not_see_the_order_of_runs_and_the_numbers_of_groups():
    draw = np.random.default_rng(6)
    labels, distance, loss = draw.integers(0, 4, 50), draw.random(50), draw.random(50)
    found = name_groups(labels, distance, loss)
    order = draw.permutation(50)
    renumbered = np.array([9, 2, 5, 0])[labels]
    other = name_groups(renumbered[order], distance[order], loss[order])
    assert other.labels.tolist() == found.labels[order].tolist()
    assert (np.diff(found.medians) > 0).all()
    for group, median in enumerate(found.medians):
        assert np.median(distance[found.labels == group]) == median


def test_names_need_a_number_for_every_run():
    for wrong in (
        (LABELS, DISTANCE, LOSS[:-1]),
        (LABELS, DISTANCE[:-1], LOSS),
        (LABELS[:-1], DISTANCE, LOSS),
        (LABELS[:0], DISTANCE[:0], LOSS[:0]),
    ):
        with pytest.raises(InputError, match="for every run"):
            name_groups(*wrong)

"""Standard errors of means of clusters against plain loops and the textbook's cases."""

import math

import numpy as np
import pytest
import torch

from crar_diag.agent.clustered import clustered_error


def by_hand(terms: np.ndarray, clusters: np.ndarray) -> float:
    mean, sums = terms.mean(), {}
    for term, cluster in zip(terms, clusters, strict=True):
        sums[cluster] = sums.get(cluster, 0.0) + term - mean
    count = len(sums)
    return math.sqrt(count / (count - 1) * sum(s * s for s in sums.values())) / len(terms)


@pytest.mark.parametrize("seed", range(4))
def test_errors_are_those_of_a_mean_over_clusters(seed):
    rng = np.random.default_rng(seed)
    terms = rng.normal(3, 2, 60)
    clusters = rng.permutation(np.concatenate([np.arange(9), rng.integers(0, 9, 51)]))
    found = clustered_error(torch.from_numpy(terms), torch.from_numpy(clusters))
    assert found.item() == pytest.approx(by_hand(terms, clusters), rel=1e-13)
    # Which number a cluster has, and in what order the terms come, does not matter.
    order, names = rng.permutation(60), rng.permutation(9)
    again = clustered_error(
        torch.from_numpy(terms[order]), torch.from_numpy(names[clusters[order]])
    )
    assert again.item() == pytest.approx(found.item(), rel=1e-13)


def test_a_cluster_a_term_is_the_ordinary_error():
    terms = np.random.default_rng(5).normal(size=17)
    expected = terms.std(ddof=1) / math.sqrt(17)
    assert clustered_error(torch.from_numpy(terms)).item() == pytest.approx(expected, rel=1e-13)
    each = torch.arange(17)
    assert clustered_error(torch.from_numpy(terms), each).item() == pytest.approx(
        expected, rel=1e-13
    )


def test_clusters_of_one_size_are_their_means():
    # Twins say nothing new: the error is that of the nine pairs.
    means = np.random.default_rng(6).normal(size=9)
    terms = torch.from_numpy(np.repeat(means, 2))
    expected = means.std(ddof=1) / math.sqrt(9)
    found = clustered_error(terms, torch.arange(9).repeat_interleave(2))
    assert found.item() == pytest.approx(expected, rel=1e-13)
    assert found > 1.4 * clustered_error(terms)


@pytest.mark.parametrize("count", [1, 5])
def test_one_cluster_has_no_error(count):
    terms = torch.arange(float(count))
    assert clustered_error(terms, torch.zeros(count, dtype=torch.int64)).isnan()
    assert clustered_error(terms[:1]).isnan()


def test_terms_of_single_precision_are_summed_in_double():
    terms = torch.tensor([1e8, 1e8 + 8, 1e8 - 8, 1e8])
    found = clustered_error(terms)
    assert found.dtype == torch.float64
    assert found.item() == pytest.approx(math.sqrt(128 / 3) / 2, rel=1e-13)


def test_many_samples_at_once_are_each_by_itself():
    rng = np.random.default_rng(7)
    terms, clusters = torch.from_numpy(rng.normal(size=(6, 20))), torch.arange(20) % 7
    for given in (clusters, None):
        found = torch.func.vmap(lambda row, given=given: clustered_error(row, given))(terms)
        each = [clustered_error(row, given) for row in terms]
        torch.testing.assert_close(found, torch.stack(each), rtol=1e-13, atol=0)

"""What restarts are worth, counted by hand."""

import numpy as np
import pytest

from crar_diag.agent.config import LOSSES
from crar_diag.report.restarts import counts, restarts_of
from crar_diag.report.statistics.rates import success_rate
from tests.embedding.ended import followed
from tests.runs import BASES, transfer_config

FILES = [BASES / "base-seed0.safetensors", BASES / "base-seed1.safetensors"]


def run(*variants, kinds, transition, restarts=3):
    """Two bases, two seeds, `restarts` restarts; kinds and losses at the end, in that order."""
    settings = [f"variants={','.join(variants or ('original',))}", f"restarts={restarts}"]
    config = transfer_config(FILES, *settings, seeds="0:2")
    members = len(config.transfers())
    losses = np.ones((members, 1, len(LOSSES)))
    losses[:, 0, LOSSES.index("transition")] = np.resize(transition, members)
    return followed(config, np.resize(kinds, (members, 1)), losses=losses)


def test_the_best_of_k_is_that_of_the_smallest_loss_among_the_first_k():
    x, o = "exchange", "identity"
    # base 0 with seed 0, with seed 1, base 1 with seed 0, with seed 1
    kinds = [*(x, o, x), *(x, x, o), *(o, x, x), *(x, x, x)]
    losses = [*(3, 1, 2), *(3, 2, 1), *(1, 2, 0.5), *(3, 2, 1)]
    found = restarts_of(run(kinds=kinds, transition=losses))
    assert found.base.values.tolist() == ["all", "base-seed0", "base-seed1"]
    assert found.restarts.values.tolist() == [1, 2, 3]
    # The third of base 1's first transfer has the smallest loss and is an exchange.
    np.testing.assert_array_equal(found.rate.values[1:], [[0, 0.5, 1], [0.5, 0.5, 0]])
    np.testing.assert_array_equal(found.rate.values[0], [0.25, 0.5, 0.5])
    np.testing.assert_array_equal(found.alone.values[1:], [[0, 0.5, 0.5], [0.5, 0, 0]])
    np.testing.assert_array_equal(found.alone.values[0], [0.25, 0.25, 0.25])
    wilson = success_rate(1, 2)
    assert (found.low.values[1, 1], found.high.values[1, 1]) == (wilson.low, wilson.high)


def test_neither_unfrozen_transfers_nor_points_of_reference_count():
    outcomes = run(
        "original", "finetune", "scratch", "oracle", "paired", kinds="identity", transition=1
    )
    assert set(outcomes.variant[counts(outcomes)]) == {"original"}
    good = np.where(outcomes.variant == "original", "exchange", "identity")[:, None]
    found = restarts_of(followed(outcomes.config, good, losses=outcomes.losses))
    assert float(found.rate.max()) == float(found.alone.max()) == 0


def test_a_loss_that_is_not_finite_is_never_the_smallest():
    found = restarts_of(
        run(kinds=["identity", "exchange"] * 4, transition=[1, np.nan] * 4, restarts=2)
    )
    np.testing.assert_array_equal(found.rate, 1)
    np.testing.assert_array_equal(found.alone, [[1, 0]] * 3)


@pytest.mark.parametrize("name", ["rate", "low", "high", "alone"])
def test_everything_is_labelled_for_a_report(name):
    found = restarts_of(run(kinds=["identity"], transition=[1]))
    assert found[name].attrs["units"] == "1"
    assert found[name].attrs["long_name"]

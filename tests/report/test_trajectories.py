"""What became of transfers over time, against what was put there."""

import numpy as np
import pytest

from crar_diag.agent.config import LOSSES
from crar_diag.embedding.kinds import KINDS
from crar_diag.report.trajectories import kinds_over_time, trajectories
from tests.embedding.ended import followed
from tests.report.intervals import wilson
from tests.runs import BASES, transfer_config


@pytest.fixture(scope="module")
def run():
    """Two bases with three seeds and two restarts each, at four times."""
    bases = [BASES / f"base-seed{k}.safetensors" for k in (0, 1)]
    config = transfer_config(bases, seeds="0:3", restarts=2)
    rng = np.random.default_rng(0)
    kinds = rng.choice(["unfinished", "exchange", "identity", "other"], (12, 4))
    found = followed(config, kinds)
    found.transition[:, -1] = [0.1, 0.2, 0.2, 0.1, 0.1, 0.2] * 2  # the best: 0, 1, 0
    return found


BEST = [0, 3, 4, 6, 9, 10]


def test_shares_of_kinds_over_time_sum_to_one(run):
    found = kinds_over_time(run)
    assert found.base.values.tolist() == ["all", "base-seed0", "base-seed1"]
    assert found.kind.values.tolist() == [*KINDS, "no base"]
    assert found.time.values.tolist() == [0, 10, 20, 30]
    np.testing.assert_allclose(found.share.sum("kind"), 1, rtol=1e-15)
    assert (found.low <= found.share).all()
    assert (found.share <= found.high).all()


@pytest.mark.parametrize("rows", [None, [1, 2, 5, 7, 11]])
def test_shares_are_counts_of_the_transfers_that_were_kept(run, rows):
    found = kinds_over_time(run, None if rows is None else np.array(rows))
    chosen = rows or BEST
    for base in found.base.values:
        own = [m for m in chosen if base == "all" or run.base[m] == base]
        for kind in found.kind.values:
            for k, time in enumerate(found.time.values):
                count = sum(run.kinds[m, k] == kind for m in own)
                share = found.sel(base=base, kind=kind, time=time)
                assert share.share.item() == pytest.approx(count / len(own))
                assert (share.low.item(), share.high.item()) == pytest.approx(
                    wilson(count, len(own)), abs=1e-9
                )


def test_trajectories_hold_every_encoder_at_every_time(run):
    found = trajectories(run)
    assert found.sizes == {"member": 12, "time": 4, "loss": len(LOSSES)}
    for m, transfer in enumerate(run.config.transfers()):
        one = found.isel(member=m)
        assert one.member.item() == f"{transfer.name}-restart{transfer.restart}"
        assert one.variant.item() == "original"
        assert one.base.item() == ("base-seed0", "base-seed1")[m // 6]
        assert (one.seed.item(), one.restart.item()) == (m % 6 // 2, m % 2)
        assert one.initial_learning_rate.item() == 8e-5
        assert one.kind.values.tolist() == run.kinds[m].tolist()
    assert found.loss.values.tolist() == list(LOSSES)
    np.testing.assert_array_equal(found.expected_loss, run.losses)
    for name in ("distance", "residual", "margin", "angle", "axis"):
        np.testing.assert_array_equal(found[name], run.numbers[name])
    assert found.angle.attrs["units"] == found.axis.attrs["units"] == "degrees"
    assert found.time.attrs["units"] == "updates"

import itertools

import numpy as np
import pytest
import torch

from crar_diag.agent.streams import BLOCK, batch_draws, episode_streams, stream

PURPOSES = ("initialisation", "data", "batches", "evaluation", "held-out")


def test_the_draws_of_a_seed_stay_what_they_were():
    # If this fails, old seeds have lost their meaning: runs cannot be repeated any more.
    first = {p: stream(7, p).integers(0, 2**32, 2).tolist() for p in PURPOSES}
    assert first == {
        "initialisation": [602043397, 207763670],
        "data": [838855472, 1181099898],
        "batches": [4018348921, 3508744645],
        "evaluation": [920257531, 571665866],
        "held-out": [1744328668, 3763481863],
    }
    assert stream(7, "evaluation", 2).integers(0, 2**32) == 3444394957
    assert batch_draws(7, 998, 4, 3, 5000).tolist() == [
        [3450, 3181, 4482],
        [4637, 4998, 581],
        [4838, 4949, 1116],
        [4339, 200, 3108],
    ]


def test_every_purpose_position_and_seed_has_a_stream_of_its_own():
    positions = [(), (0,), (1,), (0, 0)]
    draws = {
        tuple(stream(seed, purpose, *position).integers(0, 2**63, 4))
        for seed, purpose, position in itertools.product((0, 1, 2**63 - 1), PURPOSES, positions)
    }
    assert len(draws) == 3 * len(PURPOSES) * len(positions)


def test_every_episode_of_an_evaluation_has_a_stream_of_its_own():
    assert episode_streams(7)(0, 2).integers(0, 2**63) == stream(7, "evaluation", 0, 2).integers(
        0, 2**63
    )
    draws = [
        episode_streams(seed, *position)(slot, episode).integers(0, 2**63)
        for seed, slot, episode in itertools.product((0, 1), range(3), range(3))
        for position in [(), (0,), (1,)]
    ]
    assert len(set(draws)) == len(draws)


def test_no_draw_touches_the_global_generators():
    np.random.seed(0)  # noqa: NPY002
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    torch_state = torch.get_rng_state()
    stream(0, "data").random(10)
    batch_draws(0, 0, 10, 4, 100)
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), torch_state)


@pytest.mark.parametrize("cut", [1, 37, 999, 1000, 1001, 1999])
def test_batches_are_the_same_however_the_updates_are_cut(cut):
    whole = batch_draws(3, 0, 2 * BLOCK + 500, 4, 123)
    pieces = [batch_draws(3, 0, cut, 4, 123), batch_draws(3, cut, 2 * BLOCK + 500 - cut, 4, 123)]
    np.testing.assert_array_equal(np.concatenate(pieces), whole)
    np.testing.assert_array_equal(batch_draws(3, cut, 1, 4, 123), whole[cut : cut + 1])


def test_batches_far_into_a_run_need_no_draws_before_them():
    late = batch_draws(0, 10**12, 3, 5, 10)
    assert late.shape == (3, 5)
    np.testing.assert_array_equal(late, batch_draws(0, 10**12 - 2, 5, 5, 10)[2:])


def test_replay_is_uniform_with_replacement():
    transitions, draws = 50, batch_draws(1, 0, 4000, 32, 50)
    assert draws.dtype == np.int64
    counts = np.bincount(draws.ravel(), minlength=transitions)
    expected = draws.size / transitions
    # Chi squared with 49 degrees of freedom exceeds 85.4 once in a thousand.
    assert ((counts - expected) ** 2 / expected).sum() < 85.4
    # 32 of 50 without a repetition: probability below 1e-7.
    assert all(len(set(batch)) < 32 for batch in draws)
    assert len({tuple(batch) for batch in draws}) == len(draws)

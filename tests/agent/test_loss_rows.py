"""Losses row by row: encoded in pieces, with a Q target that is held, in mazes told apart."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from crar_diag.agent import networks
from crar_diag.agent.architecture import LABYRINTH_SYMBOLIC
from crar_diag.agent.config import LOSSES
from crar_diag.agent.loss_evaluation import encode_sample, losses_of_rows, maze_of
from crar_diag.agent.losses import Forward, LossSettings
from crar_diag.agent.replay import Transitions
from crar_diag.envs.tiles import WALL
from tests.agent.test_evaluation import random_agent
from tests.agent.test_loss_evaluation import SYMBOLIC, as_batch, small_sample


def sample_of(data):
    return Transitions.of(data, SYMBOLIC, torch.float64, torch.device("cpu"))


@pytest.mark.parametrize("at_once", [1, 7, 80, 1000])
@pytest.mark.parametrize("table", [True, False])
def test_a_sample_is_encoded_in_pieces_of_any_size(at_once, table):
    agent = random_agent(LABYRINTH_SYMBOLIC, 4, torch.float64)
    sample = sample_of(small_sample(3))
    rows = as_batch(small_sample(3), SYMBOLIC, np.arange(40))
    if not table:  # as where there are too many pictures
        sample = replace(sample, table=None)
    found = encode_sample(LABYRINTH_SYMBOLIC, agent, sample, at_once)
    assert found.keys() == rows.keys()
    for name, expected in rows.items():
        if name.endswith("observation"):
            expected = networks.encode(LABYRINTH_SYMBOLIC, agent, expected)
        torch.testing.assert_close(found[name], expected, rtol=0, atol=1e-12)


def test_each_picture_is_encoded_once():
    sample = sample_of(small_sample(3))
    assert len(sample.tiles) < 2 * len(sample)
    seen = []

    def count(architecture, parameters, pictures):
        seen.append(len(pictures))
        return pictures

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(networks, "encode", count)
        encode_sample(LABYRINTH_SYMBOLIC, {}, sample, 7)
    assert sum(seen) == len(sample.tiles)
    assert max(seen) == 7


def test_a_q_target_of_rows_is_what_each_rows_q_is_compared_with():
    agent = random_agent(LABYRINTH_SYMBOLIC, 5, torch.float64)
    settings = LossSettings(double_q=True)
    encoded = encode_sample(LABYRINTH_SYMBOLIC, agent, sample_of(small_sample(3)))
    target = torch.from_numpy(np.random.default_rng(0).normal(size=40))
    own = losses_of_rows(LABYRINTH_SYMBOLIC, agent, encoded, settings)
    found = losses_of_rows(LABYRINTH_SYMBOLIC, agent, encoded, settings, target)
    q = networks.q_values(LABYRINTH_SYMBOLIC, agent, encoded["observation"])
    gap = q[torch.arange(40), encoded["action"]] - target
    torch.testing.assert_close(found["q"], gap**2 / 4, rtol=1e-12, atol=1e-14)
    assert "q_target" not in encoded
    for name in LOSSES:
        assert found[name].shape == (40,)
        assert torch.equal(found[name], own[name]) == (name != "q")
    again = Forward(LABYRINTH_SYMBOLIC.bare(), agent, encoded, settings).q_target
    given = losses_of_rows(LABYRINTH_SYMBOLIC, agent, encoded, settings, again)
    torch.testing.assert_close(given["q"], own["q"], rtol=1e-10, atol=1e-14)


def test_a_maze_is_known_by_its_walls_alone():
    data = small_sample(4)
    found = maze_of(data)
    assert found.dtype == np.int64
    assert found.shape == (40,)
    assert set(found) == set(range(found.max() + 1))
    walls = [(tiles == WALL).tobytes() for tiles in data.tiles]
    for i in range(40):
        for j in range(40):
            assert (found[i] == found[j]) == (walls[i] == walls[j])
    assert len(set(walls)) < 40

"""Losses row by row: encoded in pieces, with a Q target that is held, in mazes told apart."""

import numpy as np
import pytest
import torch

from crar_diag.agent import networks
from crar_diag.agent.architecture import LABYRINTH_SYMBOLIC
from crar_diag.agent.config import LOSSES
from crar_diag.agent.loss_evaluation import encode_rows, losses_of_rows, maze_of
from crar_diag.agent.losses import Forward, LossSettings
from crar_diag.envs.tiles import WALL
from tests.agent.test_evaluation import random_agent
from tests.agent.test_loss_evaluation import SYMBOLIC, as_batch, small_sample


@pytest.mark.parametrize("at_once", [1, 7, 40, 1000])
def test_rows_are_encoded_in_pieces_of_any_size(at_once):
    agent = random_agent(LABYRINTH_SYMBOLIC, 4, torch.float64)
    rows = as_batch(small_sample(3), SYMBOLIC, np.arange(40))
    kept = {name: value.clone() for name, value in rows.items()}
    found = encode_rows(LABYRINTH_SYMBOLIC, agent, rows, at_once)
    assert found.keys() == rows.keys()
    for name in rows:
        expected = kept[name]
        assert torch.equal(rows[name], expected)
        if name.endswith("observation"):
            expected = networks.encode(LABYRINTH_SYMBOLIC, agent, expected)
        torch.testing.assert_close(found[name], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("at_once", [1, 7, 1000])
def test_a_q_target_of_rows_is_what_each_rows_q_is_compared_with(at_once):
    agent = random_agent(LABYRINTH_SYMBOLIC, 5, torch.float64)
    settings = LossSettings(double_q=True)
    rows = as_batch(small_sample(3), SYMBOLIC, np.arange(40))
    encoded = encode_rows(LABYRINTH_SYMBOLIC, agent, rows)
    target = torch.from_numpy(np.random.default_rng(0).normal(size=40))
    own = losses_of_rows(LABYRINTH_SYMBOLIC, agent, encoded, settings, at_once)
    found = losses_of_rows(LABYRINTH_SYMBOLIC, agent, encoded, settings, at_once, target)
    q = networks.q_values(LABYRINTH_SYMBOLIC, agent, encoded["observation"])
    gap = q[torch.arange(40), rows["action"]] - target
    torch.testing.assert_close(found["q"], gap**2 / 4, rtol=1e-12, atol=1e-14)
    assert "q_target" not in encoded
    for name in LOSSES:
        assert found[name].shape == (40,)
        assert torch.equal(found[name], own[name]) == (name != "q")
    again = Forward(LABYRINTH_SYMBOLIC.bare(), agent, encoded, settings).q_target
    given = losses_of_rows(LABYRINTH_SYMBOLIC, agent, encoded, settings, at_once, again)
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

"""An agent's spaces: each against another, against finite differences, and shipped transfers."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from crar_diag.agent import networks
from crar_diag.agent.loading import load_agent
from crar_diag.agent.losses import volume
from crar_diag.embedding.prediction import measure_base
from crar_diag.errors import InputError
from crar_diag.landscape.agent_curvature import agent_curvature
from crar_diag.landscape.curvature import CurvatureSettings, exact_curvature
from crar_diag.landscape.operator import Hessian
from crar_diag.landscape.problem import SUM
from crar_diag.landscape.spaces import agent_spaces, embedding_space
from crar_diag.landscape.vectors import doubled, flatten
from tests.landscape import toys
from tests.landscape.shipped import CORRECT, WRONG
from tests.runs import BASES, labyrinth_config, maze_config, save_agent

FEW = CurvatureSettings(eigenvalues=3, steps=5, probes=2, density_probes=0)


@pytest.fixture(scope="module")
def polished():
    """The shipped wrong transfer, its encoder polished."""
    settings = CurvatureSettings(eigenvalues=3, steps=80, probes=2, density_probes=0)
    return agent_curvature(
        load_agent(WRONG), kinds=["frozen"], settings=settings, polish_iterations=80
    )


@pytest.fixture(scope="module")
def spaces():
    return agent_spaces(load_agent(WRONG), "inverse")


@pytest.fixture(scope="module")
def labyrinth(tmp_path_factory):
    path = tmp_path_factory.mktemp("labyrinth") / "agent.safetensors"
    return load_agent(save_agent(path, labyrinth_config("0:1", 10)))


# Spaces


def test_spaces_are_what_varies(spaces):
    agent = load_agent(WRONG)
    sizes = {name: Hessian(space.problem, space.start).size for name, space in spaces.items()}
    everything = agent.architecture.parameter_count()
    encoder = flatten(networks.of_component(agent.parameters, "encoder")).numel()
    assert sizes == {"embedding": 62, "frozen": encoder, "unfrozen": everything}
    assert everything == 45_880


def test_all_spaces_have_the_same_losses_at_the_checkpoint(spaces):
    found = [Hessian(space.problem, space.start).losses for space in spaces.values()]
    for other in found[1:]:
        assert other == pytest.approx(found[0], rel=1e-12)


def test_the_gradient_by_the_encoder_is_that_by_the_embedding_led_back(spaces):
    by_states = Hessian(spaces["embedding"].problem, spaces["embedding"].start).gradient
    space = spaces["frozen"]
    encoder = {n: p.requires_grad_() for n, p in space.problem.moving(space.start).items()}
    states = space.problem.seen(space.start | encoder)
    led_back = torch.autograd.grad(states, list(encoder.values()), by_states.reshape(31, 2))
    found = Hessian(space.problem, space.start).gradient
    torch.testing.assert_close(found, torch.cat([g.flatten() for g in led_back]))


@pytest.mark.parametrize("temperature", [0.01, 0.1])
def test_the_hessian_in_the_embedding_is_the_change_of_the_gradient(temperature):
    space = agent_spaces(load_agent(CORRECT), "inverse", temperature=temperature)["embedding"]
    dense = Hessian(space.problem, space.start).dense()
    states, step = space.start["embedding"], 1e-6
    for k in range(62):
        ends = []
        for sign in (1, -1):
            moved = states.clone()
            moved.view(-1)[k] += sign * step
            ends.append(Hessian(space.problem, space.start | {"embedding": moved}).gradient)
        column = (ends[0] - ends[1]) / (2 * step)
        torch.testing.assert_close(dense[:, k], column, rtol=1e-5, atol=1e-5 * dense.abs().max())


def test_the_exact_losses_hessian_is_the_one_that_prediction_measures():
    """At the initial embedding of a transfer, which an oracle's own embedding is not."""
    agent = load_agent(BASES / "base-seed0.safetensors")
    measures = measure_base(agent, "inverse")
    weights = {"consecutive_pairs": 0.2}
    space = agent_spaces(agent, "inverse", weights=weights, temperature=0.0)["embedding"]
    found = exact_curvature(space.problem, space.start).eigenvalues
    assert found[0] == pytest.approx(measures["initial_curvature_smallest"], rel=1e-8)
    assert found[-1] == pytest.approx(measures["initial_curvature_largest"], rel=1e-8)


def test_weights_change_the_sum_alone(spaces):
    other = agent_spaces(load_agent(WRONG), "inverse", weights={"transition": 3.0})["frozen"]
    before, after = (Hessian(s.problem, s.start).losses for s in (spaces["frozen"], other))
    assert after[SUM] - before[SUM] == pytest.approx(2 * before["transition"])
    assert {n: v for n, v in after.items() if n != SUM} == {
        n: v for n, v in before.items() if n != SUM
    }


def test_the_labyrinth_has_no_space_of_its_embedding(labyrinth):
    found = agent_spaces(labyrinth, "normal", transitions=4)
    assert list(found) == ["frozen", "unfrozen"]
    with pytest.raises(InputError, match="whose features are one tensor"):
        embedding_space(found["frozen"].problem, found["frozen"].start)
    with pytest.raises(InputError, match="whose features are one tensor"):
        embedding_space(toys.problem(), toys.model(0))


def test_unknown_and_no_kinds_are_refused():
    agent = load_agent(WRONG)
    with pytest.raises(InputError, match=r"unknown dynamics 'frozn' .did you mean 'frozen'"):
        agent_spaces(agent, "inverse", kinds=["frozn"])
    with pytest.raises(InputError, match="expected dynamics frozen or unfrozen or both"):
        agent_spaces(agent, "inverse", kinds=[])


# Polished


def test_the_wrong_transfer_lies_beside_a_local_minimum_of_the_frozen_problem(polished):
    for name in ("embedding", "frozen"):
        own = polished.analyses[name]
        assert own.points["checkpoint"].verdict.startswith("not stationary")
        assert own.points["polished"].verdict == "local minimum"
        assert own.polish.converged
        assert 0 < own.embedding_distance < 0.1
    # It keeps the wrong embedding's transition loss, eighty times that of a correct one.
    assert polished.analyses["frozen"].points["polished"].losses["transition"] > 0.02


def test_encoder_and_embedding_come_to_the_same_minimum(polished):
    """The encoder can place 31 states anywhere: its minima are those in the embedding."""
    embedding, frozen = (polished.analyses[name] for name in ("embedding", "frozen"))
    for name, value in embedding.points["polished"].losses.items():
        assert frozen.points["polished"].losses[name] == pytest.approx(value, rel=1e-5)
    torch.testing.assert_close(
        frozen.states["polished"], embedding.states["polished"], rtol=0, atol=1e-5
    )
    # At a stationary point the encoder's Hessian is that of the embedding, seen through its
    # Jacobian of rank 62 (Sylvester's law of inertia); all else is flat.
    found, expected = frozen.points["polished"], embedding.points["polished"]
    assert (found.negative, found.positive) == (expected.negative, expected.positive) == (0, 62)


def test_what_a_polish_moved(polished):
    own = polished.analyses["embedding"]
    begin, end = (own.states[p].numpy() for p in ("checkpoint", "polished"))
    by_hand = np.linalg.norm(end - begin, axis=1).mean()
    assert own.embedding_distance == pytest.approx(by_hand)
    assert own.polish.distance == pytest.approx(np.linalg.norm(end - begin))


def test_settings_are_kept(polished):
    assert polished.domain == "inverse"
    assert polished.temperature == 0.01
    assert polished.bound == pytest.approx(0.01 * math.log(4))
    assert polished.weights["consecutive_pairs"] == 0.2
    assert polished.transitions is None
    assert polished.polish_iterations == 80


# Others


def test_the_exact_loss_is_analysed_where_no_smoothing_is_wanted():
    agent = load_agent(WRONG)
    found = agent_curvature(agent, kinds=["frozen"], temperature=0.0, settings=FEW)
    own = found.analyses["embedding"]
    states = own.states["checkpoint"]
    assert own.points["checkpoint"].losses["volume"] == pytest.approx(volume(states).mean().item())
    assert own.polish is None
    assert math.isnan(own.embedding_distance)
    assert found.bound == 0


def test_a_labyrinth_is_analysed_on_a_sample(labyrinth):
    seen = []
    found = agent_curvature(
        labyrinth,
        settings=FEW,
        transitions=4,
        polish_iterations=1,
        progress=lambda *counts: seen.append(counts),
    )
    assert seen == [(k, 4) for k in range(5)]
    assert found.transitions == 4
    problem = agent_spaces(labyrinth, "normal", transitions=4)["frozen"].problem
    expected = {n: v.item() for n, v in problem.values(doubled(labyrinth.parameters)).items()}
    for own in found.analyses.values():
        checkpoint = own.points["checkpoint"]
        assert own.points["polished"].losses[SUM] < checkpoint.losses[SUM]
        assert checkpoint.losses == pytest.approx(expected | {SUM: checkpoint.losses[SUM]})
    states = found.analyses["frozen"].states
    assert states["checkpoint"].shape == (4, 3, 8, 8)
    moved = (states["polished"] - states["checkpoint"]).flatten(1).norm(dim=1).mean().item()
    assert found.analyses["frozen"].embedding_distance == pytest.approx(moved)


def test_losses_that_overflow_are_refused_by_the_files_name(tmp_path):
    path = save_agent(tmp_path / "agent.safetensors", maze_config())
    agent = load_agent(path)
    huge = {name: 1e200 * p for name, p in doubled(agent.parameters).items()}
    with pytest.raises(InputError, match=f"^checkpoint '{path}', embedding: the loss 'sum' is not"):
        agent_curvature(replace(agent, parameters=huge), settings=FEW)

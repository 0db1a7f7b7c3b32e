"""The shipped transfers joined: their ends, and what the paths between them hold."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from crar_diag.agent import networks
from crar_diag.agent.loading import load_agent
from crar_diag.agent.loss_evaluation import exact_evaluation
from crar_diag.agent.losses import LossSettings
from crar_diag.agent.networks import of_component
from crar_diag.envs.observer import Observer
from crar_diag.errors import InputError
from crar_diag.landscape.agents import DYNAMICS
from crar_diag.landscape.connections import connect, embeddings, frozen_ends, unfrozen_ends
from crar_diag.landscape.lbfgs import RefitSettings
from crar_diag.landscape.path_settings import PathSettings
from crar_diag.landscape.problem import matching
from crar_diag.landscape.vectors import doubled
from tests.landscape.shipped import CORRECT, STRUCTURE, WRONG, between
from tests.runs import BASES

SMALL = PathSettings(bends=1, iterations=3, points=4)
REFIT = RefitSettings(iterations=40, tolerance=0.001)
OTHER = BASES / "base-seed1.safetensors"


def agents():
    return between(WRONG, CORRECT, dtype=torch.float64)


def by_evaluation(agent):
    """Losses of an agent in double precision, as `evaluate` has them, and the embedding."""
    population = {name: p[None].double() for name, p in agent.parameters.items()}
    found = exact_evaluation(
        agent.architecture,
        population,
        Observer("simple-maze", "symbolic", "inverse"),
        LossSettings(),
    )
    return {name: values[0] for name, values in found.losses.items()}, found.embedding[0]


@pytest.fixture(scope="module")
def frozen():
    return connect(frozen_ends(agents()), SMALL, points=5)


@pytest.fixture(scope="module")
def unfrozen():
    return connect(unfrozen_ends(agents(), REFIT), SMALL, points=5)


def test_the_ends_of_frozen_paths_have_the_losses_of_the_agents(frozen):
    for course in ("straight", "curve"):
        profile = frozen.profiles[course]
        for place, path in ((0, WRONG), (-1, CORRECT)):
            expected, _ = by_evaluation(load_agent(path))
            for name, value in expected.items():
                assert profile.losses[name][place] == pytest.approx(value, rel=1e-9, abs=1e-20)


def test_frozen_paths_move_the_encoder_alone(frozen):
    ends = frozen.ends
    assert ends.refits == ()
    assert set(ends.a) == set(of_component(ends.a, "encoder"))
    assert set(ends.held) == set(matching(doubled(load_agent(WRONG).parameters), DYNAMICS))
    for grid in (frozen.course("straight"), frozen.course("curve")):
        points = grid(np.array([0.0, 0.4, 1.0])).points(0, 3)
        for path, k in ((WRONG, 0), (CORRECT, 2)):
            agent = load_agent(path)
            for name, p in points.items():
                assert torch.equal(p[k], agent.parameters[name].double())


def test_the_frozen_dynamics_are_those_that_are_named():
    found = frozen_ends(between(WRONG, CORRECT, dynamics=OTHER, dtype=torch.float64))
    for name, p in found.held.items():
        assert torch.equal(p, load_agent(OTHER).parameters[name].double())


def test_unfrozen_ends_have_their_encoders_and_better_dynamics(unfrozen):
    ends = unfrozen.ends
    assert ends.held == {}
    for end, path, told in ((ends.a, WRONG, ends.refits[0]), (ends.b, CORRECT, ends.refits[1])):
        agent = load_agent(path)
        for name, p in of_component(end, "encoder").items():
            assert torch.equal(p, agent.parameters[name].double())
        own, _ = by_evaluation(agent)
        fitted, _ = by_evaluation(replace(agent, parameters=end))
        weights = ends.problem.weights
        assert told.before == pytest.approx(sum(weights[n] * own[n] for n in own), rel=1e-9)
        assert told.after == pytest.approx(sum(weights[n] * fitted[n] for n in own), rel=1e-9)
        assert told.after < told.before
        assert 0 < told.iterations <= 40
        for name in STRUCTURE:
            assert fitted[name] == pytest.approx(own[name], rel=1e-9)


def test_unfrozen_paths_move_everything(unfrozen):
    agent = load_agent(WRONG)
    for course in ("straight", "curve"):
        points = unfrozen.course(course)(np.array([0.0, 0.5])).points(0, 2)
        assert set(points) == set(agent.parameters)
        for name in ("encoder.1.weight", "transition.0.weight"):
            assert not torch.equal(points[name][0], points[name][1])


def test_the_curve_is_no_higher_than_the_straight_segment(frozen, unfrozen):
    for one in (frozen, unfrozen):
        straight, curve = (one.profiles[course].highest["sum"] for course in ("straight", "curve"))
        assert curve < straight
        assert one.path.iterations == 3


def test_the_embedding_along_a_path_is_that_of_its_encoders(frozen):
    states = embeddings(
        frozen.ends.problem, load_agent(WRONG), frozen.course("curve")(np.array([0.0, 0.3, 1.0]))
    )
    assert states.shape == (3, 31, 2)
    for k, path in ((0, WRONG), (2, CORRECT)):
        _, expected = by_evaluation(load_agent(path))
        np.testing.assert_allclose(states[k], expected, rtol=1e-10, atol=1e-14)
    point = frozen.course("curve")(np.array([0.3])).points(0, 1)
    middle = networks.encode(
        load_agent(WRONG).architecture,
        {n: p[0] for n, p in point.items()},
        frozen.ends.problem.batch,
    )
    np.testing.assert_allclose(states[1], middle, rtol=1e-10, atol=1e-14)


def test_other_environments_have_no_embedding_to_draw(frozen):
    agent = load_agent(WRONG)
    elsewhere = replace(agent, metadata=agent.metadata.model_copy(update={"environment": "maze"}))
    assert embeddings(frozen.ends.problem, elsewhere, frozen.course("curve")(np.zeros(1))) is None


def test_a_re_fit_can_be_interrupted():
    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        unfrozen_ends(agents(), REFIT, stop)


def test_a_path_needs_two_points():
    with pytest.raises(InputError, match="a path needs at least 2 points"):
        connect(frozen_ends(agents()), SMALL, points=1)

import numpy as np
import pytest
import torch

from crar_diag.agent import networks, probes
from crar_diag.agent.architecture import architecture_for
from crar_diag.agent.config import LOSSES, EvaluationConfig
from crar_diag.agent.evaluation import evaluate_labyrinth
from crar_diag.agent.loss_evaluation import exact_evaluation, held_out_labyrinth, sampled_losses
from crar_diag.agent.losses import LossSettings
from crar_diag.agent.probes import make_probe
from crar_diag.agent.streams import episode_streams, stream
from crar_diag.envs import simple_maze
from crar_diag.envs.observer import Observer
from crar_diag.errors import InputError

SETTINGS = LossSettings(0.8, True, 4.0)


def agents_of(architecture, seeds, dtype=torch.float32):
    return [networks.initialise(architecture, stream(s, "initialisation"), dtype) for s in seeds]


def bits(reading, member: int) -> list[bytes]:
    """One member's numbers, to be compared bit for bit."""
    return [
        a[member].tobytes()
        for a in (reading.losses, reading.losses_error, reading.embedding, reading.prediction)
    ]


@pytest.fixture
def held_out(monkeypatch):
    """Ten held-out transitions: the test's sample, as the probe reads it."""
    monkeypatch.setattr(probes, "HELD_OUT_TRANSITIONS", 10)
    return held_out_labyrinth(10)


@pytest.mark.parametrize("domain", ["normal", "inverse"])
def test_the_simple_maze_is_read_exactly(domain):
    architecture = architecture_for("simple-maze", "symbolic")
    agents = agents_of(architecture, (0, 1), torch.float64)
    observer = Observer("simple-maze", "symbolic", domain)
    probe = make_probe("simple-maze", architecture, observer, SETTINGS)
    assert probe.shape == (31, 2)
    reading = probe.read(networks.stack(agents))
    exact = exact_evaluation(architecture, networks.stack(agents), observer, SETTINGS)
    expected = np.stack([exact.losses[name] for name in LOSSES], axis=1)
    np.testing.assert_allclose(reading.losses, expected, rtol=1e-12)
    assert (reading.losses_error == 0).all()
    assert reading.losses_error.shape == (2, 7)
    pictures = observer(torch.from_numpy(simple_maze.all_tiles())).double()
    assert reading.prediction.shape == (2, 31, 4, 2)
    for m, agent in enumerate(agents):
        states = networks.encode(architecture, agent, pictures)
        np.testing.assert_allclose(reading.embedding[m], states, rtol=1e-12, atol=1e-14)
        for action in range(4):
            taken = torch.full((31,), action)
            following = networks.predict_state(architecture, agent, states, taken)
            found = reading.prediction[m, :, action]
            np.testing.assert_allclose(found, following, rtol=1e-12, atol=1e-14)


def test_a_members_numbers_do_not_depend_on_who_stands_beside_it(held_out):
    for environment, observation in [
        ("simple-maze", "symbolic"),
        ("simple-maze", "pixels"),
        ("labyrinth", "symbolic"),
    ]:
        architecture = architecture_for(environment, observation)
        agents = agents_of(architecture, range(3))
        # As a population holds them: in one flat array, where members begin at any address.
        flat = torch.stack([torch.cat([p.flatten() for p in a.values()]) for a in agents])
        together, start = {}, 0
        for name, shape in architecture.shapes().items():
            size = agents[0][name].numel()
            together[name] = flat[:, start : start + size].unflatten(1, shape)
            start += size
        observer = Observer(environment, observation)
        probe = make_probe(environment, architecture, observer, SETTINGS)
        reading = probe.read(together)
        for m, agent in enumerate(agents):
            assert bits(reading, m) == bits(probe.read(networks.stack([agent])), 0)


def test_the_simple_maze_has_no_score():
    architecture = architecture_for("simple-maze", "symbolic")
    probe = make_probe("simple-maze", architecture, Observer("simple-maze", "symbolic"), SETTINGS)
    population = networks.stack(agents_of(architecture, [0]))
    with pytest.raises(InputError, match="has no reward and so no score"):
        probe.score(population, [episode_streams(0)])


def test_the_labyrinth_is_read_on_held_out_mazes(held_out):
    architecture = architecture_for("labyrinth", "symbolic")
    agents = agents_of(architecture, (0, 1), torch.float64)
    observer = Observer("labyrinth", "symbolic", "swapped")
    probe = make_probe("labyrinth", architecture, observer, SETTINGS)
    assert probe.shape == (8, 3, 8, 8)
    reading = probe.read(networks.stack(agents))
    expected = sampled_losses(architecture, networks.stack(agents), observer, held_out, SETTINGS)
    for k, name in enumerate(LOSSES):
        np.testing.assert_allclose(reading.losses[:, k], expected.mean[name], rtol=1e-9)
        errors = expected.standard_error[name]
        assert (errors > 0).all() or name == "volume"
        np.testing.assert_allclose(reading.losses_error[:, k], errors, rtol=1e-7)
    pictures = observer(torch.from_numpy(held_out.tiles[:8])).double()
    for agent, embedding in zip(agents, reading.embedding, strict=True):
        states = networks.encode(architecture, agent, pictures)
        np.testing.assert_allclose(embedding, states, rtol=1e-9, atol=1e-12)


def test_the_score_is_measured_as_configured_for_each_member_alone():
    architecture = architecture_for("labyrinth", "symbolic")
    observer = Observer("labyrinth", "symbolic")
    how = EvaluationConfig(depth=1, epsilon=0.7, steps=40, episode_cap=9, environments=3)
    probe = make_probe("labyrinth", architecture, observer, SETTINGS, how)
    population = networks.stack(agents_of(architecture, range(3)))
    scores = probe.score(population, [episode_streams(m, 4) for m in range(3)])
    expected = evaluate_labyrinth(
        architecture,
        population,
        observer,
        [episode_streams(m, 4) for m in range(3)],
        depth=1,
        epsilon=0.7,
        steps=40,
        episode_cap=9,
        environments=3,
    )
    np.testing.assert_array_equal(scores, expected.mean)
    assert len(set(scores)) > 1
    one = {name: p[2:] for name, p in population.items()}
    assert probe.score(one, [episode_streams(2, 4)])[0] == scores[2]


def test_a_labyrinth_without_further_word_is_scored_as_published(monkeypatch):
    asked = {}

    def evaluate(*_: object, **how: object) -> object:
        asked.update(how)
        return type("Scores", (), {"mean": np.zeros(1)})

    monkeypatch.setattr(probes, "evaluate_labyrinth", evaluate)
    architecture = architecture_for("labyrinth", "symbolic")
    probe = make_probe("labyrinth", architecture, Observer("labyrinth", "symbolic"), SETTINGS)
    probe.score(networks.stack(agents_of(architecture, [0])), [episode_streams(0)])
    published = {"depth": 3, "epsilon": 0.1, "steps": 200, "episode_cap": 50, "environments": 1}
    assert asked == published

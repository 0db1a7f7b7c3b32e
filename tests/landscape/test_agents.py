"""Agents as problems: against what `evaluate` prints, against the probe, and what is refused."""

import dataclasses

import pytest
import torch

from crar_diag.agent import networks, probes
from crar_diag.agent.assessment import Play, assess, settings_of
from crar_diag.agent.checkpoint import Checkpoint, save
from crar_diag.agent.config import COMPONENTS, LOSSES
from crar_diag.agent.loading import Agent, load_agent
from crar_diag.agent.loss_evaluation import held_out_labyrinth, sampled_losses
from crar_diag.agent.networks import of_component
from crar_diag.agent.variants import start
from crar_diag.envs.observer import Observer
from crar_diag.errors import InputError
from crar_diag.landscape.agents import (
    DYNAMICS,
    ENCODER,
    Q_TARGET,
    agent_problem,
    check_same_task,
    comparable,
    same_dynamics,
    weights_of,
)
from crar_diag.landscape.problem import SUM, evaluate
from tests.landscape.shipped import CORRECT, UNFINISHED, WRONG
from tests.runs import BASES, labyrinth_config, maze_config, save_agent

BASE, OTHER_BASE = (BASES / f"base-seed{seed}.safetensors" for seed in (0, 1))


def alone(problem, agent, **settings):
    """The losses of one agent, as a point of a landscape."""
    moving = {name: p[None] for name, p in problem.moving(agent.parameters).items()}
    return evaluate(problem, moving, agent.parameters, at_once=1, **settings)


@pytest.fixture(scope="module", params=["symbolic", "pixels"])
def labyrinths(request, tmp_path_factory) -> list[Agent]:
    """Two untrained agents of the labyrinth."""
    folder = tmp_path_factory.mktemp(request.param)
    config = labyrinth_config("0:2", 10, f"observation={request.param}")
    return [load_agent(save_agent(folder / f"{seed}.safetensors", config, seed)) for seed in (0, 1)]


# Losses


@pytest.mark.parametrize("path", [CORRECT, WRONG, UNFINISHED, BASE, OTHER_BASE])
@pytest.mark.parametrize("domain", ["normal", "inverse"])
def test_an_agents_losses_are_what_evaluate_prints_to_the_last_bit(path, domain):
    agent = load_agent(path)
    found = alone(agent_problem(agent, domain), agent)
    (printed,) = assess([path], domain)
    assert tuple(found.losses) == (*LOSSES, SUM)
    assert found.errors == {}
    for name in LOSSES:
        assert found.losses[name].item() == printed.losses[name]


@pytest.mark.parametrize("seed", range(3))
def test_the_oracle_has_on_the_inverse_domain_the_bases_losses_on_the_normal_one(seed):
    base = load_agent(BASES / f"base-seed{seed}.safetensors")
    oracle = start(base.architecture, "oracle", base.parameters, 0, torch.float32)
    normal, inverse = (agent_problem(base, domain) for domain in ("normal", "inverse"))
    before = alone(normal, base).losses
    after = alone(inverse, dataclasses.replace(base, parameters=oracle)).losses
    for name in (*LOSSES, SUM):
        assert after[name] == before[name]
    assert alone(inverse, base).losses["transition"] > 5 * before["transition"]


def test_losses_in_the_labyrinth_are_the_probes_with_its_errors(labyrinths):
    agent = labyrinths[0]
    problem = agent_problem(agent, "inverse", transitions=24, seed=3)
    observer = Observer("labyrinth", agent.metadata.observation, "inverse")
    data = held_out_labyrinth(24, seed=3)
    population = networks.stack([one.parameters for one in labyrinths])
    expected = sampled_losses(agent.architecture, population, observer, data, settings_of(agent))
    encoders = networks.stack([problem.moving(one.parameters) for one in labyrinths])
    # The second encoder with the first one's dynamics, then both agents.
    mixed = evaluate(problem, encoders, agent.parameters)
    own = [alone(problem, one) for one in labyrinths]
    for name in LOSSES:
        for k in range(2):
            assert own[k].losses[name].item() == expected.mean[name][k]
            error = expected.standard_error[name][k]
            assert own[k].errors[name].item() == pytest.approx(error, rel=1e-6)
        assert mixed.losses[name][0] == own[0].losses[name][0]
        structure = name in ("volume", "random_pairs", "consecutive_pairs")
        assert (mixed.losses[name][1] == own[1].losses[name][0]) == structure
    assert list(own[0].errors) == [*LOSSES, SUM]
    assert own[0].errors[SUM].item() < sum(own[0].errors[n].item() for n in LOSSES) + 1e-12


def test_evaluate_prints_the_losses_of_a_labyrinths_agent(labyrinths, monkeypatch):
    monkeypatch.setattr(probes, "HELD_OUT_TRANSITIONS", 20)
    (printed,) = assess([labyrinths[0].path], play=Play(steps=1, depth=0))
    problem = agent_problem(labyrinths[0], labyrinths[0].metadata.domain, transitions=20)
    found = alone(problem, labyrinths[0])
    assert {name: found.losses[name].item() for name in LOSSES} == printed.losses


def test_a_problem_can_be_in_double_precision():
    agent = load_agent(CORRECT)
    doubled = {name: p.double() for name, p in agent.parameters.items()}
    exact = alone(
        agent_problem(agent, "inverse", dtype=torch.float64),
        dataclasses.replace(agent, parameters=doubled),
    ).losses
    rounded = alone(agent_problem(agent, "inverse"), agent).losses
    for name in (*LOSSES, SUM):
        assert exact[name].dtype == torch.float64
        assert rounded[name].item() == pytest.approx(exact[name].item(), rel=1e-4, abs=1e-9)
        assert rounded[name].item() != exact[name].item() or name in ("volume", "reward")


def test_the_q_target_can_be_another_ones():
    agent, other = load_agent(CORRECT), load_agent(OTHER_BASE)
    problem = agent_problem(agent, "inverse")
    target = problem.anchored(agent.parameters)
    assert list(target) == [Q_TARGET]
    assert target[Q_TARGET].shape == (124,)
    own = problem.values(agent.parameters)
    again = problem.values(agent.parameters | target)
    assert again["q"].item() == pytest.approx(own["q"].item(), rel=1e-5)
    changed = problem.values(agent.parameters | problem.anchored(other.parameters))
    assert changed["q"] > 1.01 * own["q"]
    assert all(changed[name] == own[name] for name in LOSSES if name != "q")


# What moves


def test_the_encoder_moves_and_all_else_is_re_fitted():
    agent = load_agent(CORRECT)
    problem = agent_problem(agent, "inverse")
    assert problem.moves == ENCODER
    assert problem.refits == DYNAMICS
    moving = problem.moving(agent.parameters)
    assert moving == of_component(agent.parameters, "encoder")
    refitted = problem.refitted(agent.parameters)
    assert refitted == of_component(agent.parameters, *COMPONENTS[1:])


def test_dynamics_are_the_same_bit_for_bit_or_differ():
    correct, wrong, other = (load_agent(path) for path in (CORRECT, WRONG, OTHER_BASE))
    assert same_dynamics([correct, wrong, load_agent(BASE)])
    assert not same_dynamics([correct, wrong, other])
    changed = {n: p.clone() for n, p in wrong.parameters.items()}
    changed["q.3.bias"][0] = torch.nextafter(changed["q.3.bias"][0], torch.tensor(1.0))
    assert not same_dynamics([correct, dataclasses.replace(wrong, parameters=changed)])


# Weights


def test_weights_are_the_last_of_the_files_schedules():
    agent = load_agent(CORRECT)
    expected = dict.fromkeys(LOSSES, 1.0) | {"consecutive_pairs": 0.2}
    assert weights_of(agent) == agent_problem(agent, "inverse").weights == expected
    assert weights_of(agent, {"q": 0.0, "volume": 2}) == expected | {"q": 0.0, "volume": 2}

    def with_weights(weights):
        configuration = {**agent.metadata.configuration, "loss_weights": weights}
        metadata = agent.metadata.model_copy(update={"configuration": configuration})
        return dataclasses.replace(agent, metadata=metadata)

    schedule = dict.fromkeys(LOSSES, 0.5) | {"volume": [[0, 0.0], [15, 3.0]]}
    found = weights_of(with_weights(schedule))
    assert found == dict.fromkeys(LOSSES, 0.5) | {"volume": 3.0}
    for broken in ({}, {**schedule, "q": []}, {**schedule, "q": "much"}, None):
        with pytest.raises(InputError, match=f"'{CORRECT}': its configuration must hold loss_we"):
            weights_of(with_weights(broken))
    with pytest.raises(InputError, match=r"^unknown loss 'volum' \(did you mean 'volume'\?\)$"):
        weights_of(agent, {"volum": 1.0})


@pytest.mark.parametrize(
    ("variant", "epochs", "omitted"),
    [
        ("original", 3, ()),
        ("no-disambiguation", 3, ("random_pairs",)),
        ("delayed-structure", 15, ("volume", "random_pairs", "consecutive_pairs")),
        ("delayed-structure", 16, ()),
    ],
)
def test_what_a_variant_omits_has_no_weight(variant, epochs, omitted):
    agent = load_agent(CORRECT)
    per_epoch = agent.metadata.configuration["updates_per_epoch"]
    configuration = {**agent.metadata.configuration, "variants": [variant]}
    changes = {"configuration": configuration, "updates": epochs * per_epoch}
    own = dataclasses.replace(agent, metadata=agent.metadata.model_copy(update=changes))
    assert weights_of(own) == weights_of(agent) | dict.fromkeys(omitted, 0.0)


# What can be compared


def test_ends_are_in_order_with_their_files_hashes():
    agents = [load_agent(path) for path in (CORRECT, WRONG, UNFINISHED)]
    found = comparable(agents)
    assert found.agents == tuple(agents)
    assert found.domain == "inverse"
    assert len(set(found.sha256)) == 3
    assert comparable(agents, "normal").domain == "normal"
    assert comparable(agents[:1]).sha256 == found.sha256[:1]


def test_agents_that_cannot_be_compared_are_refused(tmp_path):
    correct, base = load_agent(CORRECT), load_agent(BASE)

    def saved(name, *settings, **changes):
        config = maze_config("0:2", 5, *settings)
        return load_agent(save_agent(tmp_path / f"{name}.safetensors", config, **changes))

    (tmp_path / "copy.safetensors").write_bytes(CORRECT.read_bytes())
    copy = load_agent(tmp_path / "copy.safetensors")
    mine, double = saved("mine"), saved("double", "precision=float64")
    pixels, gamma = saved("pixels", "observation=pixels"), saved("gamma", "discount_factor=0.8")
    labyrinth = load_agent(save_agent(tmp_path / "l.safetensors", labyrinth_config("0")))
    strange = saved("strange", domain="mine-alone")
    for agents, domain, sentence in (
        ([correct, base, copy], "normal", "copy.safetensors' is the same as .*12.safetensors': th"),
        ([correct, base], None, "domains 'inverse' and 'normal': name the one in which both are"),
        ([base, labyrinth], None, "differ in their environment: simple-maze and labyrinth$"),
        ([base, pixels], None, "differ in their observation: symbolic and pixels$"),
        ([mine, double], None, "differ in their precision: torch.float32 and torch.float64$"),
        ([base, gamma], None, "differ in their losses' constants: .*=0.9.*=0.8"),
        ([base], "invers", "invers.*did you mean 'inverse'"),
        ([strange], None, "strange.safetensors': .*mine-alone"),
    ):
        with pytest.raises(InputError, match=sentence) as caught:
            comparable(agents, domain)
        assert "\n" not in str(caught.value)
    check_same_task(correct, base)


def test_agents_of_other_layers_are_refused(tmp_path):
    base = load_agent(BASE)
    architecture = dataclasses.replace(base.architecture, name="mine")
    metadata = base.metadata.model_copy(update={"architecture": architecture.spec()})
    save(Checkpoint(base.parameters, metadata), tmp_path / "a.safetensors")
    with pytest.raises(InputError, match=r"differ in their architecture$"):
        comparable([base, load_agent(tmp_path / "a.safetensors")])


def test_an_agents_parameters_are_in_the_architectures_order():
    # A file has no order; directions that are drawn and sums over all parameters have one.
    for path in (CORRECT, BASE):
        agent = load_agent(path)
        assert list(agent.parameters) == list(agent.architecture.shapes())

import numpy as np
import pytest
import torch

from crar_diag.agent import networks
from crar_diag.agent.architecture import LABYRINTH, LABYRINTH_SYMBOLIC, SIMPLE_MAZE
from crar_diag.agent.config import COMPONENTS, LOSSES
from crar_diag.agent.loading import load_agent
from crar_diag.agent.loss_evaluation import exact_evaluation
from crar_diag.agent.losses import LossSettings
from crar_diag.agent.networks import of_component
from crar_diag.agent.streams import stream
from crar_diag.agent.transfer_config import VARIANTS
from crar_diag.agent.variants import first_kernel, member_rule, start
from crar_diag.envs.data import gather
from crar_diag.envs.observer import Observer
from tests.agent import by_hand
from tests.runs import BASES, transfer_config

BASE = BASES / "base-seed1.safetensors"
AS_THE_BASE = ("original", "finetune", "no-disambiguation", "delayed-structure", "paired")
ENCODER_ONLY = ("encoder",)


@pytest.fixture(scope="module")
def base():
    return load_agent(BASE).parameters


def begin(variant, base, seed=0, dtype=torch.float32, architecture=SIMPLE_MAZE):
    return start(architecture, variant, base, seed, dtype)


def same(one, other):
    return one.keys() == other.keys() and all(
        p.dtype == other[name].dtype and torch.equal(p, other[name]) for name, p in one.items()
    )


def encoder_and_rest(agent):
    return of_component(agent, "encoder"), of_component(agent, *COMPONENTS[1:])


# What a transfer starts from


@pytest.mark.parametrize("variant", AS_THE_BASE)
def test_most_variants_start_at_the_base_and_not_in_its_memory(base, variant):
    agent = begin(variant, base)
    assert same(agent, base)
    assert not any(p.data_ptr() == base[name].data_ptr() for name, p in agent.items())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_reset_encoder_is_the_untrained_one_of_the_seed(base, dtype):
    base = {name: p.to(dtype) for name, p in base.items()}
    for seed in (0, 5):
        encoder, rest = encoder_and_rest(begin("reset-encoder", base, seed, dtype))
        fresh = networks.initialise(SIMPLE_MAZE, stream(seed, "initialisation"), dtype)
        assert same(encoder, of_component(fresh, "encoder"))
        assert same(rest, encoder_and_rest(base)[1])


@pytest.mark.parametrize("seed", [0, 5])
def test_an_agent_from_scratch_is_the_untrained_one_of_the_seed(seed):
    fresh = networks.initialise(SIMPLE_MAZE, stream(seed, "initialisation"), torch.float64)
    assert same(begin("scratch", None, seed, torch.float64), fresh)


def test_a_permuted_encoder_has_each_tensors_entries_in_another_order(base):
    encoder, rest = encoder_and_rest(begin("permute-encoder", base, 4))
    assert same(rest, encoder_and_rest(base)[1])
    for name, p in encoder.items():
        assert p.shape == base[name].shape
        assert torch.equal(p.flatten().sort().values, base[name].flatten().sort().values)
        if p.numel() > 2:
            moved = (p != base[name]).double().mean()
            assert moved > 0.75  # of n entries one stays on average
    other = begin("permute-encoder", base, 3)
    assert all(not torch.equal(encoder[n], other[n]) for n in encoder if encoder[n].numel() > 2)


def test_a_permutation_does_not_depend_on_the_order_in_which_a_file_is_read(base):
    first = begin("permute-encoder", base, 4)
    for k in range(3):
        names = np.random.default_rng(k).permutation(list(base))
        assert same(begin("permute-encoder", {name: base[name] for name in names}, 4), first)


# The oracle


def test_an_oracles_first_kernel_is_negated_and_nothing_else(base):
    agent = begin("oracle", base)
    assert first_kernel(SIMPLE_MAZE) == "encoder.1.weight"
    assert torch.equal(agent["encoder.1.weight"], -base["encoder.1.weight"])
    assert same(
        {name: p for name, p in agent.items() if name != "encoder.1.weight"},
        {name: p for name, p in base.items() if name != "encoder.1.weight"},
    )


def exact(agent, domain):
    observer = Observer("simple-maze", "symbolic", domain)
    return exact_evaluation(SIMPLE_MAZE, networks.stack([agent]), observer, LossSettings())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_oracle_sees_in_the_inverse_what_its_base_sees(base, dtype):
    base = {name: p.to(dtype) for name, p in base.items()}
    oracle = begin("oracle", base, dtype=dtype)
    before, after = exact(base, "normal"), exact(oracle, "inverse")
    for loss in LOSSES:
        assert after.losses[loss][0] == before.losses[loss][0]
    np.testing.assert_array_equal(after.embedding, before.embedding)
    by_definition = by_hand.encode(base, by_hand.maze_pictures())
    np.testing.assert_allclose(after.embedding[0], by_definition, atol=1e-5)
    # Without it, the base is at a loss there.
    assert exact(base, "inverse").losses["transition"][0] > 10 * before.losses["transition"][0]


@pytest.mark.parametrize("architecture", [LABYRINTH, LABYRINTH_SYMBOLIC])
def test_an_oracle_of_the_labyrinth_too_sees_what_its_base_sees(architecture):
    base = networks.initialise(architecture, stream(0, "initialisation"), torch.float64)
    for name in base:  # so that biases matter
        if name.endswith("bias"):
            base[name] += 0.1
    oracle = begin("oracle", base, dtype=torch.float64, architecture=architecture)
    kind = "pixels" if architecture is LABYRINTH else "symbolic"
    tiles = torch.from_numpy(gather("labyrinth", 5, np.random.default_rng(0)).tiles)
    normal, inverse = (
        Observer("labyrinth", kind, domain)(tiles).double() for domain in ("normal", "inverse")
    )
    seen = networks.encode(architecture, base, normal)
    assert torch.equal(networks.encode(architecture, oracle, inverse), seen)
    assert not torch.allclose(networks.encode(architecture, base, inverse), seen, atol=0.1)


# What moves, and how


def rule(variant, *settings, rate=1e-3):
    return member_rule(transfer_config([BASE], *settings), variant, rate)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_encoder_alone_moves_but_for_two_variants(variant):
    everything = variant in ("finetune", "scratch")
    assert rule(variant).trainable == set(COMPONENTS if everything else ENCODER_ONLY)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_rate_is_the_transfers_own_and_decays(variant):
    found = rule(variant, "optimizer.learning_rate_decay=0.5", "optimizer.learning_rate=7.0")
    assert [found.rate_at(epoch) for epoch in range(4)] == [1e-3, 5e-4, 2.5e-4, 1.25e-4]


def weights(variant, *settings, epochs=range(6)):
    found = rule(variant, *settings)
    return {loss: [found.weight_at(loss, epoch) for epoch in epochs] for loss in LOSSES}


SCHEDULES = (
    "loss_weights.volume=[[0, 2.0], [1, 3.0], [3, 4.0], [5, 5.0]]",
    "loss_weights.consecutive_pairs=0.2",
    "loss_weights.transition=[[0, 0.5], [4, 0.25]]",
)
CONFIGURED = {
    "transition": [0.5, 0.5, 0.5, 0.5, 0.25, 0.25],
    "reward": [1.0] * 6,
    "discount": [1.0] * 6,
    "volume": [2.0, 3.0, 3.0, 4.0, 4.0, 5.0],
    "random_pairs": [1.0] * 6,
    "consecutive_pairs": [0.2] * 6,
    "q": [1.0] * 6,
}


@pytest.mark.parametrize(
    "variant", [v for v in VARIANTS if v not in ("no-disambiguation", "delayed-structure")]
)
def test_most_variants_have_the_configured_weights(variant):
    assert weights(variant, *SCHEDULES) == CONFIGURED


@pytest.mark.parametrize("omitted", ["random_pairs", "volume"])
def test_without_disambiguation_one_loss_is_omitted(omitted):
    found = weights("no-disambiguation", *SCHEDULES, f"no_disambiguation={omitted}")
    assert found == CONFIGURED | {omitted: [0.0] * 6}
    by_default = weights("no-disambiguation", *SCHEDULES)
    assert by_default == CONFIGURED | {"random_pairs": [0.0] * 6}


@pytest.mark.parametrize("delay", [1, 2, 3, 4, 5])
def test_delayed_structure_losses_are_restored_as_they_would_be_by_then(delay):
    found = weights("delayed-structure", *SCHEDULES, f"delay={delay}")
    structure = ("volume", "random_pairs", "consecutive_pairs")
    delayed = {loss: [0.0] * delay + CONFIGURED[loss][delay:] for loss in structure}
    assert found == CONFIGURED | delayed


# Restarts


def states(agent):
    return networks.encode(SIMPLE_MAZE, agent, torch.from_numpy(by_hand.maze_pictures()))


@pytest.mark.parametrize("variant", AS_THE_BASE)
def test_restarts_begin_at_a_turned_or_mirrored_base(base, variant):
    base = {name: p.double() for name, p in base.items()}
    own = states(base)
    for restart, wanted in enumerate(
        [own, -own, own * torch.tensor([-1.0, 1.0]), own * torch.tensor([1.0, -1.0])]
    ):
        agent = start(SIMPLE_MAZE, variant, base, 0, torch.float64, restart)
        torch.testing.assert_close(states(agent), wanted)
        assert same(encoder_and_rest(agent)[1], encoder_and_rest(base)[1])


@pytest.mark.parametrize("variant", ["reset-encoder", "permute-encoder", "scratch"])
def test_restarts_of_what_is_drawn_anew_are_drawn_again(base, variant):
    known = None if variant == "scratch" else base
    drawn = [start(SIMPLE_MAZE, variant, known, 3, torch.float32, k) for k in range(3)]
    kernels = [agent["encoder.1.weight"] for agent in drawn]
    assert all(not torch.equal(kernels[a], kernels[b]) for a, b in ((0, 1), (0, 2), (1, 2)))
    assert same(drawn[0], begin(variant, known, 3))
    assert same(drawn[2], start(SIMPLE_MAZE, variant, known, 3, torch.float32, 2))

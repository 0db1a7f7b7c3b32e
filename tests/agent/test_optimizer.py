import numpy as np
import pytest
import torch

from crar_diag.agent.optimizer import Block, Step, apply_step
from crar_diag.agent.population import UpdateRule


def rmsprop_twin(p, v, g, rate, clip, rho=0.9, eps=1e-4):
    """Keras' RMSprop with clipnorm on one tensor, in NumPy."""
    g = g * clip / max(np.sqrt((g**2).sum()), clip)
    v = rho * v + (1 - rho) * g**2
    return p - rate * g / (np.sqrt(v) + eps), v


def step_of(rates, active=None, encoder=None, q=None):
    n = len(rates)
    yes = torch.ones(n, dtype=torch.bool)
    return Step(
        torch.tensor(rates, dtype=torch.float64),
        yes if active is None else torch.tensor(active),
        {
            "encoder": yes if encoder is None else torch.tensor(encoder),
            "q": yes if q is None else torch.tensor(q),
        },
    )


def random_agents(seed=0):
    rng = np.random.default_rng(seed)
    shapes = {"encoder.0.weight": (3, 2, 4), "encoder.0.bias": (3, 2), "q.0.weight": (3, 5)}
    draw = {n: torch.from_numpy(rng.standard_normal(s)) for n, s in shapes.items()}
    squares = {n: torch.from_numpy(rng.random(s)) for n, s in shapes.items()}
    grads = {n: torch.from_numpy(3 * rng.standard_normal(s)) for n, s in shapes.items()}
    return draw, squares, grads


def step_on(agents, squares, grads, *others):
    """Take a step in place of agents and squares, `[M, ...]` by name."""
    blocks = []
    for component in ("encoder", "q"):
        sizes = {n: p[0].numel() for n, p in agents.items() if n.startswith(component)}
        if sizes:
            flat = [torch.cat([t[n].flatten(1) for n in sizes], 1) for t in (agents, squares)]
            blocks.append(Block(component, sizes, *flat))
    alive = apply_step(blocks, grads, *others)
    for block in blocks:
        for own, flat in ((agents, block.parameters), (squares, block.squares)):
            parts = flat.split(list(block.sizes.values()), 1)
            for name, part in zip(block.sizes, parts, strict=True):
                own[name].copy_(part.view_as(own[name]))
    return alive


def test_a_step_worked_out_by_hand():
    # g = (0.6, 0.8) has norm 1 = clip and stays; v = 0.1 g^2; p = 1 - 0.5 g / (sqrt(0.1) g + 1e-4)
    agents = {"q.0.weight": torch.ones(1, 2, dtype=torch.float64)}
    squares = {"q.0.weight": torch.zeros(1, 2, dtype=torch.float64)}
    grads = {"q.0.weight": torch.tensor([[0.6, 0.8]], dtype=torch.float64)}
    step_on(agents, squares, grads, step_of([0.5]), UpdateRule(), torch.tensor([True]))
    expected = [1 - 0.5 * g / (np.sqrt(0.1 * g * g) + 1e-4) for g in (0.6, 0.8)]
    assert squares["q.0.weight"].tolist()[0] == pytest.approx([0.036, 0.064], rel=1e-14)
    assert agents["q.0.weight"].tolist()[0] == pytest.approx(expected, rel=1e-14)


def test_tensor_clipping_equals_the_numpy_twin_for_every_member_and_tensor():
    agents, squares, grads = random_agents()
    before = {n: (agents[n].clone().numpy(), squares[n].clone().numpy()) for n in agents}
    rates = [1e-3, 5e-2, 0.2]
    alive = step_on(agents, squares, grads, step_of(rates), UpdateRule(), torch.ones(3) > 0)
    assert alive.all()
    for name, (p, v) in before.items():
        for m, rate in enumerate(rates):
            new_p, new_v = rmsprop_twin(p[m], v[m], grads[name][m].numpy(), rate, 1.0)
            np.testing.assert_allclose(agents[name][m], new_p, rtol=1e-13)
            np.testing.assert_allclose(squares[name][m], new_v, rtol=1e-13)


def test_global_clipping_uses_one_norm_over_the_trainable_tensors_of_the_step():
    agents, squares, grads = random_agents(1)
    before = {n: (agents[n].clone().numpy(), squares[n].clone().numpy()) for n in agents}
    step = step_of([1e-2] * 3, q=[True, True, False])
    step_on(agents, squares, grads, step, UpdateRule(clip_scope="global"), torch.ones(3) > 0)
    for m in range(3):
        moving = [n for n in grads if m < 2 or n.startswith("encoder")]
        norm = np.sqrt(sum((grads[n][m].numpy() ** 2).sum() for n in moving))
        for name in moving:
            g = grads[name][m].numpy() / max(norm, 1.0)
            unclipped = 1e9
            new_p, _ = rmsprop_twin(*(x[m] for x in before[name]), g, 1e-2, unclipped)
            np.testing.assert_allclose(agents[name][m], new_p, rtol=1e-13)


@pytest.mark.parametrize("scope", ["tensor", "global"])
def test_whoever_is_frozen_inactive_dead_or_not_finite_keeps_every_bit(scope):
    agents, squares, grads = random_agents(2)
    grads["encoder.0.bias"][1, 0] = torch.nan
    before = {n: (agents[n].clone(), squares[n].clone()) for n in agents}
    step = step_of([0.1] * 3, active=[True, True, False], q=[False, True, True])
    alive = step_on(
        agents, squares, grads, step, UpdateRule(clip_scope=scope), torch.tensor([True, True, True])
    )
    # Member 1 met a NaN; member 2 took no step, so its gradient does not matter.
    assert alive.tolist() == [True, False, True]
    for name, (p, v) in before.items():
        moved = {0: name.startswith("encoder"), 1: False, 2: False}
        for m, expected in moved.items():
            assert torch.equal(agents[name][m], p[m]) != expected
            assert torch.equal(squares[name][m], v[m]) != expected

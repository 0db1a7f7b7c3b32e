"""Scores against hand-made play and a twin that plays step by step; losses against plain loops."""

import math

import numpy as np
import pytest
import torch

from crar_diag.agent import evaluation, networks, planning
from crar_diag.agent.architecture import (
    LABYRINTH,
    LABYRINTH_SYMBOLIC,
    SIMPLE_MAZE,
    SIMPLE_MAZE_PIXELS,
)
from crar_diag.agent.config import LOSSES
from crar_diag.agent.evaluation import (
    evaluate_episodes,
    evaluate_labyrinth,
    exact_evaluation,
    held_out_labyrinth,
    sampled_losses,
)
from crar_diag.agent.losses import Forward, LossSettings, all_losses
from crar_diag.agent.planning import planned_q_values
from crar_diag.agent.streams import stream
from crar_diag.envs.data import TransitionData, gather
from crar_diag.envs.mazes import from_maps, generate
from crar_diag.envs.observer import Observer
from crar_diag.envs.tiles import KEY, PATH, PLAYER, WALL
from crar_diag.errors import InputError
from tests.agent.test_losses import maze_cells, maze_move, maze_picture

SYMBOLIC = Observer("labyrinth", "symbolic")
PIXELS = Observer("labyrinth", "pixels")
MAZE = Observer("simple-maze", "symbolic")

CORRIDOR = """
    ########
    #PKKK..#
    #......#
    #......#
    #......#
    #......#
    #......#
    ########
"""


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """Batches are small here: a second thread would only wait, for long on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def rngs(*seeds):
    return [np.random.default_rng(seed) for seed in seeds]


def always(action, architecture=LABYRINTH_SYMBOLIC):
    """An agent whose heads are all zero but for its liking of one action."""
    agent = {name: torch.zeros(shape) for name, shape in architecture.shapes().items()}
    last = [name for name in agent if name.startswith("q.") and name.endswith("bias")][-1]
    agent[last][action] = 1.0
    return agent


def random_agent(architecture, seed, dtype=torch.float32):
    """An agent whose every head matters to its choices."""
    rng = np.random.default_rng(seed)
    agent = networks.initialise(architecture, rng, torch.float64)
    return {
        n: (p + torch.from_numpy(rng.normal(0, 0.1, p.shape))).to(dtype) for n, p in agent.items()
    }


# Play, scripted by hand


@pytest.mark.parametrize("architecture", [LABYRINTH_SYMBOLIC, LABYRINTH], ids=lambda a: a.name)
def test_an_agent_that_takes_nothing_scores_exactly_minus_five(architecture):
    observer = SYMBOLIC if architecture is LABYRINTH_SYMBOLIC else PIXELS
    depth = 1 if architecture is LABYRINTH_SYMBOLIC else 0
    # Row - 1 from the start is the border's wall.
    population = networks.stack([always(2, architecture)])
    result = evaluate_labyrinth(
        architecture, population, observer, rngs(0), epsilon=0.0, depth=depth, environments=2
    )
    assert result.scores.tolist() == [[-5.0, -5.0]]
    assert result.mean.tolist() == [-5.0]
    assert result.standard_error.tolist() == [0.0]
    assert result.episodes.tolist() == [[4, 4]]
    assert result.lengths.tolist() == [[50.0, 50.0]]
    assert result.keys.tolist() == [[0.0, 0.0]]


def test_the_cut_off_last_episode_counts_as_one():
    population = networks.stack([always(2)])
    options = {"epsilon": 0.0, "depth": 0, "episode_cap": 3}
    whole = evaluate_labyrinth(
        LABYRINTH_SYMBOLIC, population, SYMBOLIC, rngs(0), steps=6, **options
    )
    cut = evaluate_labyrinth(LABYRINTH_SYMBOLIC, population, SYMBOLIC, rngs(0), steps=7, **options)
    assert (whole.episodes.item(), cut.episodes.item()) == (2, 3)
    assert whole.scores.item() == pytest.approx(-0.3, abs=1e-15)
    assert cut.scores.item() == pytest.approx(-0.7 / 3, abs=1e-15)
    assert math.isnan(cut.standard_error.item())


def test_taking_all_keys_ends_an_episode(monkeypatch):
    monkeypatch.setattr(evaluation, "generate", lambda rng, n: from_maps([CORRIDOR] * n))
    population = networks.stack([always(1), always(0)])
    result = evaluate_labyrinth(
        LABYRINTH_SYMBOLIC, population, SYMBOLIC, rngs(0, 1), epsilon=0.0, depth=1
    )
    # The first agent needs three steps a maze: 66 whole episodes, and two keys of the 67th.
    assert result.episodes.tolist() == [[67], [4]]
    assert result.scores[0, 0] == pytest.approx(200 / 67, rel=1e-15)
    assert result.keys[0, 0] == pytest.approx(200 / 67, rel=1e-15)
    assert result.lengths[0, 0] == pytest.approx(200 / 67, rel=1e-15)
    assert result.scores[1, 0] == -5.0


def test_whole_episodes_end_with_the_last_key_or_the_cap(monkeypatch):
    monkeypatch.setattr(evaluation, "generate", lambda rng, n: from_maps([CORRIDOR] * n))
    population = networks.stack([always(1), always(2)])
    result = evaluate_episodes(
        LABYRINTH_SYMBOLIC, population, SYMBOLIC, rngs(0, 1), episodes=3, epsilon=0.0, depth=0
    )
    assert result.returns.tolist() == [[3.0] * 3, [-5.0] * 3]
    assert result.lengths.tolist() == [[3] * 3, [50] * 3]
    assert result.keys.tolist() == [[3] * 3, [0] * 3]
    assert result.mean.tolist() == [3.0, -5.0]
    assert result.standard_error.tolist() == [0.0, 0.0]


# Play, against a twin


class TwinLabyrinth:
    """One labyrinth in plain Python."""

    def __init__(self, rng):
        state = generate(rng, 1)
        self.walls = {(int(r), int(c)) for r, c in np.argwhere(state.walls[0])}
        self.keys = {(int(r), int(c)) for r, c in np.argwhere(state.keys[0])}
        self.player = (1, 1)
        self.steps = 0

    def step(self, action):
        rows, columns = [(1, 0), (0, 1), (-1, 0), (0, -1)][action]
        moved = (self.player[0] + rows, self.player[1] + columns)
        if moved not in self.walls:
            self.player = moved
        self.steps += 1
        if self.player in self.keys:
            self.keys.remove(self.player)
            return 1.0
        return -0.1

    def tiles(self):
        def code(cell):
            if cell == self.player:
                return PLAYER
            return WALL if cell in self.walls else KEY if cell in self.keys else PATH

        return np.array([[code((r, c)) for c in range(8)] for r in range(8)], dtype=np.uint8)


def twin_action(architecture, agent, observer, maze, rng, depth, epsilon):
    picture = torch.from_numpy(observer(maze.tiles())).to(agent["q.0.bias"].dtype)[None]
    states = networks.encode(architecture, agent, picture)
    best = int(planned_q_values(architecture, agent, states, depth)[0].argmax())
    explore = rng.random(1)[0] < epsilon
    other = int(rng.integers(4, size=1)[0])
    return other if explore else best


def twin_score(architecture, agent, observer, rng, depth, epsilon, steps, cap):
    maze = TwinLabyrinth(rng)
    total, episodes, lengths, keys = 0.0, 1, [0], 0
    for t in range(steps):
        reward = maze.step(twin_action(architecture, agent, observer, maze, rng, depth, epsilon))
        total += reward
        keys += reward > 0
        lengths[-1] += 1
        if not maze.keys or maze.steps == cap:
            maze = TwinLabyrinth(rng)
            if t + 1 < steps:
                episodes += 1
                lengths.append(0)
    return total / episodes, episodes, keys / episodes, sum(lengths) / len(lengths)


@pytest.mark.parametrize(
    ("architecture", "observer", "depth", "epsilon", "steps", "cap"),
    [
        (LABYRINTH_SYMBOLIC, SYMBOLIC, 2, 0.6, 110, 50),
        (LABYRINTH_SYMBOLIC, Observer("labyrinth", "symbolic", "inverse"), 0, 0.9, 300, 50),
        (LABYRINTH, PIXELS, 3, 0.7, 36, 12),
    ],
    ids=["symbolic", "inverse", "pixels"],
)
def test_score_matches_a_twin_that_plays_step_by_step(
    architecture, observer, depth, epsilon, steps, cap
):
    agents = [random_agent(architecture, seed, torch.float64) for seed in range(2)]
    with torch.no_grad():
        expected = [
            twin_score(architecture, agent, observer, rng, depth, epsilon, steps, cap)
            for agent, rng in zip(agents, rngs(10, 11), strict=True)
        ]
    result = evaluate_labyrinth(
        architecture,
        networks.stack(agents),
        observer,
        rngs(10, 11),
        depth=depth,
        epsilon=epsilon,
        steps=steps,
        episode_cap=cap,
    )
    assert sum(keys for _, _, keys, _ in expected) > 0
    for index, (score, episodes, keys, length) in enumerate(expected):
        assert result.scores[index, 0] == pytest.approx(score, abs=1e-12)
        assert result.episodes[index, 0] == episodes
        assert result.keys[index, 0] == pytest.approx(keys, abs=1e-12)
        assert result.lengths[index, 0] == pytest.approx(length, abs=1e-12)


def test_one_whole_episode_matches_the_twin():
    agent = random_agent(LABYRINTH_SYMBOLIC, 3, torch.float64)
    for seed in range(5):
        (rng,) = rngs(seed)
        maze, total = TwinLabyrinth(rng), 0.0
        with torch.no_grad():
            while maze.keys and maze.steps < 50:
                total += maze.step(
                    twin_action(LABYRINTH_SYMBOLIC, agent, SYMBOLIC, maze, rng, 1, 0.8)
                )
        result = evaluate_episodes(
            LABYRINTH_SYMBOLIC,
            networks.stack([agent]),
            SYMBOLIC,
            rngs(seed),
            episodes=1,
            depth=1,
            epsilon=0.8,
        )
        assert result.returns.item() == pytest.approx(total, abs=1e-12)
        assert result.lengths.item() == maze.steps
        assert result.keys.item() == 3 - len(maze.keys)


@pytest.mark.parametrize("play", [evaluate_labyrinth, evaluate_episodes])
def test_a_member_plays_the_same_alone_and_in_any_company(play):
    agents = [random_agent(LABYRINTH_SYMBOLIC, seed) for seed in range(3)]
    options = {"depth": 1, "epsilon": 0.6}
    count = {"environments": 3, "steps": 60} if play is evaluate_labyrinth else {"episodes": 3}
    together = play(
        LABYRINTH_SYMBOLIC, networks.stack(agents), SYMBOLIC, rngs(0, 1, 2), **options, **count
    )
    order = [2, 0, 1]
    shuffled = play(
        LABYRINTH_SYMBOLIC,
        networks.stack([agents[i] for i in order]),
        SYMBOLIC,
        rngs(*order),
        **options,
        **count,
    )
    for index, agent in enumerate(agents):
        alone = play(
            LABYRINTH_SYMBOLIC, networks.stack([agent]), SYMBOLIC, rngs(index), **options, **count
        )
        for name in together.__dataclass_fields__:
            own = getattr(together, name)[index]
            np.testing.assert_array_equal(own, getattr(alone, name)[0])
            np.testing.assert_array_equal(own, getattr(shuffled, name)[order.index(index)])


def test_mean_and_standard_error_are_those_of_the_environments():
    agents = [random_agent(LABYRINTH_SYMBOLIC, seed) for seed in range(2)]
    result = evaluate_labyrinth(
        LABYRINTH_SYMBOLIC,
        networks.stack(agents),
        SYMBOLIC,
        rngs(0, 1),
        depth=0,
        epsilon=1.0,
        environments=8,
    )
    assert result.scores.shape == (2, 8)
    for member in range(2):
        values = result.scores[member].tolist()
        mean = sum(values) / 8
        variance = sum((v - mean) ** 2 for v in values) / 7
        assert result.mean[member] == pytest.approx(mean, abs=1e-12)
        assert result.standard_error[member] == pytest.approx(math.sqrt(variance / 8), abs=1e-12)


# Exact evaluation of the simple maze


def twin_forward(agent, component, x):
    """A component of the simple maze's agent on a list of numbers, in plain Python."""
    position = 1 if component == "encoder" else 0
    while f"{component}.{position}.weight" in agent:
        weight, bias = (
            agent[f"{component}.{position}.weight"],
            agent[f"{component}.{position}.bias"],
        )
        x = [
            sum(w * v for w, v in zip(row, x, strict=True)) + b
            for row, b in zip(weight, bias, strict=True)
        ]
        position += 1
        if f"{component}.{position}.weight" in agent:
            x = [math.tanh(v) for v in x]
    return x


def twin_losses(agent, sign, double_q):
    """The simple maze's losses, one pair after another; pictures multiplied by `sign`."""
    cells = maze_cells()
    x = {
        cell: twin_forward(agent, "encoder", [sign * v for row in maze_picture(cell) for v in row])
        for cell in cells
    }
    q = {cell: twin_forward(agent, "q", x[cell]) for cell in cells}

    def repulsion(a, b):
        square = sum((u - v) ** 2 for u, v in zip(a, b, strict=True))
        return math.exp(-5 * math.sqrt(min(max(square, 1e-6), 10.0)))

    totals = dict.fromkeys(LOSSES, 0.0)
    for cell in cells:
        for action in range(4):
            after = maze_move(cell, action)
            joined = [*x[cell], *(float(action == a) for a in range(4))]
            step = twin_forward(agent, "transition", joined)
            totals["transition"] += (
                sum((a + d - b) ** 2 for a, d, b in zip(x[cell], step, x[after], strict=True)) / 2
            )
            totals["reward"] += twin_forward(agent, "reward", joined)[0] ** 2
            totals["discount"] += (0.9 - twin_forward(agent, "discount", joined)[0]) ** 2
            totals["volume"] += min(max(max(v * v for v in x[cell]) - 1, 0), 100)
            totals["consecutive_pairs"] += repulsion(x[cell], x[after])
            # With the agent as its own target, double DQN and the plain maximum agree.
            totals["q"] += (0.9 * max(q[after]) - q[cell][action]) ** 2 / 4
    losses = {name: total / 124 for name, total in totals.items()}
    losses["random_pairs"] = sum(repulsion(x[a], x[b]) for a in cells for b in cells) / 31**2
    return losses, [x[cell] for cell in cells]


@pytest.mark.parametrize("domain", ["normal", "inverse"])
def test_exact_losses_equal_a_loop_over_all_pairs(domain):
    agents = [random_agent(SIMPLE_MAZE, seed, torch.float64) for seed in range(2)]
    # Large enough states for the volume loss.
    agents[1]["encoder.5.weight"] *= 8
    observer = Observer("simple-maze", "symbolic", domain)
    for double_q in (False, True):
        result = exact_evaluation(
            SIMPLE_MAZE, networks.stack(agents), observer, LossSettings(double_q=double_q)
        )
        assert tuple(result.losses) == LOSSES
        assert result.embedding.shape == (2, 31, 2)
        assert result.embedding.dtype == np.float64
        for index, agent in enumerate(agents):
            plain = {name: p.tolist() for name, p in agent.items()}
            sign = 1 if domain == "normal" else -1
            losses, embedding = twin_losses(plain, sign, double_q)
            np.testing.assert_allclose(result.embedding[index], embedding, atol=1e-12)
            for name in LOSSES:
                assert result.losses[name][index] == pytest.approx(losses[name], abs=1e-12), name
    assert result.losses["volume"][1] > 0.1


def test_exact_evaluation_keeps_the_parameters_precision():
    agent = random_agent(SIMPLE_MAZE, 5, torch.float64)
    single = networks.stack([{name: p.float() for name, p in agent.items()}])
    rounded = exact_evaluation(SIMPLE_MAZE, single, MAZE, LossSettings())
    exact = exact_evaluation(SIMPLE_MAZE, networks.stack([agent]), MAZE, LossSettings())
    assert rounded.embedding.dtype == rounded.losses["q"].dtype == np.float32
    for name in LOSSES:
        assert rounded.losses[name][0] == pytest.approx(exact.losses[name][0], rel=1e-4)


def test_exact_evaluation_of_many_members_is_that_of_each():
    # More than are computed together at once.
    agents = [random_agent(SIMPLE_MAZE, seed, torch.float64) for seed in range(66)]
    result = exact_evaluation(SIMPLE_MAZE, networks.stack(agents), MAZE, LossSettings())
    for index in (0, 63, 64, 65):
        alone = exact_evaluation(SIMPLE_MAZE, networks.stack([agents[index]]), MAZE, LossSettings())
        np.testing.assert_allclose(result.embedding[index], alone.embedding[0], atol=1e-12)
        for name in LOSSES:
            assert result.losses[name][index] == pytest.approx(alone.losses[name][0], abs=1e-12)


def test_exact_evaluation_of_the_rendered_maze_embeds_its_31_pictures():
    agent = random_agent(SIMPLE_MAZE_PIXELS, 6, torch.float64)
    observer = Observer("simple-maze", "pixels")
    result = exact_evaluation(SIMPLE_MAZE_PIXELS, networks.stack([agent]), observer, LossSettings())
    tiles = np.array(
        [
            [
                [
                    PLAYER if (r, c) == cell else PATH if (r, c) in maze_cells() else WALL
                    for c in range(8)
                ]
                for r in range(8)
            ]
            for cell in maze_cells()
        ],
        dtype=np.uint8,
    )
    pictures = torch.from_numpy(observer(tiles)).double()
    with torch.no_grad():
        expected = networks.encode(SIMPLE_MAZE_PIXELS, agent, pictures)
    np.testing.assert_allclose(result.embedding[0], expected.numpy(), atol=1e-12)


# Held-out losses of the labyrinth


def test_held_out_transitions_are_those_of_mazes_that_training_never_saw():
    data = held_out_labyrinth(60, seed=3)
    assert data.environment == "labyrinth"
    assert len(data) == 60

    def mazes(tiles):
        return {bytes(row) for row in np.packbits((tiles == WALL).reshape(len(tiles), -1), axis=1)}

    held_out = mazes(data.tiles)
    assert len(held_out) >= 15
    training = gather("labyrinth", 20_000, stream(3, "data"))
    assert not held_out & mazes(training.tiles)
    again, other = held_out_labyrinth(60, seed=3), held_out_labyrinth(60, seed=4)
    assert np.array_equal(data.tiles, again.tiles)
    assert np.array_equal(data.actions, again.actions)
    assert not held_out & mazes(other.tiles)


def test_held_out_transitions_follow_the_rules():
    data = held_out_labyrinth(100, seed=1)
    for before, after, action, reward, terminal in zip(
        data.tiles, data.next_tiles, data.actions, data.rewards, data.terminals, strict=True
    ):
        (row, column), (r, c) = np.argwhere(before == PLAYER)[0], np.argwhere(after == PLAYER)[0]
        rows, columns = [(1, 0), (0, 1), (-1, 0), (0, -1)][action]
        target = (row + rows, column + columns)
        wall = before[target] == WALL
        assert (r, c) == ((row, column) if wall else target)
        assert reward == np.float32(1.0 if before[target] == KEY else -0.1)
        assert terminal == (not (after == KEY).any())


def small_sample(seed):
    """Forty transitions from few mazes, in random order."""
    rng = np.random.default_rng(seed)
    walk = gather("labyrinth", 400, rng, steps_per_gathering=80)
    rows = rng.permutation(400)[:40]
    return TransitionData(
        "labyrinth",
        walk.tiles[rows],
        walk.next_tiles[rows],
        walk.actions[rows],
        walk.rewards[rows],
        walk.terminals[rows],
    )


def as_batch(data, observer, rows):
    return {
        "observation": torch.from_numpy(observer(data.tiles[rows])).double(),
        "next_observation": torch.from_numpy(observer(data.next_tiles[rows])).double(),
        "action": torch.from_numpy(data.actions[rows].astype(np.int64)),
        "reward": torch.from_numpy(data.rewards[rows]).double(),
        "terminal": torch.from_numpy(data.terminals[rows]).double(),
    }


@pytest.mark.parametrize("at_once", [1024, 7])
def test_sampled_losses_are_those_of_the_sample_as_one_batch(monkeypatch, at_once):
    monkeypatch.setattr(evaluation, "PICTURES_AT_ONCE", at_once)
    agents = [random_agent(LABYRINTH_SYMBOLIC, seed, torch.float64) for seed in range(2)]
    settings, data = LossSettings(double_q=True), small_sample(0)
    result = sampled_losses(LABYRINTH_SYMBOLIC, networks.stack(agents), SYMBOLIC, data, settings)
    batch = as_batch(data, SYMBOLIC, np.arange(40))
    assert tuple(result.mean) == tuple(result.standard_error) == LOSSES
    for index, agent in enumerate(agents):
        with torch.no_grad():
            losses = all_losses(Forward(LABYRINTH_SYMBOLIC, agent, batch, settings))
        for name in LOSSES:
            assert result.mean[name][index] == pytest.approx(losses[name].item(), abs=1e-12), name


def test_standard_errors_of_sampled_losses_are_clustered_by_maze():
    agent = random_agent(LABYRINTH_SYMBOLIC, 2, torch.float64)
    settings, data = LossSettings(double_q=True), small_sample(1)
    result = sampled_losses(LABYRINTH_SYMBOLIC, networks.stack([agent]), SYMBOLIC, data, settings)
    keys = [bytes((tiles == WALL).tobytes()) for tiles in data.tiles]
    assert result.mazes == len(set(keys)) > 2
    for name in ("transition", "reward", "discount", "volume", "consecutive_pairs", "q"):
        values = []
        for row in range(40):
            with torch.no_grad():
                batch = as_batch(data, SYMBOLIC, [row])
                losses = all_losses(Forward(LABYRINTH_SYMBOLIC, agent, batch, settings))
            values.append(losses[name].item())
        mean = sum(values) / 40
        sums = dict.fromkeys(keys, 0.0)
        for key, value in zip(keys, values, strict=True):
            sums[key] += value - mean
        count = len(sums)
        expected = math.sqrt(count / (count - 1) * sum(s * s for s in sums.values())) / 40
        assert result.standard_error[name][0] == pytest.approx(expected, abs=1e-13), name


def test_standard_error_without_clusters_is_the_ordinary_one():
    # One transition a maze.
    rng = np.random.default_rng(5)
    walk = gather("labyrinth", 30, rng, steps_per_gathering=1)
    agent = random_agent(LABYRINTH_SYMBOLIC, 3, torch.float64)
    result = sampled_losses(
        LABYRINTH_SYMBOLIC, networks.stack([agent]), SYMBOLIC, walk, LossSettings()
    )
    assert result.mazes == 30
    batch = as_batch(walk, SYMBOLIC, np.arange(30))
    with torch.no_grad():
        forward = Forward(LABYRINTH_SYMBOLIC, agent, batch, LossSettings())
        predicted = networks.predict_reward(
            LABYRINTH_SYMBOLIC, agent, forward.states, batch["action"]
        )
    squares = ((batch["reward"] - predicted) ** 2).numpy()
    expected = squares.std(ddof=1) / math.sqrt(30)
    assert result.standard_error["reward"][0] == pytest.approx(expected, rel=1e-12)


def test_members_batched_as_on_an_accelerator_give_the_same(monkeypatch):
    agents = [random_agent(LABYRINTH_SYMBOLIC, seed, torch.float64) for seed in range(3)]
    population, data = networks.stack(agents), small_sample(2)

    def everything():
        scores = evaluate_labyrinth(
            LABYRINTH_SYMBOLIC, population, SYMBOLIC, rngs(0, 1, 2), depth=2, epsilon=0.6, steps=30
        )
        settings = LossSettings(double_q=True)
        losses = sampled_losses(LABYRINTH_SYMBOLIC, population, SYMBOLIC, data, settings)
        return scores, losses

    scores, losses = everything()
    monkeypatch.setattr(planning, "lifted", lambda architecture, device: True)
    lifted_scores, lifted_losses = everything()
    assert np.array_equal(scores.scores, lifted_scores.scores)
    for name in LOSSES:
        for own, lifted in (
            (losses.mean, lifted_losses.mean),
            (losses.standard_error, lifted_losses.standard_error),
        ):
            np.testing.assert_allclose(own[name], lifted[name], atol=1e-12)


# What is refused


def test_wrong_input_is_refused_in_one_sentence():
    population = networks.stack([always(0)])

    def play(observer=SYMBOLIC, generators=None, **options):
        evaluate_labyrinth(
            LABYRINTH_SYMBOLIC, population, observer, generators or rngs(0), **options
        )

    with pytest.raises(InputError, match="observer of 'labyrinth', found one of 'simple-maze'"):
        play(MAZE)
    with pytest.raises(InputError, match=r"see \(1, 8, 8\), the observer shows \(1, 48, 48\)"):
        play(PIXELS)
    with pytest.raises(InputError, match="each of 1 members, got 2"):
        play(generators=rngs(0, 1))
    with pytest.raises(InputError, match=r"epsilon must be from 0 to 1, found 1\.5"):
        play(epsilon=1.5)
    with pytest.raises(InputError, match="depth must be from 0 to 6, found 7"):
        play(depth=7)
    for name in ("steps", "episode_cap", "environments"):
        with pytest.raises(InputError, match=f"{name} must be at least 1, found 0"):
            play(**{name: 0})
    with pytest.raises(InputError, match="episodes must be at least 1"):
        evaluate_episodes(LABYRINTH_SYMBOLIC, population, SYMBOLIC, rngs(0), episodes=0)
    with pytest.raises(InputError, match="observer of 'simple-maze'"):
        exact_evaluation(LABYRINTH_SYMBOLIC, population, SYMBOLIC, LossSettings())
    with pytest.raises(InputError, match="at least 2 transitions, found 1"):
        sampled_losses(
            LABYRINTH_SYMBOLIC,
            population,
            SYMBOLIC,
            gather("labyrinth", 1, np.random.default_rng(0)),
            LossSettings(),
        )
    with pytest.raises(InputError, match="transitions must be at least 1"):
        held_out_labyrinth(0)

"""Scores against hand-made play and a twin that plays step by step."""

import math

import numpy as np
import pytest
import torch

from crar_diag.agent import evaluation, lifting, networks
from crar_diag.agent.architecture import LABYRINTH, LABYRINTH_SYMBOLIC
from crar_diag.agent.evaluation import evaluate_episodes, evaluate_labyrinth
from crar_diag.agent.planning import planned_q_values
from crar_diag.agent.streams import episode_streams
from crar_diag.envs.mazes import from_maps, generate
from crar_diag.envs.observer import Observer
from crar_diag.envs.tiles import KEY, PATH, PLAYER, WALL
from crar_diag.errors import InputError

SYMBOLIC = Observer("labyrinth", "symbolic")
PIXELS = Observer("labyrinth", "pixels")

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


def streams(*seeds):
    return [episode_streams(seed) for seed in seeds]


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
        architecture, population, observer, streams(0), epsilon=0.0, depth=depth, environments=2
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
        LABYRINTH_SYMBOLIC, population, SYMBOLIC, streams(0), steps=6, **options
    )
    cut = evaluate_labyrinth(
        LABYRINTH_SYMBOLIC, population, SYMBOLIC, streams(0), steps=7, **options
    )
    assert (whole.episodes.item(), cut.episodes.item()) == (2, 3)
    assert whole.scores.item() == pytest.approx(-0.3, abs=1e-15)
    assert cut.scores.item() == pytest.approx(-0.7 / 3, abs=1e-15)
    assert math.isnan(cut.standard_error.item())


def test_taking_all_keys_ends_an_episode(monkeypatch):
    monkeypatch.setattr(evaluation, "generate", lambda rng, n: from_maps([CORRIDOR] * n))
    population = networks.stack([always(1), always(0)])
    result = evaluate_labyrinth(
        LABYRINTH_SYMBOLIC, population, SYMBOLIC, streams(0, 1), epsilon=0.0, depth=1
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
        LABYRINTH_SYMBOLIC, population, SYMBOLIC, streams(0, 1), episodes=3, epsilon=0.0, depth=0
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
    first, second = rng.random(2)
    return int(4 * second) if first < epsilon else best


def twin_score(architecture, agent, observer, draws, depth, epsilon, steps, cap):
    rng = draws(0, 0)
    maze = TwinLabyrinth(rng)
    total, episodes, lengths, keys = 0.0, 1, [0], 0
    for t in range(steps):
        reward = maze.step(twin_action(architecture, agent, observer, maze, rng, depth, epsilon))
        total += reward
        keys += reward > 0
        lengths[-1] += 1
        if not maze.keys or maze.steps == cap:
            rng = draws(0, episodes)
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
            twin_score(architecture, agent, observer, draws, depth, epsilon, steps, cap)
            for agent, draws in zip(agents, streams(10, 11), strict=True)
        ]
    result = evaluate_labyrinth(
        architecture,
        networks.stack(agents),
        observer,
        streams(10, 11),
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
        rng = episode_streams(seed)(0, 0)
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
            streams(seed),
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
        LABYRINTH_SYMBOLIC, networks.stack(agents), SYMBOLIC, streams(0, 1, 2), **options, **count
    )
    order = [2, 0, 1]
    shuffled = play(
        LABYRINTH_SYMBOLIC,
        networks.stack([agents[i] for i in order]),
        SYMBOLIC,
        streams(*order),
        **options,
        **count,
    )
    for index, agent in enumerate(agents):
        alone = play(
            LABYRINTH_SYMBOLIC,
            networks.stack([agent]),
            SYMBOLIC,
            streams(index),
            **options,
            **count,
        )
        for name in together.__dataclass_fields__:
            own = getattr(together, name)[index]
            np.testing.assert_array_equal(own, getattr(alone, name)[0])
            np.testing.assert_array_equal(own, getattr(shuffled, name)[order.index(index)])


@pytest.mark.parametrize("epsilon", [0.0, 0.8])
def test_agents_of_one_seed_meet_the_same_mazes_however_they_play(monkeypatch, epsilon):
    met = []

    def note(rng, n):
        maze = generate(rng, n)
        met[-1].append((maze.walls.tobytes(), maze.keys.tobytes()))
        return maze

    monkeypatch.setattr(evaluation, "generate", note)
    agents = [always(2), always(0), *(random_agent(LABYRINTH_SYMBOLIC, seed) for seed in range(4))]
    options = {"epsilon": epsilon, "depth": 0, "steps": 400, "episode_cap": 40}
    for agent in agents:
        met.append([])
        population = networks.stack([agent])
        evaluate_labyrinth(LABYRINTH_SYMBOLIC, population, SYMBOLIC, streams(5), **options)
    longest = max(met, key=len)
    assert len(set(longest)) == len(longest) >= 10
    for mazes in met:
        assert mazes == longest[: len(mazes)]
    if epsilon:  # some ended episodes early, and so at steps of their own
        assert len({len(mazes) for mazes in met}) > 1
    met.append([])
    evaluate_labyrinth(
        LABYRINTH_SYMBOLIC, networks.stack(agents[:1]), SYMBOLIC, streams(6), **options
    )
    assert not set(met[-1]) & set(longest)


def test_agents_of_one_seed_explore_at_the_same_steps_of_an_episode():
    agents = [always(2), always(3)]
    options = {"epsilon": 1.0, "depth": 0, "steps": 300}
    result = evaluate_labyrinth(
        LABYRINTH_SYMBOLIC, networks.stack(agents), SYMBOLIC, streams(7, 7), **options
    )
    for name in result.__dataclass_fields__:
        np.testing.assert_array_equal(*getattr(result, name))
    assert result.keys[0, 0] > 0


def test_more_environments_or_episodes_begin_with_those_of_fewer():
    population = networks.stack([random_agent(LABYRINTH_SYMBOLIC, 0)])
    fixed = (LABYRINTH_SYMBOLIC, population, SYMBOLIC, streams(3))
    options = {"epsilon": 0.7, "depth": 1}
    few, many = (evaluate_labyrinth(*fixed, environments=n, steps=80, **options) for n in (2, 5))
    np.testing.assert_array_equal(few.scores, many.scores[:, :2])
    assert len(set(many.scores[0])) > 1
    few, many = (evaluate_episodes(*fixed, episodes=n, **options) for n in (3, 9))
    np.testing.assert_array_equal(few.returns, many.returns[:, :3])
    np.testing.assert_array_equal(few.lengths, many.lengths[:, :3])
    assert len(set(many.returns[0])) > 1


def test_mean_and_standard_error_are_those_of_the_environments():
    agents = [random_agent(LABYRINTH_SYMBOLIC, seed) for seed in range(2)]
    result = evaluate_labyrinth(
        LABYRINTH_SYMBOLIC,
        networks.stack(agents),
        SYMBOLIC,
        streams(0, 1),
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


def test_members_batched_as_on_an_accelerator_score_the_same(monkeypatch):
    agents = [random_agent(LABYRINTH_SYMBOLIC, seed, torch.float64) for seed in range(3)]
    population = networks.stack(agents)

    def scores():
        return evaluate_labyrinth(
            LABYRINTH_SYMBOLIC,
            population,
            SYMBOLIC,
            streams(0, 1, 2),
            depth=2,
            epsilon=0.6,
            steps=30,
        ).scores

    looped = scores()
    monkeypatch.setattr(lifting, "lifted", lambda architecture, device: True)
    assert np.array_equal(looped, scores())


# What is refused


def test_wrong_input_is_refused_in_one_sentence():
    population = networks.stack([always(0)])

    def play(observer=SYMBOLIC, generators=None, **options):
        evaluate_labyrinth(
            LABYRINTH_SYMBOLIC, population, observer, generators or streams(0), **options
        )

    with pytest.raises(InputError, match="observer of 'labyrinth', found one of 'simple-maze'"):
        play(Observer("simple-maze", "symbolic"))
    with pytest.raises(InputError, match=r"see \(1, 8, 8\), the observer shows \(1, 48, 48\)"):
        play(PIXELS)
    with pytest.raises(InputError, match="streams of each of 1 members, got those of 2"):
        play(generators=streams(0, 1))
    with pytest.raises(InputError, match=r"epsilon must be from 0 to 1, found 1\.5"):
        play(epsilon=1.5)
    with pytest.raises(InputError, match="depth must be from 0 to 6, found 7"):
        play(depth=7)
    for name in ("steps", "episode_cap", "environments"):
        with pytest.raises(InputError, match=f"{name} must be at least 1, found 0"):
            play(**{name: 0})
    with pytest.raises(InputError, match="episodes must be at least 1"):
        evaluate_episodes(LABYRINTH_SYMBOLIC, population, SYMBOLIC, streams(0), episodes=0)

"""The graphed engine against the reference, with a capture that runs the update again."""

import pytest
import torch

from crar_diag.agent import assembly
from crar_diag.agent.architecture import LABYRINTH_SYMBOLIC, SIMPLE_MAZE
from crar_diag.agent.config import MODES
from crar_diag.agent.engine import ReferenceEngine
from crar_diag.agent.graphed import GraphedEngine
from crar_diag.agent.population import MemberRule
from crar_diag.errors import InputError
from tests.agent.populations import make


class Capture:
    """Counts what is captured, and how often it is replayed."""

    def __init__(self):
        self.captured, self.replayed = 0, 0

    def __call__(self, work):
        self.captured += 1

        def replay():
            self.replayed += 1
            work()

        return replay


def assert_same(found, expected):
    for name, value in expected.state().items():
        assert torch.equal(found.state()[name], value), name


@pytest.mark.parametrize("architecture", [SIMPLE_MAZE, LABYRINTH_SYMBOLIC], ids=lambda a: a.name)
@pytest.mark.parametrize("mode", MODES)
def test_it_ends_where_the_reference_ends(mode, architecture):
    capture = Capture()
    here, replay = make(mode=mode, architecture=architecture)
    there, other = make(mode=mode, architecture=architecture)
    engine = GraphedEngine(capture)
    # Over three epochs of four updates, with copies of the targets every three.
    found = [engine.advance(here, replay, updates).sums for updates in (1, 4, 5)]
    expected = [ReferenceEngine().advance(there, other, updates).sums for updates in (1, 4, 5)]
    for one, two in zip(found, expected, strict=True):
        assert (one == two).all()
    assert_same(here, there)
    assert (capture.captured, capture.replayed) == (2, 10)


def test_a_member_that_diverges_stays_where_it_was():
    members = [MemberRule(1e-3), MemberRule(1e200)]
    here, replay = make(members)
    there, other = make(members)
    for population, data, engine in (
        (here, replay, GraphedEngine(Capture())),
        (there, other, ReferenceEngine()),
    ):
        for _ in range(3):
            engine.advance(population, data, 3)
    assert (there.diverged_at >= 0).tolist() == [False, True]
    assert_same(here, there)


def test_another_population_is_captured_anew():
    capture = Capture()
    engine = GraphedEngine(capture)
    for seed in range(2):
        here, replay = make(seeds=[seed] * 4)
        there, other = make(seeds=[seed] * 4)
        engine.advance(here, replay, 4)
        ReferenceEngine().advance(there, other, 4)
        assert_same(here, there)
    assert capture.captured == 4


def test_changes_between_two_calls_are_seen():
    here, replay = make()
    there, other = make()
    engine = GraphedEngine(Capture())
    for population, data, own in ((here, replay, engine), (there, other, ReferenceEngine())):
        own.advance(population, data, 2)
        population.agents()["encoder.1.weight"][1] *= -1.0  # as realignment does
        own.advance(population, data, 3)
    assert_same(here, there)


def test_it_is_for_cuda():
    _, replay = make()
    with pytest.raises(InputError, match=r"^engine = 'graphed' trains on cuda, not on cpu; use"):
        assembly.choose_engine("graphed", SIMPLE_MAZE, replay)
    replay.device = torch.device("cuda")
    assert isinstance(assembly.choose_engine("auto", SIMPLE_MAZE, replay), GraphedEngine)
    assert type(assembly.choose_engine("reference", SIMPLE_MAZE, replay)) is ReferenceEngine


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("mode", MODES)
def test_on_cuda_a_graph_ends_where_the_reference_ends(mode):
    ends = []
    for engine in (GraphedEngine(), ReferenceEngine()):
        population, replay = make(mode=mode)
        population, replay = population.to("cuda"), replay_on_cuda(replay)
        for updates in (1, 4, 5):
            engine.advance(population, replay, updates)
        ends.append(population.parameters.cpu())
    torch.testing.assert_close(*ends, rtol=0, atol=1e-9)


def replay_on_cuda(replay):
    from crar_diag.agent.replay import Replay
    from tests.agent.populations import rewarding_maze

    data = [rewarding_maze(seed) for seed in replay.seeds]
    observers = [one.observer for one in replay.members]
    return Replay(data, observers, replay.seeds, replay.batch_size, torch.float64, "cuda")

"""The graphed engine against the reference, with a capture that runs the update again."""

import numpy as np
import pytest
import torch

from crar_diag.agent import assembly
from crar_diag.agent import replay as replay_module
from crar_diag.agent.architecture import LABYRINTH, LABYRINTH_SYMBOLIC, SIMPLE_MAZE
from crar_diag.agent.config import MODES
from crar_diag.agent.engine import ReferenceEngine
from crar_diag.agent.graphed import GraphedEngine
from crar_diag.agent.population import MemberRule
from crar_diag.agent.replay import Replay
from crar_diag.errors import CrarDiagError, InputError
from tests.agent.populations import make, rewarding_maze


class Capture:
    """Counts what is captured, and how often it is replayed."""

    def __init__(self):
        self.captured, self.replayed = 0, 0

    def __call__(self, device):
        assert device.type == "cpu"
        return self._capture

    def _capture(self, work):
        self.captured += 1
        for _ in range(3):
            work()

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


def test_a_population_that_moved_in_memory_is_captured_anew():
    capture = Capture()
    here, replay = make()
    there, other = make()
    engine = GraphedEngine(capture)
    engine.advance(here, replay, 2)
    here.parameters = here.parameters.clone()
    engine.advance(here, replay, 2)
    ReferenceEngine().advance(there, other, 4)
    assert_same(here, there)
    assert capture.captured == 4


def test_what_cannot_be_captured_leaves_everything_as_it_was():
    def captures(device):
        def fail(work):
            work()
            raise CrarDiagError("the update cannot be captured")

        return fail

    here, replay = make()
    there, _ = make()
    with pytest.raises(CrarDiagError, match="cannot be captured"):
        GraphedEngine(captures).advance(here, replay, 3)
    assert_same(here, there)


def test_it_is_for_cuda():
    _, replay = make()
    with pytest.raises(InputError, match=r"^engine = 'graphed' trains on cuda, not on cpu; use"):
        assembly.choose_engine("graphed", SIMPLE_MAZE, replay)
    replay.device = torch.device("cuda")
    assert isinstance(assembly.choose_engine("auto", SIMPLE_MAZE, replay), GraphedEngine)
    assert type(assembly.choose_engine("reference", SIMPLE_MAZE, replay)) is ReferenceEngine


CASES = {
    "dense": {"architecture": SIMPLE_MAZE},
    "mixed pictures": {"architecture": SIMPLE_MAZE, "domains": ["normal", "inverse"] * 2},
    "convolutions": {"architecture": LABYRINTH, "double_q": True},
    "whole pictures": {"architecture": LABYRINTH, "domains": ["noise"] * 4},
    "single precision": {"architecture": LABYRINTH, "dtype": torch.float32},
}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("table", [True, False], ids=["table", "rendered"])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("mode", MODES)
def test_on_cuda_a_graph_ends_where_the_reference_ends(mode, case, table, monkeypatch):
    monkeypatch.setattr(replay_module, "TABLE_LIMIT", 4096 if table else 0)
    given = {"domains": ["normal"] * 4} | CASES[case]
    ends, sums = [], []
    for engine in (GraphedEngine(), ReferenceEngine()):
        population, replay = on_cuda(*make(mode=mode, **given))
        sums.append([engine.advance(population, replay, n).sums for n in (1, 4, 5)])
        ends.append({name: tensor.cpu() for name, tensor in population.state().items()})
    tolerance = 1e-5 if given.get("dtype") == torch.float32 else 1e-9
    for name, tensor in ends[0].items():
        torch.testing.assert_close(tensor, ends[1][name], rtol=tolerance, atol=tolerance)
    for graph, reference in zip(*sums, strict=True):
        np.testing.assert_allclose(graph, reference, rtol=10 * tolerance)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_cuda_two_engines_and_a_member_that_diverges():
    members = [MemberRule(1e-3), MemberRule(1e200)]
    ends = []
    for engine in (GraphedEngine(), ReferenceEngine(), GraphedEngine()):
        population, replay = on_cuda(*make(members))
        for _ in range(3):
            engine.advance(population, replay, 3)
        ends.append(population.state())
    assert (ends[0]["diverged_at"] >= 0).tolist() == [False, True]
    for name, tensor in ends[0].items():
        for other in ends[1:]:
            torch.testing.assert_close(tensor, other[name], rtol=0, atol=1e-9)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_on_another_device_than_the_first():
    population, replay = on_cuda(*make(), device="cuda:1")
    before = population.parameters.clone()
    GraphedEngine().advance(population, replay, 4)
    assert not torch.equal(population.parameters, before)
    there, other = make()
    ReferenceEngine().advance(there, other, 4)
    torch.testing.assert_close(population.parameters.cpu(), there.parameters, rtol=0, atol=1e-9)


def on_cuda(population, replay, device="cuda"):
    """Return both on a device."""
    environment = "labyrinth" if population.architecture is LABYRINTH else "simple-maze"
    data = [rewarding_maze(seed, 400, environment) for seed in replay.seeds]
    observers = [one.observer for one in replay.members]
    dtype = population.parameters.dtype
    moved = Replay(data, observers, replay.seeds, replay.batch_size, dtype, device)
    return population.to(device), moved

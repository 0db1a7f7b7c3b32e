import numpy as np
import pytest
import torch

from crar_diag.agent import replay as replay_module
from crar_diag.agent.replay import Replay, Transitions
from crar_diag.agent.streams import batch_draws, stream
from crar_diag.envs.data import exact_transitions, gather
from crar_diag.envs.observer import Observer
from crar_diag.errors import InputError

MAZE = Observer("simple-maze", "symbolic")
CPU = torch.device("cpu")


def data_of(environment: str, seed: int, transitions: int = 60):
    marked = environment == "simple-maze"
    return gather(environment, transitions, stream(seed, "data"), marked, 20)


@pytest.mark.parametrize(
    ("environment", "observation", "domain"),
    [
        ("simple-maze", "symbolic", "normal"),
        ("simple-maze", "pixels", "inverse"),
        ("labyrinth", "symbolic", "noise"),
    ],
)
@pytest.mark.parametrize("limit", [0, 4096])
def test_a_batch_is_the_transitions_as_the_observer_shows_them(
    monkeypatch, environment, observation, domain, limit
):
    monkeypatch.setattr(replay_module, "TABLE_LIMIT", limit)
    data, observer = data_of(environment, 0), Observer(environment, observation, domain)
    stored = Transitions.of(data, observer, torch.float64, CPU)
    assert len(stored) == 60
    assert (stored.table is None) == (limit == 0)
    rows = torch.tensor([3, 19, 3, 59])
    batch = stored.batch(rows)
    expected = {
        "observation": observer(torch.from_numpy(data.tiles))[rows].double(),
        "next_observation": observer(torch.from_numpy(data.next_tiles))[rows].double(),
        "action": torch.from_numpy(data.actions)[rows].long(),
        "reward": torch.from_numpy(data.rewards)[rows].double(),
        "terminal": torch.from_numpy(data.terminals)[rows].double(),
    }
    assert batch.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(batch[name], value, rtol=0, atol=0)
    if environment == "simple-maze":  # the marked last step of a gathering shows nothing after it
        assert batch["terminal"].tolist() == [0, 1, 0, 1]
        assert not batch["next_observation"][1].any()


def test_the_simple_maze_is_stored_as_its_31_pictures():
    stored = Transitions.of(exact_transitions(), MAZE, torch.float32, CPU)
    assert stored.tiles.shape == (31, 8, 8)
    assert stored.table.shape == (31, 1, 8, 8)
    assert stored.table.dtype == torch.float32


def test_each_member_draws_from_its_own_data_by_its_own_seed():
    data = [data_of("simple-maze", seed, 60 + seed) for seed in (4, 9)]
    replay = Replay(data, [MAZE, MAZE], [4, 9], batch_size=8)
    for m, seed in enumerate((4, 9)):
        draws = replay.draws(m, 5, 3)
        np.testing.assert_array_equal(draws, batch_draws(seed, 5, 3, 8, 60 + seed))
        assert draws.max() < 60 + seed
    rows = torch.tensor([[0, 1, 2], [60, 61, 62]])
    batches = replay.batches(rows)
    assert batches["observation"].shape == (2, 3, 1, 8, 8)
    for m in range(2):
        alone = Replay(data[m : m + 1], [MAZE], [0]).batches(rows[m : m + 1])
        for name, value in batches.items():
            assert torch.equal(value[m], alone[name][0])


@pytest.mark.parametrize("limit", [0, 4096])
def test_pictures_of_all_members_are_kept_once(monkeypatch, limit):
    monkeypatch.setattr(replay_module, "TABLE_LIMIT", limit)
    data = [data_of("labyrinth", 0), data_of("labyrinth", 1, 70)]
    observer = Observer("labyrinth", "symbolic")
    replay = Replay([data[0], data[1], data[0]], [observer] * 3, [0, 1, 2], batch_size=4)
    before = list(replay.members)
    rows = torch.tensor([[0, 59], [69, 3], [5, 5]])
    batches = replay.batches(rows)
    for m, own in enumerate(before):
        for name, values in own.batch(rows[m]).items():
            assert torch.equal(batches[name][m], values)
            assert torch.equal(replay.members[m].batch(rows[m])[name], values)
    assert replay.members[0] is replay.members[2]
    whole = replay._joined.all.tiles.untyped_storage().data_ptr()
    assert {one.tiles.untyped_storage().data_ptr() for one in replay.members} == {whole}
    assert replay.part(slice(1, 3)).batches(rows[1:])["action"].equal(batches["action"][1:])


def test_members_that_see_differently_are_shown_their_own_pictures():
    data = [data_of("simple-maze", seed) for seed in range(2)]
    replay = Replay(data, [MAZE, Observer("simple-maze", "symbolic", "inverse")], [0, 1])
    batches = replay.batches(torch.tensor([[1, 2], [3, 4]]))
    for m, rows in enumerate(([1, 2], [3, 4])):
        own = replay.members[m].batch(torch.tensor(rows))
        assert torch.equal(batches["observation"][m], own["observation"])


def test_shared_data_are_stored_once():
    one, other, inverse = data_of("simple-maze", 0), data_of("simple-maze", 0), MAZE
    inverse = Observer("simple-maze", "symbolic", "inverse")
    replay = Replay([one, one, other, one], [MAZE, MAZE, MAZE, inverse], [0, 1, 2, 3])
    assert replay.members[0] is replay.members[1]
    assert len({id(member) for member in replay.members}) == 3
    torch.testing.assert_close(replay.members[3].table, -replay.members[0].table)


def test_a_population_needs_as_many_of_everything():
    data = data_of("simple-maze", 0)
    with pytest.raises(InputError, match=r"one seed a member, got 2, 2 and 1$"):
        Replay([data, data], [MAZE, MAZE], [0])
    with pytest.raises(InputError, match=r"got 0, 0 and 0$"):
        Replay([], [], [])

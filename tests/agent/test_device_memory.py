"""What a population takes on a device, and the sentence where it does not fit."""

import pytest
import torch

from crar_diag.agent import device_memory, jobs
from crar_diag.agent.architecture import LABYRINTH, SIMPLE_MAZE
from crar_diag.agent.config_sources import build_config
from crar_diag.agent.device_memory import check_fits, check_room, member_bytes
from crar_diag.agent.jobs import job_of
from crar_diag.errors import InputError

MAZE = build_config("simple-maze", "quick")
LABYRINTHS = build_config("labyrinth", "quick")


def test_a_layers_values_are_counted_by_hand():
    # 48 x 48 of 8 and of 16 channels, 24 x 24 of 32, 8 x 8 of 3.
    assert device_memory._values(LABYRINTH, "encoder") == 48**2 * 24 + 24**2 * 32 + 64 * 3
    assert device_memory._values(SIMPLE_MAZE, "encoder") == 200 + 100 + 50 + 10 + 2
    # 8 x 8 of 16 and 32, 4 x 4 of 16 and 4, then dense layers.
    heads = 64 * 48 + 16 * 20 + 200 + 50 + 20 + 1
    assert device_memory._values(LABYRINTH, "reward") == heads


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("mode", ["sequential", "joint"])
def test_a_members_state_is_what_a_population_has(precision, mode):
    options = {"precision": precision, "optimizer.mode": mode, "data.transitions": 40}
    config = MAZE.model_copy(
        update={
            "precision": precision,
            "optimizer": MAZE.optimizer.model_copy(update={"mode": mode}),
            "data": MAZE.data.model_copy(update={"transitions": options["data.transitions"]}),
        }
    )
    population = job_of(config, torch.device("cpu")).population
    held = (population.parameters, population.target, population.squares)
    state = sum(tensor.nbytes for tensor in held)
    beside = member_bytes(config, SIMPLE_MAZE) - state
    smaller = config.model_copy(update={"batch_size": 2})
    # What is left grows with the batch, but for the data and their pictures.
    data = 40 * device_memory.TRANSITION_BYTES
    data += 2 * 31 * 64 * torch.finfo(getattr(torch, precision)).bits // 8
    rest = member_bytes(smaller, SIMPLE_MAZE) - state - data
    assert (beside - data) / rest == pytest.approx(config.batch_size / 2)


@pytest.mark.parametrize("transitions", [300, 2000])
def test_pictures_that_a_labyrinth_keeps_have_room(transitions):
    data = LABYRINTHS.data.model_copy(update={"transitions": transitions})
    job = job_of(LABYRINTHS.model_copy(update={"data": data}), torch.device("cpu"))
    kept = len(job.replay.members[0].table)
    assert kept <= device_memory._pictures_kept(job.config) <= 12 * kept
    assert device_memory._pictures_kept(LABYRINTHS) > 0
    assert device_memory._pictures_kept(build_config("labyrinth", "paper")) == 0


def test_what_does_not_fit_is_said_with_what_would():
    each = member_bytes(LABYRINTHS, LABYRINTH)
    free = device_memory._BASE_BYTES + 10.5 * each
    check_room(LABYRINTHS, LABYRINTH, 10, free, "cuda:0")
    with pytest.raises(
        InputError, match=r"^11 agents need about .* GB on 'cuda:0', which"
    ) as error:
        check_room(LABYRINTHS, LABYRINTH, 11, free, "cuda:0")
    assert str(error.value).endswith(" GB free: at most 10 fit")
    assert error.value.arguments == ("shard_size",)
    with pytest.raises(InputError, match=r": not one fits$") as error:
        check_room(LABYRINTHS, LABYRINTH, 1, 1e6, "cuda:0")
    assert error.value.arguments == ("device",)


def test_a_cuda_device_is_asked_before_anything_is_put_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (10**6, 10**9))
    check_fits(LABYRINTHS, LABYRINTH, 1000, torch.device("cpu"))
    with pytest.raises(InputError, match=r"^1000 agents need about"):
        check_fits(LABYRINTHS, LABYRINTH, 1000, torch.device("cuda"))
    asked = []
    monkeypatch.setattr(jobs, "check_fits", lambda *given: asked.append(given))
    jobs.check(MAZE)
    assert asked == [(MAZE, SIMPLE_MAZE, len(MAZE.seeds), torch.device("cpu"))]

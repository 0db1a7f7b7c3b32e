"""What became of transfers, against hand-made embeddings and the histories' own numbers."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from crar_diag.agent import networks, probes, transfer, variants
from crar_diag.agent.config import LOSSES
from crar_diag.agent.history import read_history
from crar_diag.agent.loading import load_agent
from crar_diag.agent.loss_evaluation import held_out_labyrinth
from crar_diag.agent.realignment import fold
from crar_diag.agent.run import read_run
from crar_diag.agent.training import RunInterruptedError, Watch, train
from crar_diag.embedding import outcome
from crar_diag.embedding.kinds import KINDS, Thresholds, classify
from crar_diag.embedding.outcome import (
    HELD_OUT_MAZES,
    NO_BASE,
    base_embedding,
    held_out_tiles,
    read_outcomes,
)
from crar_diag.envs.observer import Observer
from crar_diag.errors import InputError
from tests.agent import by_hand
from tests.runs import (
    BASES,
    HELD_OUT,
    labyrinth_config,
    maze_config,
    save_agent,
    trained,
    transfer_config,
)

BASE = BASES / "base-seed1.safetensors"


def turn(degrees: float) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, -s], [s, c]])


def mirror(degrees: float) -> np.ndarray:
    """Across the line at that angle."""
    c, s = np.cos(np.radians(2 * degrees)), np.sin(np.radians(2 * degrees))
    return np.array([[c, s], [s, -c]])


# By the seed of the transfer: the map of its base's embedding with which it begins.
MAPS = {0: turn(0), 1: turn(180), 2: turn(90), 3: mirror(90), 4: mirror(60), 5: 0.01 * turn(20)}
WHAT = {0: "identity", 1: "swap", 2: "rotation", 3: "mirror", 4: "mirror", 5: "collapsed"}


@pytest.fixture(autouse=True)
def few_held_out(monkeypatch):
    monkeypatch.setattr(probes, "HELD_OUT_TRANSITIONS", HELD_OUT)


def mapped_start(architecture, variant, base, seed, dtype, restart):
    """As `variants.start`, but an original transfer begins at its base's embedding, mapped."""
    if variant != "original":
        return variants.start(architecture, variant, base, seed, dtype, restart)
    oracle = variants.start(architecture, "oracle", base, seed, dtype)
    return fold(architecture, oracle, MAPS[seed])


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """Transfers that hardly move from where they begin, and the points of reference."""
    config = transfer_config(
        [BASE, BASES / "base-seed2.safetensors"],
        variants="original,scratch,oracle",
        seeds="0:6",
        learning_rates="1e-9",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transfer, "start", mapped_start)
        return trained(config, tmp_path_factory.mktemp("outcomes") / "run")


@pytest.fixture(scope="module")
def outcomes(run):
    return read_outcomes(run)


def states_of(base: str) -> np.ndarray:
    parameters = load_agent(BASES / f"{base}.safetensors").parameters
    return by_hand.encode(parameters, by_hand.maze_pictures())


# The simple maze


def test_kinds_are_those_of_hand_made_embeddings(outcomes):
    seen = set()
    for m, variant in enumerate(outcomes.variant):
        if variant == "original":
            kind = WHAT[int(outcomes.seed[m])]
            assert (outcomes.kinds[m] == kind).all(), outcomes.members[m]
            seen.add(kind)
    assert seen == set(WHAT.values())
    assert set(WHAT.values()) <= set(KINDS)


def test_numbers_are_those_of_the_embeddings_mapped_by_hand(outcomes):
    for m, variant in enumerate(outcomes.variant):
        if variant != "original":
            continue
        states = states_of(outcomes.base[m])
        matrix = MAPS[int(outcomes.seed[m])]
        moved = states @ matrix.T
        distance = np.sqrt(((moved - states) ** 2).sum(1)).mean()
        np.testing.assert_allclose(outcomes.numbers["distance"][m], distance, atol=2e-4)
        expected = classify(states, moved)
        kind = outcomes.kinds[m, -1]
        names = ["identity_residual", "residual", "margin", "reflected", "spread"]
        names += ["axis"] if kind == "mirror" else ["angle"] if kind != "swap" else []
        for name in names:
            np.testing.assert_allclose(
                outcomes.numbers[name][m], getattr(expected, name), atol=5e-3, err_msg=name
            )
        assert (outcomes.numbers["displacement"][m, 1:] < 1e-3).all()
        assert np.isnan(outcomes.numbers["displacement"][m, 0])


def test_an_oracle_is_the_identity_at_every_time(outcomes):
    oracles = outcomes.variant == "oracle"
    assert oracles.sum() == 2
    assert (outcomes.kinds[oracles] == "identity").all()
    assert (outcomes.numbers["distance"][oracles] < 1e-5).all()
    assert (outcomes.numbers["displacement"][oracles, 1:] == 0).all()


def test_a_transfer_from_scratch_has_no_base_to_be_compared_with(outcomes):
    scratch = outcomes.variant == "scratch"
    assert scratch.sum() == 6
    assert (outcomes.kinds[scratch] == NO_BASE).all()
    assert (outcomes.base[scratch] == "").all()
    assert all(np.isnan(values[scratch]).all() for values in outcomes.numbers.values())


def test_members_are_described_as_in_the_history(outcomes, run):
    config = read_run(run).config
    transfers = config.transfers()
    assert outcomes.path == run
    assert outcomes.config == config
    assert outcomes.members.tolist() == outcomes.transfer.tolist() == [t.name for t in transfers]
    assert outcomes.variant.tolist() == [t.variant for t in transfers]
    assert outcomes.seed.tolist() == [t.seed for t in transfers]
    assert outcomes.learning_rate.tolist() == [t.learning_rate for t in transfers]
    assert outcomes.restart.tolist() == [0] * len(transfers)
    assert outcomes.times.tolist() == [0, 1, 2, 5, 10, 20]
    labels = ["" if t.base is None else f"base-seed{t.base + 1}" for t in transfers]
    assert outcomes.base.tolist() == labels
    assert outcomes.unfrozen.tolist() == [t.variant == "scratch" for t in transfers]
    history = read_history(run / "history.h5")["evaluation"].expected_loss.values
    np.testing.assert_array_equal(outcomes.losses, history)
    np.testing.assert_array_equal(outcomes.transition, history[:, :, LOSSES.index("transition")])
    assert np.isnan(outcomes.score).all()
    assert (outcomes.realigned == 0).all()
    assert outcomes.kept().tolist() == list(range(len(transfers)))


def test_thresholds_reach_the_kinds(run):
    strict = read_outcomes(run, Thresholds(fit=0.0, collapsed=0.0))
    own = strict.variant == "original"
    assert set(strict.kinds[own].ravel()) == {"other"}
    loose = read_outcomes(run, Thresholds(collapsed=2.0))
    assert set(loose.kinds[own].ravel()) == {"collapsed"}


def test_a_swap_that_is_realigned_becomes_the_identity_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(transfer, "start", mapped_start)
    config = transfer_config(
        [BASE], "realign.every=1", seeds="0:2", learning_rates="1e-9", updates=30
    )
    found = read_outcomes(trained(config, tmp_path / "run"))
    assert found.times.tolist() == [0, 1, 2, 5, 10, 20, 30]
    assert found.kinds.tolist() == [["identity"] * 7, ["swap"] * 4 + ["identity"] * 3]
    assert found.realigned.tolist() == [[0] * 7, [0] * 4 + [1] * 3]
    # At once it moves from x to -x: by twice its own size.
    moves = [0, 0, 0, 2, 0, 0]
    np.testing.assert_allclose(found.numbers["displacement"][1, 1:], moves, atol=1e-3)


# Restarts


def test_of_restarts_the_best_by_the_final_transition_loss_is_kept(outcomes):
    final = np.array([0.3, 0.1, 0.2, 0.5, np.nan, 0.4, np.nan, np.nan])
    losses = np.full((8, 2, len(LOSSES)), 0.01)
    losses[:, -1, LOSSES.index("transition")] = final
    several = replace(
        outcomes,
        losses=losses,
        transfer=np.array(["b", "b", "b", "a", "a", "a", "c", "c"]),
        restart=np.array([0, 1, 2, 0, 1, 2, 0, 1]),
    )
    assert several.kept().tolist() == [1, 5, 6]
    assert several.kept(restarts=3).tolist() == [1, 5, 6]
    assert several.kept(restarts=2).tolist() == [1, 3, 6]
    assert several.kept(restarts=1).tolist() == [0, 3, 6]


def test_the_kept_restarts_are_those_of_the_files(tmp_path):
    config = transfer_config(
        [BASE], "restarts=3", variants="original,reset-encoder", seeds="0:3", learning_rates="1e-3"
    )
    found = read_outcomes(trained(config, tmp_path / "run"))
    kept = found.kept()
    agents = [load_agent(tmp_path / "run" / f"{found.transfer[m]}.safetensors") for m in kept]
    assert len(agents) == 6
    for m, agent in zip(kept, agents, strict=True):
        assert agent.metadata.configuration["restart"] == found.restart[m]
        assert agent.metadata.losses["transition"] == found.transition[m, -1]
    assert (found.restart[found.kept(restarts=1)] == 0).all()


# What is refused


def refused(path, match):
    with pytest.raises(InputError, match=match) as caught:
        read_outcomes(path)
    assert "\n" not in str(caught.value)


def test_what_is_no_finished_run_of_transfers_is_refused(tmp_path):
    train(maze_config("0", 2), tmp_path / "base")
    refused(tmp_path / "base", "^run folder '.*/base' holds base models: expected transfers$")
    (tmp_path / "other").mkdir()
    refused(tmp_path / "other", "^'.*/other' is not a run folder: expected a folder with a run.to")
    refused(tmp_path / "none", "^'.*/none' is not a run folder")
    with pytest.raises(RunInterruptedError):
        train(
            transfer_config([BASE], seeds="0:2"), tmp_path / "begun", watch=Watch(stop=lambda: True)
        )
    refused(tmp_path / "begun", "^run folder '.*/begun' is not complete: expected 2 members, miss")


def test_a_run_whose_last_files_are_being_written_is_not_finished(tmp_path, run):
    folder = shutil.copytree(run, tmp_path / "run")
    (folder / "resume.safetensors").touch()
    refused(folder, "^run folder '.*/run' is not finished: resume it first$")


def test_a_base_that_is_gone_or_changed_is_refused(tmp_path):
    base = Path(shutil.copy(BASE, tmp_path / "base.safetensors"))
    folder = trained(transfer_config([base], updates=2), tmp_path / "run")
    assert read_outcomes(folder).base.tolist() == ["base"]
    shutil.copy(BASES / "base-seed2.safetensors", base)
    refused(folder, f"^base model '{base}' is not the file that this run began with: expected SHA")
    base.unlink()
    refused(folder, f"^base model '{base}' of the run is not there: run this where it is$")


# The labyrinth


@pytest.fixture(scope="module")
def labyrinth(tmp_path_factory) -> Path:
    """Two epochs of transfers of an untrained base, scored after each."""
    folder = tmp_path_factory.mktemp("labyrinth")
    base = save_agent(folder / "base.safetensors", labyrinth_config("3"), 3)
    config = transfer_config(
        [base], "restarts=2", variants="original,scratch,oracle", learning_rates="1e-2"
    )
    return trained(config, folder / "run")


def test_a_labyrinths_oracle_is_the_identity_on_all_held_out_mazes(labyrinth):
    found = read_outcomes(labyrinth)
    (oracle,) = np.flatnonzero(found.variant == "oracle")
    assert (found.kinds[oracle] == "identity").all()
    assert (found.numbers["distance"][oracle] < 1e-6).all()
    assert (found.kinds[found.variant == "scratch"] == NO_BASE).all()


def seen_by(agent, tiles):
    observer = Observer("labyrinth", "symbolic", agent.metadata.domain)
    with torch.no_grad():
        pictures = observer(torch.from_numpy(tiles))
        return networks.encode(agent.architecture, agent.parameters, pictures).numpy()


def test_a_labyrinths_outcome_is_read_off_the_record_and_at_the_end_off_more_mazes(labyrinth):
    found = read_outcomes(labyrinth)
    run = read_run(labyrinth)
    base = load_agent(run.config.bases[0].path)
    history = read_history(labyrinth / "history.h5")["embedding"].embedding
    few = held_out_labyrinth(HELD_OUT).tiles[:8]
    many = held_out_labyrinth(HELD_OUT_MAZES).tiles
    assert len(many) == 48
    wanted = seen_by(base, few)
    np.testing.assert_allclose(base_embedding(base), wanted, atol=1e-6)
    kept = set(found.kept().tolist())
    originals = np.flatnonzero(found.variant == "original")
    assert len(kept & set(originals.tolist())) == 1
    for m in originals:
        for k in range(len(found.times)):
            expected = classify(wanted, history[m, k].values)
            if m in kept and k == len(found.times) - 1:
                agent = load_agent(run.checkpoint_path(str(found.transfer[m])))
                expected = classify(seen_by(base, many), seen_by(agent, many))
                assert found.numbers["distance"][m, -1] != pytest.approx(
                    classify(wanted, history[m, k].values).distance, rel=1e-4
                )
            for name in ("distance", "identity_residual", "residual", "spread"):
                assert found.numbers[name][m, k] == pytest.approx(getattr(expected, name), rel=1e-4)


def test_a_labyrinths_embedding_that_still_moves_is_unfinished_to_the_end(labyrinth):
    still = Thresholds(fit=0.0, collapsed=0.0, moving=1e9)
    moving = Thresholds(fit=0.0, collapsed=0.0, moving=1e-9)
    for thresholds, kind in ((still, "other"), (moving, "unfinished")):
        found = read_outcomes(labyrinth, thresholds)
        own = found.kinds[found.variant == "original"]
        assert set(own[:, 1:].ravel()) == {kind}
        # An encoder without biases is odd: it begins turned, and its turned restart does not.
        assert own[:, 0].tolist() == ["channels", "identity"]


def test_a_score_is_the_mean_of_the_last_epochs(labyrinth, monkeypatch):
    scores = read_history(labyrinth / "history.h5")["training"].score.values
    assert scores.shape == (5, 2)
    assert np.isfinite(scores).all()
    np.testing.assert_allclose(read_outcomes(labyrinth).score, scores.mean(axis=1), rtol=1e-12)
    monkeypatch.setattr(outcome, "LAST_EPOCHS", 1)
    np.testing.assert_array_equal(read_outcomes(labyrinth).score, scores[:, -1])


def test_epochs_without_a_score_do_not_count(labyrinth, tmp_path):
    base = read_run(labyrinth).config.bases[0].path
    config = transfer_config([Path(base)], "evaluation.every=2", "updates=12")
    folder = trained(config, tmp_path / "run")
    score = read_history(folder / "history.h5")["training"].score.values
    assert np.isnan(score[0, 0])
    np.testing.assert_allclose(read_outcomes(folder).score, [(score[0, 1] + score[0, 2]) / 2])


def test_held_out_mazes_are_the_same_however_many_are_looked_at(monkeypatch):
    monkeypatch.setattr(probes, "HELD_OUT_TRANSITIONS", 50)
    np.testing.assert_array_equal(held_out_tiles(8), held_out_tiles(48)[:8])

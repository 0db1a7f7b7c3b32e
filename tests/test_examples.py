import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from crar_diag.agent.assessment import assess
from crar_diag.agent.bases import base_files, task_of_bases
from crar_diag.agent.config import LOSSES
from crar_diag.agent.config_sources import build_transfer_config
from crar_diag.agent.history import read_history
from crar_diag.agent.loading import load_agent
from crar_diag.agent.training import train
from crar_diag.embedding.finals import of_checkpoints

EXAMPLES = Path(__file__).parents[1] / "examples"
BASES = EXAMPLES / "checkpoints" / "simple-maze"


def test_the_shipped_base_models_are_what_their_files_and_history_say():
    history = read_history(BASES / "history.h5")["evaluation"]
    files = sorted(BASES.glob("base-seed*.safetensors"))
    assert len(files) == 6
    for one in assess(files):
        stored = load_agent(one.path).metadata.losses
        recorded = history.expected_loss.sel(member=one.seed, time=160_000)
        for loss in LOSSES:
            # Another processor may round differently.
            assert one.losses[loss] == pytest.approx(stored[loss], rel=1e-3, abs=1e-7)
            assert stored[loss] == pytest.approx(float(recorded.sel(loss=loss)), rel=1e-6)
        assert one.path.stat().st_size < 200_000


def test_at_least_four_base_models_predict_their_transitions():
    losses = [one.losses["transition"] for one in assess(sorted(BASES.glob("*.safetensors")))]
    assert np.sum(np.array(losses) <= 0.005) >= 4


def test_the_plot_example_draws_checkpoints_and_refuses_what_is_none(tmp_path):
    script = [sys.executable, str(EXAMPLES / "plot_embedding.py")]
    target = tmp_path / "embedding.png"
    chosen = [str(p) for p in sorted(BASES.glob("*.safetensors"))[:2]]
    subprocess.run([*script, *chosen, "-o", str(target)], check=True, capture_output=True)
    assert target.read_bytes().startswith(b"\x89PNG")
    history = str(BASES / "history.h5")
    wrong = subprocess.run(
        [*script, history, "-o", str(tmp_path / "no.png")], capture_output=True, text=True
    )
    assert wrong.returncode == 1
    assert "history.h5" in wrong.stderr
    assert "Traceback" not in wrong.stderr
    assert not (tmp_path / "no.png").exists()


def test_the_shipped_transfers_are_what_their_table_says(monkeypatch):
    monkeypatch.chdir(EXAMPLES.parent)  # their files name their base from there
    rows = (BASES / "README.md").read_text().split("# Seven of their transfers")[1]
    table = re.findall(r"^\| `(\S+)` \| (\w+) \| (\S+) \| (\S+) \|", rows, re.MULTILINE)
    kinds = ["identity", "exchange", "other", "identity", "exchange", "identity", "exchange"]
    assert [kind for _, kind, _, _ in table] == kinds
    assert {f"{name}.safetensors" for name, *_ in table} == {
        path.name for path in (BASES / "transfers").iterdir()
    }
    found = of_checkpoints([BASES / "transfers" / f"{name}.safetensors" for name, *_ in table])
    for row, (_, kind, distance, loss) in enumerate(table):
        assert found.kind.values[row] == kind
        assert float(found.distance[row]) == pytest.approx(float(distance), rel=0.02)
        transition = float(found.final_loss.sel(loss="transition")[row])
        assert transition == pytest.approx(float(loss), rel=0.03)


def test_the_example_of_transfers_draws_a_run_and_refuses_one_of_base_models(tmp_path):
    base, out = sorted(BASES.glob("base-*.safetensors"))[0], tmp_path / "run"
    settings = ["updates_per_epoch=10", "data.transitions=100"]
    config = build_transfer_config(
        base_files([base]),
        task_of_bases([load_agent(base)]),
        overrides=settings,
        updates=20,
        seeds="0:2",
    )
    train(config, out)
    script = [sys.executable, str(EXAMPLES / "plot_transfers.py")]
    target = tmp_path / "transfers.png"
    subprocess.run([*script, str(out), "-o", str(target)], check=True, capture_output=True)
    assert target.read_bytes().startswith(b"\x89PNG")
    wrong = subprocess.run(
        [*script, str(BASES), "-o", str(tmp_path / "no.png")], capture_output=True, text=True
    )
    assert wrong.returncode == 1
    assert "is not a run folder" in wrong.stderr
    assert "Traceback" not in wrong.stderr


def test_the_script_with_loss_landscapes_draws_transfers_and_refuses_an_agent_and_itself(tmp_path):
    a, b = (str(p) for p in sorted((BASES / "transfers").glob("*.safetensors"))[:2])
    script = [sys.executable, str(EXAMPLES / "loss_landscapes_script.py"), "--steps", "4"]
    target = tmp_path / "between.png"
    subprocess.run([*script, a, b, "-o", str(target)], check=True, capture_output=True)
    assert target.read_bytes().startswith(b"\x89PNG")
    wrong = subprocess.run(
        [*script, a, a, "-o", str(tmp_path / "no.png")], capture_output=True, text=True
    )
    assert wrong.returncode == 1
    assert "is the same as" in wrong.stderr
    assert "Traceback" not in wrong.stderr
    assert not (tmp_path / "no.png").exists()


def test_the_landscape_of_any_model_has_a_barrier_that_re_fitting_lowers(tmp_path):
    script = [sys.executable, str(EXAMPLES / "landscape_of_any_model.py")]
    target = tmp_path / "regression.png"
    command = [*script, "--points", "25", "-o", str(target)]
    found = subprocess.run(command, check=True, capture_output=True, text=True)
    assert target.read_bytes().startswith(b"\x89PNG")
    heights = dict(re.findall(r"^readout (\w+): barrier (\S+) at", found.stdout, re.MULTILINE))
    assert 0.0 <= float(heights["unfrozen"]) < 0.1 * float(heights["frozen"])
    wrong = subprocess.run(
        [*script, "--points", "6", "-o", str(tmp_path / "no.png")], capture_output=True, text=True
    )
    assert wrong.returncode == 1
    assert "a line needs at least 7 points, found 6" in wrong.stderr
    assert "Traceback" not in wrong.stderr
    assert not (tmp_path / "no.png").exists()

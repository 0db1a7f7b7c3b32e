import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from crar_diag.agent.config import LossWeights, Schedule, config_fields, flatten
from crar_diag.agent.config_sources import build_config
from crar_diag.agent.presets import preset


def test_schedule_holds_each_weight_from_its_epoch_on():
    schedule = LossWeights.model_validate({"volume": [[0, 0], [15, 1.0], [20, 0.5]]}).volume
    assert [schedule.weight_at(epoch) for epoch in (0, 14, 15, 19, 20, 10**9)] == [
        *(0.0, 0.0, 1.0, 1.0, 0.5, 0.5)
    ]
    assert Schedule(((0, 0.25),)) == LossWeights.model_validate({"q": 0.25}).q
    with pytest.raises(ValueError, match="epoch >= 0, got -1"):
        schedule.weight_at(-1)


@pytest.mark.parametrize(
    "value",
    [
        *(-1, float("nan"), float("inf"), 10**400, "1", None, True, [], {}, [[]], [[0]]),
        *([[1, 1.0]], [[0, 1.0], [0, 2.0]], [[0, 1.0], [5, 1.0], [3, 1.0]], [[0, -1.0]]),
        *([[0.0, 1.0]], [[False, 1.0]], [[0, 1.0, 2.0]], [0, 1.0]),
    ],
)
def test_schedule_refuses(value):
    with pytest.raises(ValidationError):
        LossWeights.model_validate({"transition": value})


def test_configurations_cannot_be_changed():
    config = preset("simple-maze")
    with pytest.raises(ValidationError):
        config.updates = 3
    with pytest.raises(ValidationError):
        config.optimizer.rho = 0.5


def test_trainable_components_are_a_set_in_fixed_order():
    config = build_config("simple-maze", overrides={"trainable": ["q", "encoder"]})
    assert config.trainable == ("encoder", "q")
    assert config == build_config("simple-maze", overrides=["trainable=q, encoder"])


def test_config_fields_are_the_keys_of_the_toml_file():
    fields = config_fields()
    assert len(fields) == len(set(fields))
    assert list(flatten(preset("labyrinth"))) == list(fields)
    assert {"updates", "optimizer.rho", "loss_weights.q", "data.transitions"} <= set(fields)


def test_importing_the_configuration_imports_no_torch():
    modules = "crar_diag.agent.config, crar_diag.agent.presets, crar_diag.agent.config_sources"
    code = f"import sys, {modules}; print('torch' in sys.modules)"
    root = Path(__file__).parents[2]
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=root, stdout=subprocess.PIPE, check=True
    )
    assert answer.stdout.strip() == b"False"

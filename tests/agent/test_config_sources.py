from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crar_diag.agent.config import (
    COMPONENTS,
    LOSSES,
    DataConfig,
    EvaluationConfig,
    LossWeights,
    OptimizerConfig,
    Schedule,
    TrainConfig,
    config_fields,
    expand_seeds,
    flatten,
)
from crar_diag.agent.config_sources import build_config, from_toml, to_toml
from crar_diag.agent.presets import preset
from crar_diag.errors import InputError

positive = st.floats(min_value=0, exclude_min=True, allow_infinity=False, allow_nan=False)
weight = st.floats(min_value=0, allow_infinity=False, allow_nan=False)
count = st.integers(1, 2**53)


@st.composite
def schedules(draw):
    epochs = sorted(draw(st.sets(st.integers(1, 10**6), max_size=4)))
    return Schedule(tuple((epoch, draw(weight)) for epoch in [0, *epochs]))


configs = st.builds(
    TrainConfig,
    name=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True),
    environment=st.sampled_from(["simple-maze", "labyrinth"]),
    observation=st.sampled_from(["symbolic", "pixels"]),
    domain=st.sampled_from(["normal", "inverse"]),
    seeds=st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=5, unique=True).map(tuple),
    updates=count,
    updates_per_epoch=count,
    batch_size=st.integers(2, 2**31),
    precision=st.sampled_from(["float32", "float64"]),
    engine=st.sampled_from(["auto", "reference", "fused"]),
    discount_factor=st.floats(0, 1),
    double_q=st.booleans(),
    target_period=count,
    pair_scale=positive,
    trainable=st.sets(st.sampled_from(COMPONENTS), min_size=1).map(tuple),
    optimizer=st.builds(
        OptimizerConfig,
        learning_rate=positive,
        learning_rate_decay=positive,
        rho=st.floats(0, 1, exclude_max=True),
        epsilon=positive,
        clip_norm=positive,
        clip_scope=st.sampled_from(["tensor", "global"]),
        mode=st.sampled_from(["sequential", "simultaneous", "joint"]),
    ),
    loss_weights=st.builds(LossWeights, **{loss: schedules() for loss in LOSSES}),
    data=st.builds(
        DataConfig, transitions=count, steps_per_gathering=count, mark_last_terminal=st.booleans()
    ),
    evaluation=st.builds(
        EvaluationConfig,
        depth=st.integers(0, 6),
        epsilon=st.floats(0, 1),
        steps=count,
        episode_cap=count,
        environments=count,
        every=st.integers(0, 2**53),
    ),
)


@given(configs)
def test_toml_gives_back_an_equal_configuration(config):
    text = to_toml(config)
    again = from_toml(text, "run.toml")
    assert again == config
    assert hash(again) == hash(config)
    assert to_toml(again) == text


@given(st.text())
def test_any_text_is_a_configuration_or_an_input_error(text):
    with pytest.raises(InputError):
        from_toml(text, "run.toml")


@given(st.sampled_from(config_fields()), st.text(max_size=30))
def test_any_override_is_taken_or_refused(key, text):
    try:
        config = build_config("simple-maze", overrides=[f"{key}={text}"])
    except InputError as error:
        sentence = str(error)
        assert "\n" not in sentence
    else:
        assert from_toml(to_toml(config), "run.toml") == config


@pytest.mark.parametrize(
    ("text", "seeds"),
    [
        ("0:6", (0, 1, 2, 3, 4, 5)),
        ("3", (3,)),
        ("0,2,5:8", (0, 2, 5, 6, 7)),
        (" 4 : 6 , 1 ", (4, 5, 1)),
    ],
)
def test_seed_ranges_are_half_open(text, seeds):
    assert expand_seeds(text) == seeds
    assert build_config("simple-maze", seeds=text).seeds == seeds
    assert build_config("simple-maze", overrides=[f"seeds={text}"]).seeds == seeds


@pytest.mark.parametrize(
    "text",
    [
        *("", "3:3", "6:0", "0:3,2", "1,1", "-1", "a", "1:2:3", "1.5", "0:", ":3", "1,,2", "٣"),
        *("0:1000000000000", "9" * 5000),
    ],
)
def test_seeds_that_name_nothing_or_twice_are_refused(text):
    with pytest.raises(InputError, match=r"^--seeds must be .*, found "):
        build_config("simple-maze", seeds=text)


def test_options_override_set_which_overrides_the_file_which_overrides_the_preset(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text("batch_size = 7\n[optimizer]\nrho = 0.1\nepsilon = 0.1\nclip_norm = 0.1\n")
    config = build_config(
        "simple-maze",
        "quick",
        file,
        ["optimizer.epsilon=0.2", "optimizer = {clip_norm = 0.2}"],
        updates=None,
        **{"optimizer.clip_norm": 0.3},
    )
    assert config.optimizer.rho == 0.1
    assert config.optimizer.epsilon == 0.2
    assert config.optimizer.clip_norm == 0.3
    assert config.batch_size == 7
    assert config.updates == 40_000  # an option that was not given


def test_the_environment_of_the_file_chooses_the_preset(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text("environment = 'labyrinth'\n")
    assert build_config(config_file=file) == preset("labyrinth")
    assert build_config("simple-maze", config_file=file) == preset("simple-maze")
    with pytest.raises(InputError, match="no environment given: expected --env simple-maze"):
        build_config()


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("loss_weights.q=[[0, 0], [15, 1.0]]", [[0, 0.0], [15, 1.0]]),
        ("double_q=true", True),
        ("domain=inverse", "inverse"),
        ('domain="inverse"', "inverse"),
        ("optimizer.learning_rate=1e-4", 1e-4),
        ("optimizer.learning_rate=1", 1.0),
        ("seeds=10:12", (10, 11)),
        ("seeds=5", (5,)),
        ("seeds=[5, 7]", (5, 7)),
        ("name=a=b", None),
        ("name=1\nupdates=3", None),
    ],
)
def test_set_reads_toml_values_and_plain_text(override, value):
    if value is None:
        with pytest.raises(InputError):
            build_config("simple-maze", overrides=[override])
    else:
        config = build_config("simple-maze", overrides=[override])
        assert flatten(config)[override.split("=")[0]] == value


@pytest.mark.parametrize(
    ("overrides", "options", "sentence"),
    [
        (
            ["updtes=3"],
            {},
            r"^--set updtes is not a configuration key \(did you mean 'updates'\?\)$",
        ),
        (["rho=3"], {}, r"^--set rho is not .* \(did you mean 'optimizer.rho'\?\)$"),
        (["optimizer.learning=1"], {}, r"did you mean 'optimizer.learning_rate'\?"),
        (["epsilon=1"], {}, r"\(choose from evaluation.epsilon, optimizer.epsilon\)$"),
        (["optimizer=3"], {}, r"^--set optimizer must be a table of keys, found 3$"),
        (["optimizer={rh=3}"], {}, r"^--set optimizer.rh is not a configuration key"),
        (["nothing"], {}, r"^--set must be followed by key=value, found 'nothing'$"),
        (["=3"], {}, r"^--set must be followed by key=value"),
        (["optimizer.mode=joit"], {}, r"unknown value 'joit' \(did you mean 'joint'\?\)$"),
        (["optimizer.rho=1.0"], {}, r"^--set optimizer.rho must be less than 1, found 1.0$"),
        (["updates=abc"], {}, r"^--set updates must be a valid integer, found 'abc'$"),
        (["updates=true"], {}, r"^--set updates must be a valid integer, found True$"),
        (["name=../x"], {}, r"^--set name must be usable in a file name .*, found '../x'$"),
        (
            ["loss_weights.q=[[3, 1]]"],
            {},
            r"first epochs begin at 0 and increase, found \[\[3, 1\]\]",
        ),
        (["trainable=[]"], {}, r"^--set trainable must be at least one component"),
        (["seeds=[]"], {}, r"^--set seeds must be 1 to 100000 different seeds, found"),
        (["seeds=[-1]"], {}, r"^--set seeds must be greater than or equal to 0, found -1$"),
        (["domain=invers"], {}, r"^--set domain .*'invers' \(did you mean 'inverse'\?\)$"),
        ([], {"updates": 0}, r"^--updates must be greater than or equal to 1, found 0$"),
        (
            [],
            {"optimizer.learning_rate": -1.0},
            r"^--learning-rate must be greater than 0, found -1",
        ),
        ([], {"optimizer.learning_rate": float("inf")}, r"must be a finite number, found inf$"),
        ([], {"optimizer.learning_rate": 10**400}, r"^--learning-rate must be a valid number"),
        ([], {"batch_size": 1}, r"^--batch-size must be greater than or equal to 2, found 1$"),
    ],
)
def test_wrong_values_are_one_sentence_that_names_key_and_value(overrides, options, sentence):
    with pytest.raises(InputError, match=sentence) as caught:
        build_config("simple-maze", "paper", None, overrides, **options)
    assert "\n" not in str(caught.value)


def test_files_that_are_no_configuration(tmp_path):
    def refused(path: Path, match: str) -> None:
        with pytest.raises(InputError, match=match) as caught:
            build_config("simple-maze", config_file=path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)

    refused(tmp_path / "missing.toml", "cannot be read: No such file")
    refused(tmp_path, "is not a regular file")
    file = tmp_path / "x.toml"
    for content, match in [
        (b"updates = \n", "is not valid TOML: .* line 1"),
        (b"a = " + b"[" * 100_000, "nested too deeply|not valid TOML"),
        (b"updates = " + b"9" * 5000, "not valid TOML"),
        (b"\xff\xfe", "expected UTF-8 text"),
        (b"#" * (2**20 + 1), "too large"),
        (b"updates = 1\nupdates = 2\n", "not valid TOML"),
        (b"[optimiser]\nrho = 0.5\n", r"x.toml: optimiser is not .*\(did you mean 'optimizer"),
        (b"[optimizer]\nrho = 1.5\n", r"x.toml: optimizer.rho must be less than 1, found 1.5$"),
        (b"updates = {a = 1}\n", r"x.toml: updates must be a valid integer, found \{'a': 1\}$"),
        (b"domain = 2020-01-01\n", "x.toml: domain must be a valid string"),
    ]:
        file.write_bytes(content)
        refused(file, match)


def test_a_stored_configuration_without_a_required_key_is_refused():
    text = to_toml(preset("simple-maze")).replace("updates_per_epoch = 5000\n", "")
    with pytest.raises(InputError, match=r"^run.toml: updates_per_epoch is missing$"):
        from_toml(text, "run.toml")

from itertools import product
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crar_diag.agent.config import COMPONENTS, TrainConfig, config_fields, flatten
from crar_diag.agent.config_sources import build_transfer_config, from_toml, to_toml
from crar_diag.agent.presets import preset, transfer_preset
from crar_diag.agent.transfer_config import (
    MAX_MEMBERS,
    NOT_TRAINED_AS_THE_OTHERS,
    VARIANTS,
    TransferConfig,
)
from crar_diag.errors import InputError
from tests.runs import maze_config

TASK = {
    "environment": "simple-maze",
    "observation": "symbolic",
    "precision": "float32",
    "discount_factor": 0.9,
    "double_q": False,
    "pair_scale": 5.0,
}


def files(*paths: str) -> list[dict[str, str]]:
    return [{"path": path, "sha256": f"{k:064x}"} for k, path in enumerate(paths)]


def configure(*keys: str, bases=("a.safetensors",), preset_name="paper", **options):
    task = TASK | {"environment": options.pop("environment", "simple-maze")}
    return build_transfer_config(files(*bases), task, preset_name, None, keys, **options)


# Which encoders are trained


def test_every_base_is_transferred_in_every_variant_at_every_rate_with_every_seed_and_restart():
    bases, seeds, rates = ("x/a.safetensors", "b.safetensors"), (7, 0, 3), (1e-4, 5e-5)
    config = configure(
        "restarts=2",
        "optimizer.learning_rate=0.02",
        bases=bases,
        variants=",".join(reversed(VARIANTS)),
        seeds="7,0,3",
        learning_rates="1e-4,5e-5",
    )
    found = [
        (t.variant, t.base, t.seed, t.learning_rate, t.restart, t.name) for t in config.transfers()
    ]
    names = {1e-4: "0.0001", 5e-5: "5e-05"}
    expected = [
        (v, b, s, r, k, f"{v}-{'ab'[b]}-lr{names[r]}-seed{s}")
        for v, b, r, s, k in product(VARIANTS, (0, 1), rates, seeds, (0, 1))
        if v not in ("scratch", "oracle") and (v != "paired" or k == 0)
    ]
    expected += [
        ("scratch", None, s, 0.02, k, f"scratch-lr0.02-seed{s}") for s in seeds for k in (0, 1)
    ]
    expected += [("oracle", b, 7, 1e-4, 0, f"oracle-{'ab'[b]}") for b in (0, 1)]
    assert len(found) == len(set(found))
    assert set(found) == set(expected)
    assert config.member_count == len(expected) == 6 * 2 * 2 * 3 * 2 + 2 * 2 * 3 + 6 + 2
    agents = config.agents()
    assert set(agents) == {name for *_, name in expected}
    assert all(name == stem for name, stem in agents.items())


def test_those_that_another_engine_trains_come_last_and_variants_are_not_mixed():
    config = configure(bases=("a", "b"), variants="oracle,paired,finetune,original", seeds="0:2")
    order = [t.variant for t in config.transfers()]
    assert order == ["original"] * 4 + ["finetune"] * 4 + ["paired"] * 4 + ["oracle"] * 2
    assert NOT_TRAINED_AS_THE_OTHERS == ("paired", "oracle")


@pytest.mark.parametrize(
    ("paths", "labels"),
    [
        (("runs/base/base-seed0.safetensors",), ("base-seed0",)),
        (("a/x.safetensors", "b/y.safetensors"), ("x", "y")),
        (("a/x.safetensors", "b/x.safetensors", "c/y.safetensors"), ("a-x", "b-x", "c-y")),
        (("1/a/x.safetensors", "2/a/x.safetensors"), ("a-x-0", "a-x-1")),
        # What a number makes of one name is another's.
        (("1/a/x.s", "2/a/x.s", "3/a/x-1.s"), ("a-x-0", "a-x-1", "a-x-1-2")),
        (("a-b/c.s", "a/b-c.s", "z/c.s"), ("a-b-c-0", "a-b-c-1", "z-c-2")),
    ],
)
def test_a_bases_label_is_its_files_name_and_as_much_more_as_tells_it_apart(paths, labels):
    assert configure(bases=paths).base_labels() == labels


parts = st.text("ab-01", min_size=1, max_size=4)


@settings(deadline=None)
@given(
    st.lists(st.builds("{}/{}/{}.safetensors".format, parts, parts, parts), min_size=1, unique=True)
)
def test_labels_of_different_files_are_different(paths):
    labels = configure(bases=paths).base_labels()
    assert len(set(labels)) == len(paths)
    assert not any("/" in label for label in labels)


def test_rates_that_look_alike_when_rounded_give_different_names():
    config = configure(learning_rates="0.00012345678,0.00012345679,1e-4")
    names = [t.name for t in config.transfers()]
    assert names[2] == "original-a-lr0.0001-seed0"
    assert len(config.agents()) == len(set(names)) == 3


# What may be written


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("variants", "original,finetune", ("original", "finetune")),
        ("variants", " scratch , oracle ", ("scratch", "oracle")),
        ("variants", ["paired", "original"], ("paired", "original")),
        ("learning_rates", "1e-4, 5e-5", (1e-4, 5e-5)),
        ("learning_rates", "0.25", (0.25,)),
        ("learning_rates", 0.25, (0.25,)),
        ("learning_rates", 1, (1.0,)),
        ("learning_rates", [1e-4, 2], (1e-4, 2.0)),
    ],
)
def test_lists_are_written_with_commas_or_as_lists(key, text, value):
    assert getattr(configure(**{key: text}), key) == value


SETTINGS = {
    "variants": ["oracle"],
    "learning_rates": [0.5, 0.25],
    "no_disambiguation": "volume",
    "delay": 3,
    "restarts": 4,
    "realign.every": 2,
    "realign.factor": 0.25,
    "realign.angles": 16,
}


def test_every_key_of_transfers_is_within_reach_of_set_and_of_a_file(tmp_path):
    own = set(config_fields(TransferConfig)) - set(config_fields(TrainConfig))
    assert own == SETTINGS.keys() | {"kind", "bases"}
    default = flatten(configure())
    assert not [key for key, value in SETTINGS.items() if as_list(default[key]) == value]
    texts = [f"{key}={value!r}" for key, value in SETTINGS.items()]
    path = tmp_path / "mine.toml"
    path.write_text(
        "".join(f"{key} = {value!r}\n".replace("'", '"') for key, value in SETTINGS.items())
    )
    by_set = configure(*texts)
    by_file = build_transfer_config(files("a.safetensors"), TASK, "paper", path)
    assert by_set == by_file
    found = flatten(by_set)
    assert {key: as_list(found[key]) for key in SETTINGS} == SETTINGS


def as_list(value):
    return list(value) if isinstance(value, tuple) else value


def test_options_win_over_set_over_file_over_preset(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("updates = 11\nrestarts = 2\nbatch_size = 5\ndelay = 7\n")
    config = build_transfer_config(
        files("a"), TASK, "quick", path, ["updates=12", "restarts=3"], updates=13, variants=None
    )
    assert (config.updates, config.restarts, config.batch_size, config.delay) == (13, 3, 5, 7)
    assert config.updates_per_epoch == 5000
    assert config.variants == ("original",)


@pytest.mark.parametrize("key", [*TASK, "bases", "kind"])
def test_what_the_bases_decide_cannot_be_chosen(key, tmp_path):
    other = {
        "environment": "labyrinth",
        "observation": "pixels",
        "precision": "float64",
        "discount_factor": 0.5,
        "double_q": True,
        "pair_scale": 1.0,
        "bases": [],
        "kind": "train",
    }
    with pytest.raises(InputError) as caught:
        build_transfer_config(files("a"), TASK, overrides={key: other[key]})
    assert str(caught.value) == (
        f"--set {key} cannot be chosen for transfers: their base models decide it"
    )
    # What a run's own file says of them is no contradiction.
    (tmp_path / "run.toml").write_text(to_toml(configure("delay=4")))
    again = build_transfer_config(files("a.safetensors"), TASK, config_file=tmp_path / "run.toml")
    assert again == configure("delay=4")


@pytest.mark.parametrize(
    ("keys", "options", "sentence"),
    [
        ([], {"variants": "orignal"}, r"^--variant .* 'orignal' \(did you mean 'original'\?\)$"),
        (
            [],
            {"variants": "original,paired,original"},
            r"^--variant must be at least one, each given once \('original' is not\), found",
        ),
        ([], {"variants": ""}, r"^--variant has the unknown value ''"),
        ([], {"variants": 3.0}, r"^--variant has the unknown value 3.0"),
        (["variants=[]"], {}, r"^--set variants must be at least one, each given once, found \["),
        ([], {"learning_rates": "fast"}, r"^--learning-rate must be .* number, found 'fast'$"),
        ([], {"learning_rates": "1e-4,-1e-4"}, r"^--learning-rate must be greater than 0"),
        ([], {"learning_rates": "1e-4,0.0001"}, r"^--learning-rate must be .* \('0.0001' is not\)"),
        ([], {"learning_rates": "nan"}, r"^--learning-rate must be "),
        ([], {"learning_rates": "inf"}, r"^--learning-rate must be "),
        ([], {"learning_rates": ""}, r"^--learning-rate must be "),
        (["learning_rates=true"], {}, r"^--set learning_rates must be "),
        ([], {"domain": "invers"}, r"^--domain .* 'invers' \(did you mean 'inverse'\?\)$"),
        (["trainable=encoder"], {}, r"^--set trainable must be left out: a transfer's variant d"),
        (["restarts=0"], {}, r"^--set restarts must be greater than or equal to 1, found 0$"),
        (["delay=0"], {}, r"^--set delay must be greater than or equal to 1, found 0$"),
        (["realign.factor=0.0"], {}, r"^--set realign.factor must be greater than 0, found 0.0$"),
        (["realign.factor=1.5"], {}, r"^--set realign.factor must be less than or equal to 1"),
        (["realign.angles=1"], {}, r"^--set realign.angles must be greater than or equal to 2"),
        (["realign.evry=1"], {}, r"^--set realign.evry .* \(did you mean 'realign.every'\?\)$"),
        (["every=1"], {}, r"^--set every is not a configuration key"),
        (["no_disambiguation=volum"], {}, r"^--set no_disam.* \(did you mean 'volume'\?\)$"),
    ],
)
def test_a_wrong_value_is_one_sentence_that_names_the_option(keys, options, sentence):
    with pytest.raises(InputError, match=sentence) as caught:
        configure(*keys, **options)
    assert "\n" not in str(caught.value)


def test_a_base_given_twice_is_refused():
    sentence = r"^BASE\.\.\. must be at least one, each given once \('b' is not\), found"
    with pytest.raises(InputError, match=sentence):
        build_transfer_config([*files("a", "b"), files("a", "b")[1]], TASK)
    with pytest.raises(InputError, match=r"^BASE... must be at least one, each given once, found"):
        build_transfer_config([], TASK)


def test_more_encoders_than_memory_holds_are_refused_before_they_are_listed():
    assert configure(seeds=f"0:{MAX_MEMBERS}").member_count == MAX_MEMBERS
    for restarts in ("restarts=2", "restarts=1000"):
        with pytest.raises(InputError) as caught:
            configure(restarts, seeds=f"0:{MAX_MEMBERS // 2 + 1}")
        assert str(caught.value) == "the configuration must be of at most 100000 encoders"


@pytest.mark.parametrize("name", ["x" * 220, "é" * 110])
def test_names_that_no_file_can_have_are_refused_at_once(name, tmp_path):
    config = configure(bases=(f"{name}.safetensors",))
    longest = max(config.agents().values(), key=len)
    (tmp_path / f"{longest}.safetensors").touch()
    with pytest.raises(InputError, match=r"^the configuration must be of bases whose files have s"):
        configure(bases=(f"{name}.safetensors",), variants="delayed-structure", seeds="123456789")


# Files


def test_a_file_gives_back_an_equal_configuration_of_its_kind():
    transfers = configure(
        "delay=2", *(f"{k}={v!r}" for k, v in SETTINGS.items() if k != "delay"), bases=("é/a", "b")
    )
    found = from_toml(to_toml(transfers), "run.toml")
    assert type(found) is TransferConfig
    assert found == transfers
    base = from_toml(to_toml(maze_config()), "run.toml")
    assert type(base) is TrainConfig
    assert base == maze_config()
    lacking = "\n".join(x for x in to_toml(transfers).splitlines() if not x.startswith("restarts"))
    assert from_toml(lacking, "run.toml").restarts == 1  # a run of an older version
    with pytest.raises(InputError, match=r"^run.toml: kind is not a configuration key"):
        from_toml(to_toml(transfers).replace("kind = ", "kind = 'other' #"), "run.toml")


# Presets


def test_presets_hold_the_published_numbers():
    maze = configure()
    assert (maze.updates, maze.updates_per_epoch) == (80_000, 5000)
    assert maze.learning_rates == (8e-5,)
    assert maze.optimizer.learning_rate_decay == 0.9
    assert maze.optimizer.learning_rate == 5e-4  # of an agent from scratch, as the base models'
    assert (maze.domain, maze.variants, maze.restarts) == ("inverse", ("original",), 1)
    assert (maze.delay, maze.no_disambiguation, maze.realign.every) == (15, "random_pairs", 0)
    assert maze.trainable == COMPONENTS
    labyrinth = configure(environment="labyrinth")
    assert labyrinth.updates == 100 * labyrinth.updates_per_epoch == 100 * 2000
    assert labyrinth.learning_rates == (5e-4,)
    assert labyrinth.optimizer.learning_rate_decay == 1.0
    assert labyrinth.evaluation.every == 1
    assert labyrinth.delay * labyrinth.updates_per_epoch == 30_000


@pytest.mark.parametrize("environment", ["simple-maze", "labyrinth"])
def test_transfers_share_what_base_models_are_trained_with(environment):
    base = flatten(preset(environment))
    for name in ("paper", "quick"):
        transfer = transfer_preset(environment, name)
        differing = {key for key in transfer if key in base and transfer[key] != base[key]}
        smaller = {"data.transitions"} if (environment, name) == ("labyrinth", "quick") else set()
        assert differing == {"updates"} | smaller
        assert transfer.keys() - base.keys() == {"learning_rates"}
    assert transfer["updates"] < base["updates"]


def test_unknown_environment_and_preset():
    with pytest.raises(InputError, match=r"'labirinth' \(did you mean 'labyrinth'\?\)"):
        transfer_preset("labirinth")
    with pytest.raises(InputError, match=r"'quik' \(did you mean 'quick'\?\)"):
        transfer_preset("labyrinth", "quik")


def test_the_paths_of_bases_are_kept_as_given():
    path = str(Path("runs/../runs/base/base-seed0.safetensors"))
    assert configure(bases=(path,)).bases[0].path == path

"""Every study's commands are ones that the command line takes, in an order that can be run."""

import itertools
from pathlib import Path

import pytest
import typer.main

from crar_diag.agent.config import expand_seeds
from crar_diag.agent.presets import preset
from crar_diag.cli.main import app
from crar_diag.errors import InputError
from crar_diag.report.figures.catalogue import ENTRIES
from crar_diag.study.catalogue import STUDIES, build
from crar_diag.study.recipe import Recipe, Step, with_folder
from tests.study.reported import Ended, of_base, report

CASES = [
    (name, preset_name, environment)
    for name, study in STUDIES.items()
    for preset_name, environment in itertools.product(("quick", "paper"), study.environments)
]
ENDED = [
    *of_base("base-seed0", 3, 4),
    *of_base("base-seed1", 1, 4),
    *of_base("base-seed2", 0, 4),
    Ended("base-seed2", 0, True, restarts=3, run="restarts"),
]


def resolved(recipe: Recipe, folder: Path) -> list[tuple[Step, list[str]]]:
    """The steps with the arguments that they have after transfers that ended as `ENDED` did."""
    found = []
    for step in (*recipe.steps, *recipe.drawing):
        try:
            found.append((step, with_folder(step.resolve(folder), folder)))
        except InputError:
            assert step.optional
    return found


@pytest.mark.parametrize("case", CASES, ids=" ".join)
def test_the_command_line_takes_every_step(tmp_path, case):
    report(tmp_path, ENDED)
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for _, (name, *arguments) in resolved(build(*case), tmp_path):
        commands[name].make_context(name, arguments)  # raises where it does not parse


@pytest.mark.parametrize("case", CASES, ids=" ".join)
def test_names_and_products_differ_and_what_a_step_reads_is_made_before(tmp_path, case):
    report(tmp_path, ENDED)
    steps = resolved(build(*case), tmp_path)
    names = [step.name for step, _ in steps]
    assert len({*names}) == len(names)
    made: set[str] = set()
    for step, (_, *arguments) in steps:
        places = {Path(one).relative_to(tmp_path) for one in arguments if str(tmp_path) in one}
        written = {Path(product).parts[0] for product in step.products}
        for place in places:
            assert place.parts[0] in made | written, step.name
        made |= written


@pytest.mark.parametrize("case", CASES, ids=" ".join)
def test_the_members_of_a_step_are_those_that_its_command_trains(tmp_path, case):
    report(tmp_path, ENDED)
    recipe = build(*case)
    bases = 0
    for step, (command, *arguments) in resolved(recipe, tmp_path):
        if command not in ("train", "transfer"):
            assert step.members == 0
            continue
        option = dict(itertools.pairwise(arguments))
        seeds = len(expand_seeds(option["--seeds"]))
        if command == "train":
            bases = seeds
            assert (step.members, step.updates) == (seeds, preset(case[2], case[1]).updates)
            continue
        given = sum(one.endswith(".safetensors") for one in arguments) or bases
        variants = option.get("--variant", "original").split(",")
        own = sum(1 if variant == "scratch" else given for variant in variants)
        rates = len(option.get("--learning-rate", "1").split(","))
        restarts = int(option.get("--restarts", "1"))
        assert step.members == own * rates * restarts * seeds, step.name


def test_the_papers_counts():
    def counts(study: str) -> dict[str, int]:
        return {step.name: step.members for step in build(study, "paper").steps if step.members}

    assert counts("simple-maze")["transfers"] == 6 * 22
    assert counts("labyrinth") == {"base": 6, "transfers": 36}
    # original besides, in the first transfers; from scratch there is one base
    assert counts("variants")["variants"] == (4 * 2 + 1) * 6
    # six rates of six seeds, one of them in the first transfers, and six more at 1e-4
    assert counts("learning-rates")["rates"] + counts("learning-rates")["rates-more"] == 5 * 6 + 6


def test_given_base_models_take_the_place_of_trained_ones(tmp_path):
    bases = ["x/base-seed0.safetensors", "x/base-seed1.safetensors", "x/base-seed2.safetensors"]
    report(tmp_path, ENDED)
    for name in STUDIES:
        recipe = build(name, "quick", bases=bases)
        steps = {step.name: arguments for step, arguments in resolved(recipe, tmp_path)}
        assert "base" not in steps
        assert steps["transfers"][1:4] == bases
        assert not any("/base" in one for one in steps["report"])
    variants = build("variants", "quick", bases=bases)
    chosen = {s.name: a for s, a in resolved(variants, tmp_path)}["variants"]
    assert chosen[1:3] == [bases[0], bases[2]]  # the best and the poorest


def test_quick_studies_are_of_the_simple_maze_where_that_makes_sense():
    found = {name: build(name, "quick").environment for name in STUDIES}
    assert found == {
        "simple-maze": "simple-maze",
        "labyrinth": "labyrinth",
        "variants": "simple-maze",
        "learning-rates": "simple-maze",
    }
    assert build("variants", "paper").environment == "labyrinth"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("simple-mase", "quick"), "did you mean 'simple-maze'"),
        (("variants", "fast"), "unknown preset 'fast'"),
        (("variants", "quick", "maze"), "unknown environment 'maze'"),
        (("simple-maze", "quick", "labyrinth"), "the study simple-maze is of simple-maze"),
        (("variants", "quick", None, ["a.safetensors"]), "two base models or more, found one"),
        (("variants", "quick", None, ["a/x.safetensors", "b/x.safetensors"]), "found two 'x'"),
    ],
)
def test_wrong_studies_are_refused_in_one_sentence(arguments, words):
    with pytest.raises(InputError, match=words):
        build(*arguments)


def test_every_figure_of_the_paper_is_drawn_by_some_study():
    drawn = {
        step.name.removeprefix("figure-").lstrip("0")
        for name in STUDIES
        for preset_name in ("quick", "paper")
        for step in build(name, preset_name).drawing
    } | {
        step.name.removeprefix("figure-").lstrip("0")
        for step in build("learning-rates", "paper").drawing
    }
    assert set(ENTRIES) <= drawn

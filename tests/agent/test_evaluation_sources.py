import pytest

from crar_diag.agent.evaluation_sources import evaluation_settings
from crar_diag.errors import InputError


def test_only_what_was_given_and_overrides_over_the_file(tmp_path):
    assert evaluation_settings() == {}
    file = tmp_path / "protocol.toml"
    file.write_text("domain = 'noise'\n[evaluation]\ndepth = 5\nsteps = 7\nepisode_cap = 9\n")
    assert evaluation_settings(file) == {
        "domain": "noise",
        "depth": 5,
        "steps": 7,
        "episode_cap": 9,
    }
    overrides = ["evaluation.depth=0", "evaluation.epsilon=1", "domain=inverse"]
    expected = {"domain": "inverse", "depth": 0, "steps": 7, "episode_cap": 9, "epsilon": 1.0}
    assert evaluation_settings(file, overrides) == expected
    assert evaluation_settings(file, {"evaluation": {"environments": 4}})["environments"] == 4


@pytest.mark.parametrize(
    ("text", "override", "sentence"),
    [
        (
            "",
            "evaluation.every=1",
            r"^--set evaluation.every does not belong to an evaluation: exp",
        ),
        (
            "updates = 5",
            "domain=x",
            r"toml: updates does not belong to an evaluation: .* domain, ev",
        ),
        ("", "depth=5", r"^--set depth is not .* \(did you mean 'evaluation.depth'\?\)$"),
        ("", "evaluation.depth=7", r"^--set evaluation.depth must be less than or equal to 6, fou"),
        ("", "evaluation.steps=0", r"^--set evaluation.steps must be greater than or equal to 1"),
        ("[evaluation]\nepsilon = 2", "domain=x", r"toml: evaluation.epsilon must be .*, found 2$"),
        ("domain = 3", "evaluation.depth=1", r"toml: domain must be a valid string, found 3$"),
        ("", "domain=invers", r"^--set domain has the unknown value .*mean 'inverse'\?\)$"),
        ("a", "domain=x", r"is not valid TOML"),
    ],
)
def test_what_is_no_setting_of_an_evaluation_is_refused(tmp_path, text, override, sentence):
    file = tmp_path / "protocol.toml"
    file.write_text(text)
    with pytest.raises(InputError, match=sentence):
        evaluation_settings(file, [override])

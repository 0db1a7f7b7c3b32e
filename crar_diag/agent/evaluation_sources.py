"""The settings of an evaluation from a TOML file and `--set key=value`. Torch is not imported."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from crar_diag.agent.config import EvaluationConfig, FrozenModel, nest
from crar_diag.agent.config_sources import check_domain, collect, describe_error
from crar_diag.errors import InputError


class _Settings(FrozenModel):
    domain: str = "normal"
    evaluation: EvaluationConfig = EvaluationConfig()


_KEYS: Final = (
    "domain",
    *(f"evaluation.{name}" for name in EvaluationConfig.model_fields if name != "every"),
)


def evaluation_settings(
    config_file: Path | None = None, overrides: Mapping[str, Any] | Iterable[str] = ()
) -> dict[str, Any]:
    """Return what a file and `--set` say of an evaluation, the latter over the former.

    They may hold the keys that have a meaning without training: `domain`, and those of the table
    `evaluation` but for `every`.

    Args:
        config_file: a TOML file.
        overrides: as in `build_config`.

    Returns:
        The keys that were given and no others, without their table: `{"domain": "inverse",
        "depth": 5}`.

    Raises:
        InputError: an unreadable file, an unknown key, one of training, or a value of the wrong
            kind.
    """
    chosen, labels = collect(config_file, overrides)
    for key in chosen:
        if key not in _KEYS:
            raise InputError(
                f"{labels[key]} does not belong to an evaluation: expected {', '.join(_KEYS)}"
            )
    try:
        given = _Settings.model_validate(nest(chosen)).model_dump(exclude_unset=True)
    except ValidationError as error:
        raise InputError(describe_error(error, lambda key: labels.get(key, key))) from None
    if "domain" in given:
        check_domain(given["domain"], labels["domain"])
    table: dict[str, Any] = given.pop("evaluation", {})
    return given | table

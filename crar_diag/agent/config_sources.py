"""The ways by which a user's choices become a configuration, and the sentence where one is wrong.

A preset, a TOML file, `--set key=value` and command line options are laid over each other; a
sentence names the source, the key and what was expected. Torch is not imported here.
"""

import re
import stat
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, time
from pathlib import Path
from typing import Any, Final

import tomli_w
from pydantic import ValidationError

from crar_diag.agent.config import (
    TrainConfig,
    config_fields,
    config_sections,
    flatten,
    nest,
)
from crar_diag.agent.presets import preset, transfer_preset
from crar_diag.agent.transfer_config import TransferConfig
from crar_diag.errors import InputError, did_you_mean, show

MAX_TOML_BYTES: Final = 2**20


def build_config(
    environment: str | None = None,
    preset_name: str = "paper",
    config_file: Path | None = None,
    overrides: Mapping[str, Any] | Iterable[str] = (),
    **options: Any,
) -> TrainConfig:
    """Resolve a configuration: preset < `config_file` < `overrides` < `options`.

    Args:
        environment: which preset to begin with; None takes it from the overrides or the file.
        preset_name: `paper` or `quick`.
        config_file: a TOML file with any of the configuration's keys.
        overrides: a mapping from dotted keys to values, or `key=value` strings (`--set`). A
            string's value is read as a TOML value (`0.5`, `true`, `[[0, 0.0], [15, 1.0]]`) and,
            where it is none, taken as it stands: `seeds=0:6` and `seeds="0:6"` are the same.
        options: explicit command line options by their dotted key (`**{"optimizer.rho": 0.95}`);
            None means that the option was not given. Messages name `optimizer.learning_rate` as
            `--learning-rate`.

    Raises:
        InputError: an unreadable file, an unknown key or name, or a value of the wrong kind.
    """
    chosen, labels = collect(config_file, overrides)
    given = {"environment": environment, **options}
    explicit = {key: value for key, value in given.items() if value is not None}
    for key, value in _dotted(explicit, _option_name).items():
        chosen[key], labels[key] = value, _option_name(key)
    start = chosen.get("environment")
    if start is None:
        raise InputError(
            "no environment given: expected --env simple-maze or --env labyrinth, "
            "or the key 'environment' in the configuration file"
        )
    base = flatten(preset(start, preset_name))
    return _validate({**base, **chosen}, lambda key: labels.get(key, key))


def build_transfer_config(
    bases: Sequence[Mapping[str, str]],
    task: Mapping[str, str],
    preset_name: str = "paper",
    config_file: Path | None = None,
    overrides: Mapping[str, Any] | Iterable[str] = (),
    **options: Any,
) -> TransferConfig:
    """Resolve a configuration of transfers, as `build_config` does one of training.

    Args:
        bases: `path` and `sha256` of each base model.
        task: what the bases' files say of `environment`, `observation` and `precision`, which
            therefore cannot be chosen here.
        preset_name: `paper` or `quick`.
        config_file: as in `build_config`.
        overrides: as in `build_config`.
        options: as in `build_config`.

    Raises:
        InputError: an unreadable file, an unknown key or name, or a value of the wrong kind.
    """
    chosen, labels = collect(config_file, overrides, TransferConfig)
    explicit = {key: value for key, value in options.items() if value is not None}
    for key, value in _dotted(explicit, _option_name, TransferConfig).items():
        chosen[key], labels[key] = value, _option_name(key)
    for key, value in {"kind": "transfer", **task, "bases": bases}.items():
        if key in chosen and chosen[key] != value:
            raise InputError(
                f"{labels[key]} cannot be chosen for transfers: their base models decide it"
            )
        chosen[key] = value
    labels["bases"] = "BASE..."
    base = transfer_preset(task["environment"], preset_name)
    found = _validate({**base, **chosen}, lambda key: labels.get(key, key), TransferConfig)
    assert isinstance(found, TransferConfig)
    return found


def collect(
    config_file: Path | None,
    overrides: Mapping[str, Any] | Iterable[str],
    model: type[TrainConfig] = TrainConfig,
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return what a file holds and overrides that win over it, not validated yet.

    Args:
        config_file: as in `build_config`.
        overrides: as in `build_config`.
        model: whose keys they may hold.

    Returns:
        The values and, for messages, where each of them stands; both by dotted key.

    Raises:
        InputError: an unreadable file or an unknown key.
    """
    chosen: dict[str, Any] = {}
    labels: dict[str, str] = {}

    def add(values: Mapping[str, Any], label: Callable[[str], str]) -> None:
        for key, value in _dotted(values, label, model).items():
            chosen[key], labels[key] = value, label(key)

    if config_file is not None:
        add(parse_toml(read_text(config_file), str(config_file)), lambda k: f"{config_file}: {k}")
    add(_read_overrides(overrides), lambda key: f"--set {key}")
    return chosen, labels


_OPTIONS: Final = {
    "environment": "--env",
    "variants": "--variant",
    "learning_rates": "--learning-rate",
    "snapshots_every": "--snapshots",
}


def _option_name(key: str) -> str:
    return _OPTIONS.get(key) or "--" + key.rsplit(".")[-1].replace("_", "-")


def _read_overrides(overrides: Mapping[str, Any] | Iterable[str]) -> dict[str, Any]:
    if isinstance(overrides, Mapping):
        return dict(overrides)
    values: dict[str, Any] = {}
    for text in overrides:
        key, separator, value = text.partition("=")
        if not separator or not key.strip():
            raise InputError(f"--set must be followed by key=value, found {show(text)}")
        values[key.strip()] = _read_value(value.strip())
    return values


def _read_value(text: str) -> Any:
    try:
        table = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    # No key takes a date or a time, and newer TOML reads the seeds 10:20 as a time of day.
    if len(table) != 1 or isinstance(table["value"], date | time):
        return text
    return table["value"]


def to_toml(config: TrainConfig) -> str:
    """Return `config` as the text of a TOML file; `from_toml` gives back an equal one."""
    return tomli_w.dumps(config.model_dump())


def from_toml(text: str, source: str) -> TrainConfig:
    """Read a whole configuration, as `to_toml` writes it.

    Args:
        text: the TOML text.
        source: the name under which messages speak of it, such as the file's path.

    Returns:
        A `TransferConfig` where the text says that it is of that kind.

    Raises:
        InputError: no valid TOML, an unknown or missing key, or a value of the wrong kind.
    """

    def label(key: str) -> str:
        return f"{source}: {key}"

    table = parse_toml(text, source)
    model = TransferConfig if table.get("kind") == "transfer" else TrainConfig
    return _validate(_dotted(table, label, model), label, model)


def read_text(path: Path) -> str:
    """Return the text of a TOML file of at most `MAX_TOML_BYTES`.

    Raises:
        InputError: missing, not a regular file, too large, or not UTF-8.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"'{path}' is not a regular file: expected a TOML file")
        if status.st_size > MAX_TOML_BYTES:
            raise InputError(
                f"'{path}' is too large for a configuration: expected at most {MAX_TOML_BYTES} "
                f"bytes, found {status.st_size}"
            )
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise InputError(f"'{path}' is not a TOML file: expected UTF-8 text") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"configuration file '{path}' cannot be read: {reason}") from None


def parse_toml(text: str, source: str) -> dict[str, Any]:
    """Return the tables of a TOML text.

    Raises:
        InputError: no valid TOML; the sentence names `source` and the line.
    """
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else error
        raise InputError(f"'{source}' is not valid TOML: {reason}") from None


def describe_error(error: ValidationError, label: Callable[[str], str]) -> str:
    """Return one sentence about the first thing that pydantic found wrong.

    Args:
        error: what validation raised.
        label: how to name a dotted key to the user.
    """
    first = error.errors(include_url=False)[0]
    parts: list[str] = []
    for part in first["loc"]:
        if not isinstance(part, str):
            break
        parts.append(part)
    if not parts and first["type"] == "value_error":
        return f"the configuration must be {first['ctx']['error']}"
    key = label(".".join(parts))
    context = first.get("ctx", {})
    if first["type"] == "missing":
        return f"{key} is missing"
    if first["type"] == "extra_forbidden":
        return f"{key} is not known to this version"
    if first["type"] == "literal_error":
        known = re.findall(r"'([^']*)'", context["expected"])
        hint = did_you_mean(str(first["input"]), known)
        return f"{key} has the unknown value {show(first['input'])}{hint}"
    if first["type"] == "value_error":
        expected = f"be {context['error']}"
    else:
        expected = first["msg"].partition(" should ")[2] or f"be valid ({first['msg']})"
    return f"{key} must {expected}, found {show(first['input'])}"


def _validate(
    values: Mapping[str, Any],
    label: Callable[[str], str],
    model: type[TrainConfig] = TrainConfig,
) -> TrainConfig:
    try:
        config = model.model_validate(nest(values))
    except ValidationError as error:
        raise InputError(describe_error(error, label)) from None
    check_domain(config.domain, label("domain"))
    return config


def check_domain(name: str, label: str) -> None:
    """Refuse a visual domain that is not registered.

    Args:
        name: of the domain.
        label: where it stands.

    Raises:
        InputError: it is unknown.
    """
    from crar_diag.envs.domains import domain_names  # late: imports numpy

    if name not in domain_names():
        hint = did_you_mean(name, domain_names())
        raise InputError(f"{label} has the unknown value {show(name)}{hint}")


def _dotted(
    table: Mapping[str, Any],
    label: Callable[[str], str],
    model: type[TrainConfig] = TrainConfig,
) -> dict[str, Any]:
    """Bring tables to dotted keys, refusing unknown ones."""
    fields, sections = config_fields(model), config_sections(model)
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key in sections:
            if not isinstance(value, Mapping):
                raise InputError(f"{label(key)} must be a table of keys, found {show(value)}")
            below = {f"{key}.{name}": inner for name, inner in value.items()}
            values |= _dotted(below, label, model)
        elif key in fields:
            values[key] = value
        else:
            # A key without its section is the likeliest slip: `rho` for `optimizer.rho`.
            last = key.rsplit(".")[-1]
            alike = [known for known in fields if known.rsplit(".")[-1] == last]
            hint = did_you_mean(key, alike or fields)
            if len(alike) == 1:
                hint = f" (did you mean '{alike[0]}'?)"
            shown = key if key.isprintable() else repr(key)
            raise InputError(f"{label(shown)} is not a configuration key{hint}")
    return values

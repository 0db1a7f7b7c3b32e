"""Where a group of a report comes from: what made it, from what, on what, and when."""

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self

import numpy as np

import crar_diag
from crar_diag.agent.versions import library_versions
from crar_diag.version import __version__

PREFIX: Final = "provenance_"


@dataclass(frozen=True)
class Provenance:
    """What made a group of a report.

    Attributes:
        command: the command line, quoted for a shell.
        seeds: of the members that the group is about; may be empty.
        device: what computed it, such as `cpu` or `cuda:0`.
        revision: of the code, see `code_revision`.
        versions: of Python, this package and the libraries that decide its numbers.
        time: UTC, ISO 8601.
    """

    command: str
    seeds: tuple[int, ...]
    device: str
    revision: str
    versions: Mapping[str, str]
    time: str

    def attributes(self) -> dict[str, Any]:
        """Return the attributes of a group that say this; all names begin with `PREFIX`.

        The seeds are an int64 array `[S]`, the versions JSON.
        """
        values: dict[str, Any] = {
            "command": self.command,
            "seeds": np.array(self.seeds, np.int64),
            "device": self.device,
            "revision": self.revision,
            "versions": json.dumps(dict(self.versions)),
            "time": self.time,
        }
        return {PREFIX + name: value for name, value in values.items()}

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, Any]) -> Self | None:
        """Return what `attributes` said, or None for a group that does not say it.

        Raises:
            ValueError: what it says is not what `attributes` writes.
        """
        held = {
            name.removeprefix(PREFIX): value
            for name, value in attributes.items()
            if name.startswith(PREFIX)
        }
        if "time" not in held:
            return None
        texts = {key: str(held.get(key, "")) for key in ("command", "device", "revision", "time")}
        versions = json.loads(held.get("versions", "{}"))
        if not isinstance(versions, dict):
            raise ValueError(f"expected the versions as a JSON object, found {versions!r:.60}")
        seeds = tuple(int(seed) for seed in np.ravel(held.get("seeds", ())))
        return cls(seeds=seeds, versions=versions, **texts)


def provenance(
    *, command: Sequence[str] | str, seeds: Iterable[int] = (), device: str
) -> Provenance:
    """Return the provenance of what this process makes now.

    Args:
        command: the words of the command line, or one string that is taken as it is.
        seeds: of the members that the group is about.
        device: what computes it, such as `cpu` or `cuda:0`.
    """
    text = command if isinstance(command, str) else shlex.join(command)
    # A file name that is no UTF-8 reaches Python with lone surrogates, which HDF5 cannot hold.
    text = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return Provenance(
        command=text,
        seeds=tuple(int(seed) for seed in seeds),
        device=device,
        revision=code_revision(),
        versions=library_versions(),
        time=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def code_revision() -> str:
    """Return the git revision of the checkout that this package runs from, else its version.

    `-dirty` is appended where git is installed and says that tracked files differ from it.
    """
    # Only a checkout of this package: an environment often lies within somebody else's.
    checkout = Path(crar_diag.__file__).resolve().parents[1]
    if not (checkout / ".git").exists():
        return __version__
    return _described(checkout) or _read_revision(checkout / ".git") or __version__


def _described(checkout: Path) -> str:
    """Ask git; "" where it is absent or refuses, as it does in another user's checkout."""
    git = shutil.which("git")
    if git is None:
        return ""
    command = [git, "--no-optional-locks", "-C", str(checkout), "describe"]
    command += ["--always", "--dirty", "--abbrev=64", "--exclude=*"]
    # Within a hook of some repository, these would send git there.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    try:
        answer = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return answer.stdout.strip()


def _read_revision(git: Path) -> str:
    """Return the commit that HEAD names in `.git`, read by hand; "" where it cannot be found."""
    try:
        if git.is_file():  # a worktree's
            git = git.parent / git.read_text().removeprefix("gitdir:").strip()
        common = git / "commondir"
        shared = git / common.read_text().strip() if common.is_file() else git
        head = (git / "HEAD").read_text().strip()
        if head.startswith("ref:"):
            reference = head.removeprefix("ref:").strip()
            loose, packed = shared / reference, shared / "packed-refs"
            lines = [] if loose.is_file() else packed.read_text().splitlines()
            head = (
                loose.read_text().strip()
                if loose.is_file()
                else next(line.split()[0] for line in lines if line.endswith(f" {reference}"))
            )
    except (OSError, ValueError, StopIteration):
        return ""
    return head if re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", head) else ""

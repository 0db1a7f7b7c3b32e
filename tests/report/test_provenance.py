import os
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

import crar_diag
from crar_diag.agent.versions import library_versions
from crar_diag.report import provenance as module
from crar_diag.report.provenance import Provenance, code_revision, provenance
from crar_diag.version import __version__
from tests.report.labelled import MADE

git = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")


def run(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    command = ["git", *who, "-C", str(folder), *words]
    own = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    answer = subprocess.run(command, env=own, capture_output=True, text=True, check=True)
    return answer.stdout.strip()


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout in which this package seems to lie, with one commit."""
    root = tmp_path / "checkout"
    (root / "crar_diag").mkdir(parents=True)
    (root / "crar_diag" / "__init__.py").touch()
    run(tmp_path, "init", "-q", "-b", "main", str(root))
    run(root, "add", ".")
    run(root, "commit", "-q", "-m", "first")
    monkeypatch.setattr(crar_diag, "__file__", str(root / "crar_diag" / "__init__.py"))
    return root


def test_it_says_what_made_it_on_what_and_when():
    before = datetime.now(UTC) - timedelta(seconds=1)
    made = provenance(
        command=["crar-diag", "landscape", "a b.safetensors", "it's"],
        seeds=np.arange(2),
        device="cuda:0",
    )
    assert made.command == """crar-diag landscape 'a b.safetensors' 'it'"'"'s'"""
    assert made.seeds == (0, 1)
    assert all(type(seed) is int for seed in made.seeds)
    assert made.device == "cuda:0"
    assert made.versions == library_versions()
    assert made.revision == code_revision()
    time = datetime.fromisoformat(made.time)
    assert time.utcoffset() == timedelta(0)
    assert before <= time <= datetime.now(UTC)
    assert provenance(command="a  b", device="cpu").command == "a  b"


def test_a_file_name_that_is_no_text_can_be_told():
    made = provenance(command=["info", b"\xff.h5".decode("utf-8", "surrogateescape")], device="cpu")
    assert made.command == r"info '\xff.h5'"


@pytest.mark.parametrize("seeds", [(), (3,), (0, 4)])
def test_attributes_hold_all_of_it(seeds):
    made = Provenance(**{**vars(MADE), "seeds": seeds})
    attributes = made.attributes()
    assert all(key.startswith("provenance_") for key in attributes)
    assert Provenance.from_attributes(attributes | {"command": "another's"}) == made
    assert Provenance.from_attributes({"command": "another's"}) is None


@pytest.mark.parametrize("versions", ["", "[1]", "3"])
def test_attributes_that_say_something_else_are_refused(versions):
    with pytest.raises(ValueError, match=r"Expecting value|as a JSON object"):
        Provenance.from_attributes(MADE.attributes() | {"provenance_versions": versions})


@git
def test_the_revision_is_the_checkouts(checkout, monkeypatch):
    commit = run(checkout, "rev-parse", "HEAD")
    assert code_revision() == commit
    (checkout / "notes.txt").write_text("untracked")
    assert code_revision() == commit
    run(checkout, "tag", "-a", "v1", "-m", "a tag")
    monkeypatch.setenv("GIT_DIR", str(checkout / "nowhere"))
    assert code_revision() == commit
    (checkout / "crar_diag" / "__init__.py").write_text("changed")
    assert code_revision() == commit + "-dirty"


@git
@pytest.mark.parametrize("refuses", ["absent", "unsafe"])
def test_without_git_the_revision_is_read_by_hand(checkout, monkeypatch, refuses):
    commit = run(checkout, "rev-parse", "HEAD")
    run(checkout, "worktree", "add", "-q", "-b", "side/branch", str(checkout.parent / "tree"))
    run(checkout.parent / "tree", "commit", "-q", "--allow-empty", "-m", "second")
    second = run(checkout, "rev-parse", "side/branch")
    assert second != commit

    def refused(*_: object, **__: object) -> None:
        raise subprocess.CalledProcessError(128, "git")

    def read(folder: Path) -> str:
        with monkeypatch.context() as patch:
            if refuses == "absent":
                patch.setattr(shutil, "which", lambda _: None)
            else:
                patch.setattr(subprocess, "run", refused)
            patch.setattr(crar_diag, "__file__", str(folder / "crar_diag" / "__init__.py"))
            return code_revision()

    assert read(checkout) == commit
    assert read(checkout.parent / "tree") == second
    run(checkout, "pack-refs", "--all")
    assert not (checkout / ".git" / "refs" / "heads" / "main").exists()
    assert read(checkout) == commit
    assert read(checkout.parent / "tree") == second
    run(checkout, "checkout", "-q", "--detach", second)
    assert read(checkout) == second
    (checkout / ".git" / "HEAD").write_text("ref: refs/heads/none\n")
    assert read(checkout) == __version__
    (checkout / ".git" / "HEAD").write_bytes(b"\xff")
    assert read(checkout) == __version__


@git
def test_an_environment_within_somebody_elses_checkout_tells_the_version(checkout, monkeypatch):
    installed = checkout / ".venv" / "site-packages" / "crar_diag" / "__init__.py"
    installed.parent.mkdir(parents=True)
    installed.touch()
    monkeypatch.setattr(crar_diag, "__file__", str(installed))
    assert code_revision() == __version__


@git
def test_git_that_hangs_is_not_waited_for(checkout, monkeypatch):
    def hang(command: list[str], **options: object) -> None:
        raise subprocess.TimeoutExpired(command, options["timeout"])

    commit = run(checkout, "rev-parse", "HEAD")
    monkeypatch.setattr(module.subprocess, "run", hang)
    assert code_revision() == commit

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The built wheel, from a copy of what git tracks."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    names = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout
    subprocess.run(
        ["tar", "--create", "--null", "--files-from=-", "--file", str(source / "tree.tar")],
        cwd=ROOT,
        input=names,
        check=True,
    )
    subprocess.run(["tar", "-xf", "tree.tar"], cwd=source, check=True)
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out)]
    subprocess.run(build, cwd=source, check=True, capture_output=True)
    (found,) = out.glob("*.whl")
    return found


def test_the_wheel_holds_crar_diag_alone_and_all_of_it(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"crar_diag"}
    modules = {str(p.relative_to(ROOT)) for p in (ROOT / "crar_diag").rglob("*.py")}
    assert modules <= set(names)
    assert "crar_diag/py.typed" in names
    assets = {str(p.relative_to(ROOT)) for p in (ROOT / "crar_diag").rglob("assets/*")}
    assert assets
    assert assets <= set(names)
    assert re.fullmatch(r"crar_diag-[\d.]+-py3-none-any\.whl", wheel.name)


def test_the_installed_wheel_runs_away_from_the_source(wheel, tmp_path):
    target = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(target)
    script = (
        "import crar_diag.cli.main, pathlib, sys;"
        f"assert pathlib.Path(crar_diag.__file__).is_relative_to({str(target)!r});"
        "sys.argv = ['crar-diag', '--version']; crar_diag.cli.main.main()"
    )
    run = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(target)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert re.fullmatch(r"crar-diag \d+\.\d+\.\d+\n", run.stdout)


def test_the_links_at_the_top_point_into_the_package():
    for name in ("agent", "envs", "cli"):
        assert (ROOT / name).is_symlink()
        assert (ROOT / name).readlink() == Path("crar_diag") / name


def test_imports_run_one_way():
    order = ["envs", "agent", "report", "cli"]
    for position, package in enumerate(order):
        for file in (ROOT / "crar_diag" / package).rglob("*.py"):
            used = set(re.findall(r"(?:from|import) crar_diag\.(\w+)", file.read_text()))
            assert not used & set(order[position + 1 :]), file

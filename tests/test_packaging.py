"""One package, whichever way it arrives.

The wheel, the wheel built from the sdist, the editable install and the bare checkout
must import the same modules and hold the same corpus. The top-level folders strategies/
and corpora/ are part of the package through two committed links, and that is what can
break: a link lost in a checkout, a folder left out of the sdist, a crash file shipped
from a dirty tree, a name leaked beside ``ancfuzz``.

All of it happens in a copy of the checkout, with the dependencies of the interpreter
that runs the tests: nothing is downloaded, and nothing is written into the checkout.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from dataclasses import dataclass
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SDIST = PROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["only-include"]
LICENCES = PROJECT["project"]["license-files"]

# What a fuzz run may leave behind, and .gitignore keeps out of every build.
STRAY_PATTERNS = ("crash-*", "leak-*", "oom-*", "slow-unit-*", "timeout-*")
STRAY = frozenset(pattern.replace("*", "x") for pattern in STRAY_PATTERNS)

# What pip and build ask of the backend, in the project's own folder.
BUILD = {
    target: f"import hatchling.build, sys; hatchling.build.{hook}(sys.argv[1])"
    for target, hook in {
        "wheel": "build_wheel",
        "sdist": "build_sdist",
        "editable": "build_editable",
    }.items()
}

# Imports every module of the package, and says where each was found.
SURVEY = """
import importlib, importlib.resources, importlib.util, json, pkgutil, sys
import ancfuzz

def walk(folder, prefix=""):
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from walk(entry, f"{prefix}{entry.name}/")
        else:
            yield f"{prefix}{entry.name}"

found = {"ancfuzz": ancfuzz.__file__}
for module in pkgutil.walk_packages(ancfuzz.__path__, "ancfuzz."):
    if not module.name.endswith("__main__"):
        found[module.name] = importlib.import_module(module.name).__file__
corpus = list(walk(importlib.resources.files("ancfuzz.corpora")))
print(json.dumps({"modules": found, "corpus": corpus}))
"""


@dataclass(frozen=True)
class Place:
    """An interpreter that can import ancfuzz, and where it must find it."""

    python: Path
    origin: Path
    python_path: str = ""


def run(*command: str | Path, cwd: Path, python_path: str = "") -> str:
    """Run a command to its end, and return what it printed."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PIP_", "PYTHON"))
    }
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=inherited | {"PYTHONPATH": python_path, "PYTHONNOUSERSITE": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def copy_checkout(to: Path) -> Path:
    """Copy what the sdist is made of, and leave in it what a fuzz run leaves."""
    ignored = shutil.ignore_patterns("__pycache__", *STRAY_PATTERNS)
    for name in (*SDIST, *LICENCES, ".gitignore", "pyproject.toml"):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, to / name, symlinks=True, ignore=ignored)
        elif (ROOT / name).exists():
            shutil.copy(ROOT / name, to / name)
    for name in STRAY:
        (to / "corpora" / name).write_bytes(b"found by a fuzzer")
    return to


def build(project: Path, target: str, into: Path) -> Path:
    """Build the sdist or a wheel of a project with this interpreter's hatchling."""
    into.mkdir()
    run(sys.executable, "-P", "-c", BUILD[target], into, cwd=project)
    (built,) = into.iterdir()
    return built


def unpack(sdist: Path, into: Path) -> Path:
    """Unpack an sdist, and return the project that it holds."""
    # Debian 12's 3.11.2 has no filter= yet, and 3.13 warns where there is none.
    run(sys.executable, "-P", "-m", "tarfile", "-e", sdist, into, cwd=sdist.parent)
    (project,) = into.iterdir()
    return project


def environment(home: Path, *wheels: Path) -> Path:
    """Make an environment with these wheels and this interpreter's dependencies."""
    venv.create(home, symlinks=True)
    python = home / "bin" / "python"
    if wheels:
        pip = (sys.executable, "-P", "-m", "pip", "--python", python)
        run(*pip, "install", "--no-index", "--no-deps", *wheels, cwd=home)
    # Only now, or pip would find what is installed here, and replace it here.
    # What a .pth file adds comes after the environment's own packages, so that an
    # ancfuzz which is installed here does not hide the one under test.
    own = {sysconfig.get_path(kind) for kind in ("purelib", "platlib")}
    (site,) = home.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text("\n".join(own), encoding="utf-8")
    return python


def contents(wheel: Path) -> dict[str, bytes]:
    """The files of a wheel, by name."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where everything of this module is made."""
    return tmp_path_factory.mktemp("packaging").resolve()


@pytest.fixture(scope="module")
def checkout(folder: Path) -> Path:
    """A dirty copy of this checkout."""
    (folder / "checkout").mkdir()
    return copy_checkout(folder / "checkout")


@pytest.fixture(scope="module")
def wheel(checkout: Path, folder: Path) -> Path:
    """The wheel, built from the checkout."""
    return build(checkout, "wheel", folder / "wheel")


@pytest.fixture(scope="module")
def sdist(checkout: Path, folder: Path) -> Path:
    """The sdist, built from the checkout."""
    return build(checkout, "sdist", folder / "sdist")


@pytest.fixture(scope="module")
def second_wheel(sdist: Path, folder: Path) -> Path:
    """The wheel, built from the sdist."""
    return build(unpack(sdist, folder / "unpacked"), "wheel", folder / "second")


@pytest.fixture(scope="module")
def installed(wheel: Path, folder: Path) -> Place:
    """An environment with the wheel."""
    home = folder / "installed"
    return Place(environment(home, wheel), home)


@pytest.fixture(scope="module")
def editable(checkout: Path, folder: Path) -> Place:
    """An environment with an editable install."""
    built = build(checkout, "editable", folder / "editable-wheel")
    return Place(environment(folder / "editable", built), checkout)


@pytest.fixture(scope="module")
def bare(checkout: Path, folder: Path) -> Place:
    """An environment without ancfuzz, and the checkout on its path."""
    return Place(environment(folder / "bare"), checkout, str(checkout))


@pytest.mark.parametrize("name", ["corpora", "strategies"])
def test_the_links_lead_to_folders(name: str) -> None:
    link = ROOT / "ancfuzz" / name
    assert link.is_dir(), (
        f"{link} is not a folder: this checkout was made without symbolic links. "
        "Set core.symlinks=true in git, and check it out again."
    )
    # In an unpacked sdist the links are copies.
    inside, outside = link / "__init__.py", ROOT / name / "__init__.py"
    assert inside.read_bytes() == outside.read_bytes()


def test_the_wheel_holds_the_package_and_nothing_beside_it(
    wheel: Path, checkout: Path
) -> None:
    files = contents(wheel)
    version = PROJECT["project"]["version"]
    assert {name.split("/")[0] for name in files} == {
        "ancfuzz",
        f"ancfuzz-{version}.dist-info",
    }
    shipped = {name for name in files if name.startswith("ancfuzz/")}
    walked = os.walk(checkout / "ancfuzz", followlinks=True)
    present = {
        (Path(parent) / name).relative_to(checkout).as_posix()
        for parent, _, names in walked
        for name in names
        if name not in STRAY and "__pycache__" not in parent
    }
    assert shipped == present
    assert {"ancfuzz/py.typed", "ancfuzz/strategies/__init__.py"} <= shipped


def test_the_sdist_holds_the_top_level_folders(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    expected = {name for name in SDIST if (ROOT / name).exists()}
    assert {name.split("/")[0] for name in names} >= {*expected, *LICENCES}
    assert {
        "strategies/__init__.py",
        "corpora/__init__.py",
        "tests/conftest.py",
    } <= names
    assert [name for name in names if name.split("/")[-1] in STRAY] == []


def test_the_wheel_from_the_sdist_is_the_same(wheel: Path, second_wheel: Path) -> None:
    assert contents(second_wheel) == contents(wheel)


@pytest.mark.parametrize("way", ["installed", "editable", "bare"])
def test_every_way_imports_the_same_modules(
    request: pytest.FixtureRequest, wheel: Path, folder: Path, way: str
) -> None:
    place: Place = request.getfixturevalue(way)
    told = json.loads(
        run(
            *(place.python, "-P", "-c", SURVEY),
            cwd=folder,
            python_path=place.python_path,
        )
    )
    shipped = [name for name in contents(wheel) if name.startswith("ancfuzz/")]
    modules = {
        name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for name in shipped
        if name.endswith(".py")
        and not name.endswith("/__main__.py")
        # A script in a folder of data is no module.
        and f"{name.rpartition('/')[0]}/__init__.py" in shipped
    }
    assert {*told["modules"]} == modules
    misplaced = [
        (module, path)
        for module, path in told["modules"].items()
        if not Path(path).is_relative_to(place.origin)
    ]
    assert misplaced == []
    corpus = {name for name in told["corpus"] if not name.endswith(".pyc")}
    left_behind = STRAY if place.origin.name == "checkout" else frozenset[str]()
    assert corpus - left_behind == {
        name.removeprefix("ancfuzz/corpora/")
        for name in shipped
        if name.startswith("ancfuzz/corpora/")
    }


def test_an_installed_wheel_leaks_no_top_level_name(
    installed: Place, folder: Path
) -> None:
    (site,) = installed.origin.glob("lib/python*/site-packages")
    entries = {entry.name for entry in site.iterdir()}
    version = PROJECT["project"]["version"]
    assert entries == {"ancfuzz", f"ancfuzz-{version}.dist-info", "dependencies.pth"}
    script = installed.origin / "bin" / "ancfuzz"
    assert "Usage" in run(script, "--help", cwd=folder)


def test_the_metadata_says_what_the_project_says(wheel: Path, installed: Place) -> None:
    project = PROJECT["project"]
    version = project["version"]
    info = f"ancfuzz-{version}.dist-info"
    files = contents(wheel)
    metadata = Parser().parsestr(files[f"{info}/METADATA"].decode())
    assert metadata["License-Expression"] == "MIT OR Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.11"
    assert {*LICENCES} == {
        name.split("/")[-1] for name in files if name.startswith(f"{info}/licenses/")
    }
    asked = "import ancfuzz; print(ancfuzz.__version__)"
    told = run(installed.python, "-P", "-c", asked, cwd=installed.origin)
    assert told.strip() == version

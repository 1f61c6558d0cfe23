"""pyproject.toml, both lock files and environment.yml say the same, and the wheel carries what a user needs."""

import itertools
import os
import re
import shutil
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
import wheels
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
PYTHONS = {"addons": ["3.10", "3.11"], "keras3": ["3.10", "3.11", "3.12", "3.13"]}
CASES = [(stack, python) for stack, pythons in PYTHONS.items() for python in pythons]


def locked(stack, python):
    """Return name and version of all that a lock file gives to a Python on Linux."""
    text = (ROOT / "requirements" / f"{stack}.txt").read_text()
    requirements = [Requirement(line.rstrip(" \\")) for line in text.splitlines() if re.match(r"\w", line)]
    environment = {"python_version": python, "python_full_version": f"{python}.7", "sys_platform": "linux"}
    return {
        requirement.name: str(requirement.specifier).removeprefix("==")
        for requirement in requirements
        if requirement.marker is None or requirement.marker.evaluate(environment)
    }


def required(stack, python):
    """Return what pyproject.toml asks for on a stack, read from the installed project's metadata."""
    requirements = [Requirement(text) for text in metadata.requires("normlib")]
    for extra in ("", stack, "lab", "dask", "dev"):
        environment = {"extra": extra, "python_version": python, "python_full_version": f"{python}.7"}
        yield from (r for r in requirements if r.marker is None or r.marker.evaluate(environment))


@pytest.mark.parametrize(("stack", "python"), CASES)
def test_a_lock_holds_all_that_pyproject_asks_for_in_versions_that_it_allows(stack, python):
    versions = locked(stack, python)
    for requirement in required(stack, python):
        assert requirement.specifier.contains(versions[requirement.name.replace("PyYAML", "pyyaml")]), requirement


@pytest.mark.parametrize("stack", PYTHONS)
def test_locks_are_hashed_and_name_no_index(stack):
    text = (ROOT / "requirements" / f"{stack}.txt").read_text()
    for entry in re.split(r"\n(?=\w)", text):
        assert "--hash=sha256:" in entry, entry.splitlines()[0]
    assert "://" not in text
    assert "index" not in re.sub(r"(?m)^\w.*", "", text)


def test_the_conda_environment_is_the_addons_stack_with_the_projects_own_extras():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert environment["channels"] == ["conda-forge"]
    python, pip, from_pip = environment["dependencies"]
    assert python.removeprefix("python=") in PYTHONS["addons"]
    assert pip == "pip"
    (requirement,) = from_pip["pip"]
    extras = re.fullmatch(r"--editable \.\[(.+)\]", requirement)[1].split(",")
    assert extras == ["addons", "lab", "dask", "dev"]
    assert set(extras) <= set(metadata.metadata("normlib").get_all("Provides-Extra"))


def test_core_dependencies_leave_tensorflow_to_the_extras_and_pin_nothing():
    core = [Requirement(text) for text in metadata.requires("normlib") if "extra ==" not in text]
    assert not {"tensorflow", "keras", "tensorflow-addons"} & {requirement.name for requirement in core}
    assert all(clause.operator == ">=" for requirement in core for clause in requirement.specifier)


def test_the_hooks_run_the_commands_of_make_lint_with_the_environments_own_programs():
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert repository["repo"] == "local"
    (recipe,) = re.findall(r"^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    hooks = repository["hooks"]
    given = [hook["entry"] + " notebooks/*.ipynb" * hook.get("pass_filenames", True) for hook in hooks]
    assert [f"\t$(BIN)/{command}" for command in given] == recipe.splitlines()
    assert {hook["language"] for hook in hooks} == {"system"}


def test_makefile_and_tests_agree_on_the_pythons_of_the_addons_stack():
    (pythons,) = re.findall(r"^ADDONS_PYTHONS := (.*)$", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert pythons.split() == PYTHONS["addons"]


@pytest.mark.parametrize("stack", PYTHONS)
def test_make_takes_the_environment_that_was_installed_last(tmp_path, stack):
    shutil.copy(ROOT / "Makefile", tmp_path)
    version = ".".join(map(str, sys.version_info[:2]))
    if version not in PYTHONS[stack]:
        pytest.skip(f"no {stack} on Python {version}")
    there = tmp_path / ".venv" / f"{stack}-{version}"
    (there / "bin").mkdir(parents=True)
    (there / "bin" / "python").symlink_to(sys.executable)
    (tmp_path / ".venv" / "last").write_text(f".venv/{there.name}\n")
    outer = {"MAKEFLAGS", "MAKELEVEL", "STACK", "PYTHON"}
    environment = {name: value for name, value in os.environ.items() if name not in outer}

    how = {"cwd": tmp_path, "env": environment, "capture_output": True, "text": True, "check": True}

    def told():
        done = subprocess.run(["make", "--no-print-directory", "help"], **how)
        return done.stdout.splitlines()[-1]

    assert told() == f"stack here: {stack}, Python {version}, in .venv/{there.name} (make install makes it)"
    (there / "installed").touch()
    assert told() == f"stack here: {stack}, Python {version}, in .venv/{there.name}"


def test_the_wheel_carries_notebooks_studies_data_and_kept_records(tmp_path):
    wheel = wheels.build(tmp_path)
    with zipfile.ZipFile(wheel) as archive:
        carried = set(archive.namelist())
    folders = ("datasets", "kept", "studies")
    expected = filter(Path.is_file, itertools.chain(*((ROOT / "normlib" / name).iterdir() for name in folders)))
    expected = {f"normlib/{path.parent.name}/{path.name}" for path in expected}
    expected |= {f"normlib/notebooks/{path.name}" for path in (ROOT / "notebooks").glob("*.*")}
    assert expected | {"normlib/__init__.pyi", "normlib/py.typed"} <= carried
    assert not [name for name in carried if name.startswith("tests/")]


def test_a_wheel_finds_its_notebooks_inside_the_package(tmp_path, monkeypatch):
    from normlib.execution import notebook

    package = tmp_path / "normlib"
    (package / "notebooks").mkdir(parents=True)
    monkeypatch.setattr(notebook, "__file__", str(package / "execution" / "execution.py"))
    assert notebook.notebook_path("instance") == package / "notebooks" / "instance.ipynb"

"""CONTRIBUTING.md's recipes are followed to the letter in a copy, where their tests, and those that they name, pass."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from normlib.models import swap, zoo
from normlib.models.instance import Instance
from normlib.models.kinds import EMPTY, KINDS
from normlib.report.diagrams import model_boxes

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
COPIED = ("normlib", "tests")
# The recipes' own, and those that go through all kinds, models and studies.
TESTS = (
    "tests/models/test_kinds.py::test_root_mean_square_normalization_is_the_papers",
    "tests/models/test_zoo.py::test_strided_has_three_convolutions_with_a_slot_behind_each",
    *("tests/report/test_diagrams.py", "tests/models/test_ordering.py", "tests/studies/test_study.py"),
    "tests/test_contributing.py::test_every_kind_stands_in_pictures_and_is_told_where_it_replaces_batch_norm",
    "tests/test_contributing.py::test_every_model_is_built_and_has_a_picture_with_all_its_slots",
)


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, flags=re.MULTILINE | re.DOTALL)


def changes(diff):
    """Return the file of each change of a diff, what is there, and what takes its place."""
    for part in re.split(r"^--- ", diff, flags=re.MULTILINE)[1:]:
        name, _, hunks = part.partition("\n")
        for hunk in re.split(r"^@@.*\n", hunks, flags=re.MULTILINE)[1:]:
            lines = hunk.splitlines(keepends=True)
            before, after = ("".join(line[1:] or "\n" for line in lines if line[0] in signs) for signs in (" -", " +"))
            yield name, before, after


def follow(folder):
    """Do in a copy what all recipes say; return the Python files that they change."""
    changed = set()
    for diff in blocks("diff"):
        for name, before, after in changes(diff):
            text = (folder / name).read_text(encoding="utf-8")
            assert text.count(before) == 1, (name, before)
            (folder / name).write_text(text.replace(before, after), encoding="utf-8")
            changed.add(name)
    for block in blocks("python") + blocks("yaml"):
        name, body = re.match(r"# (\S+)\n(.*)", block, flags=re.DOTALL).groups()
        with (folder / name).open("a", encoding="utf-8") as file:
            file.write(f"\n\n{body}" if name.endswith(".py") else body)
        changed.add(name)
    return [name for name in changed if name.endswith(".py")]


@pytest.mark.long
def test_the_recipes_work_as_they_are_written(tmp_path):
    for name in COPIED:
        leave = shutil.ignore_patterns("__pycache__", "datasets", "kept")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=leave)
    for name in ("datasets", "kept"):
        (tmp_path / "normlib" / name).symlink_to(ROOT / "normlib" / name)
    for name in ("pyproject.toml", "CONTRIBUTING.md", "Makefile"):
        shutil.copy(ROOT / name, tmp_path)
    changed = follow(tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}

    def run(*command):
        command = [sys.executable, "-m", *command]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    where = "import normlib, sys; sys.exit(not normlib.__file__.startswith(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", where, str(tmp_path)], cwd=tmp_path, env=environment, check=True)
    assert "passed" in run("pytest", "-q", "-p", "no:nbval", "-o", "addopts=", *TESTS)
    run("ruff", "check", *changed)
    run("ruff", "format", "--check", *changed)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_stands_in_pictures_and_is_told_where_it_replaces_batch_norm(kind):
    from normlib.tf import tf

    assert [box.kind for box in model_boxes(Instance(f"{kind}/none"))].count(kind) == 1
    layers = [tf.keras.Input((4, 4, 6)), tf.keras.layers.BatchNormalization()]
    swapped = swap.swap(tf.keras.Sequential(layers), kind, groups=2)
    assert swap.slots(swapped)["kind"].tolist() == [kind]


@pytest.mark.parametrize("model", zoo.MODELS)
def test_every_model_is_built_and_has_a_picture_with_all_its_slots(model):
    from normlib.models.build import build_model

    slots = zoo.MODELS[model].slots
    instance = Instance("/".join(["bn"] * slots), model)
    found = model_boxes(instance)
    assert found[-1].text.startswith("dense")
    assert [box.kind for box in found].count("bn") >= slots
    empty = model_boxes(Instance("none", model))
    assert [box.kind for box in empty].count(EMPTY) == [box.kind for box in found].count("bn")
    names = [layer.name for layer in build_model(instance).layers]
    assert {f"slot_{place}_1" for place in range(1, slots + 1)} <= set(names)


def test_every_file_that_it_names_is_there():
    """Where its links lead is tested with the other pages'."""
    named = set(re.findall(r"\b(?:tests|docs|normlib)/\w+\.\w+", TEXT))
    written = {re.match(r"# (\S+)", block)[1] for block in blocks("yaml")}
    left = {"tests/WING/test_NAME.py", "normlib/WING/NAME.py"}
    assert not [name for name in named - written - left if not (ROOT / name).exists()]

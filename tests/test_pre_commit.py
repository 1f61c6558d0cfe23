"""The hooks run what make lint runs, and keep a notebook that was not executed from being committed."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml

ROOT = Path(__file__).parent.parent
CONFIG = ROOT / ".pre-commit-config.yaml"
METADATA = {"kernelspec": {"name": "python3", "display_name": "Python 3"}, "language_info": {"name": "python"}}


def hooks():
    (repository,) = yaml.safe_load(CONFIG.read_text())["repos"]
    assert repository["repo"] == "local"
    return repository["hooks"]


def test_hooks_run_the_commands_of_make_lint_with_the_environments_own_programs():
    (recipe,) = re.findall(r"^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    given = [hook["entry"] + (" notebooks/*.ipynb" if hook.get("pass_filenames", True) else "") for hook in hooks()]
    assert [f"\t$(BIN)/{command}" for command in given] == recipe.splitlines()
    assert {hook["language"] for hook in hooks()} == {"system"}


@pytest.fixture
def repository(tmp_path):
    """A repository with the hooks, and what runs a command in it."""
    folder = tmp_path / "repository"
    for name in ("docs/check_notebooks.py", CONFIG.name):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    (folder / "notebooks").mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment |= {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PRE_COMMIT_HOME": str(tmp_path / "home"),
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_SYSTEM": os.devnull,
    }
    who = ("-c", "user.name=somebody", "-c", "user.email=somebody@example.org")

    def run(*command):
        command = ["git", *who, *command[1:]] if command[0] == "git" else command
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)

    assert run("git", "init", "--quiet").returncode == 0
    return folder, run


def test_a_notebook_that_was_not_executed_cannot_be_committed(repository):
    folder, run = repository
    assert run("pre-commit", "install").returncode == 0

    def write(execution_count):
        cell = nbformat.v4.new_code_cell("1 + 1", execution_count=execution_count, id="sum")
        notebook = nbformat.v4.new_notebook(cells=[cell], metadata=METADATA)
        nbformat.write(notebook, folder / "notebooks" / "small.ipynb")
        assert run("git", "add", ".").returncode == 0

    # This hook alone: there is nothing here that the others could check.
    (only,) = (hook for hook in hooks() if hook["id"] == "notebooks")
    (folder / CONFIG.name).write_text(yaml.safe_dump({"repos": [{"repo": "local", "hooks": [only]}]}))
    write(execution_count=None)
    refused = run("git", "commit", "--message", "A notebook that was not executed")
    assert refused.returncode == 1
    assert "notebooks/small.ipynb: cell sum: was not executed; execute it: make notebooks" in refused.stderr
    write(execution_count=1)
    taken = run("git", "commit", "--message", "A good one")
    assert taken.returncode == 0, taken.stderr

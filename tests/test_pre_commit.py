"""The hooks run what make lint runs."""

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parent.parent
CONFIG = ROOT / ".pre-commit-config.yaml"


def hooks():
    (repository,) = yaml.safe_load(CONFIG.read_text())["repos"]
    assert repository["repo"] == "local"
    return repository["hooks"]


def test_hooks_run_the_commands_of_make_lint_with_the_environments_own_programs():
    (recipe,) = re.findall(r"^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    given = [hook["entry"] + (" notebooks/*.ipynb" if hook.get("pass_filenames", True) else "") for hook in hooks()]
    assert [f"\t$(BIN)/{command}" for command in given] == recipe.splitlines()
    assert {hook["language"] for hook in hooks()} == {"system"}

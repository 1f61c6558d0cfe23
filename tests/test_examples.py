"""The worked examples, a model and a kind of one's own, run as their first lines say."""

import os
import subprocess
import sys
from pathlib import Path

import yaml

from normlib.runs.store import read_records

WEIGHTS = 9 * (1 * 16 + 16 * 32 + 32 * 64) + (64 + 1) * 10
EXAMPLES = Path(__file__).parent.parent / "examples"


def write_small(name, folder):
    """Copy an example into a folder, with fewer images."""
    content = yaml.safe_load((EXAMPLES / f"{name}.yaml").read_text())
    content["defaults"] = {**content.get("defaults", {}), "fit_split": "train[:96]", "evaluate_split": "test[:50]"}
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(content))
    (folder / f"{name}.py").write_text((EXAMPLES / f"{name}.py").read_text())


def run_example(name, folder):
    """Run an example's study from its folder, with one seed, and return its runs by ordering."""
    write_small(name, folder)
    command = [sys.executable, "-m", "normlib", "study", f"{name}.yaml", "--seeds", "1", "--workers", "1"]
    environment = {**os.environ, "PYTHONPATH": str(EXAMPLES.parent)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {record.instance["ordering"]: record for record in read_records(folder / "outputs" / name)}


def test_the_example_runs_from_its_folder_and_its_batch_norms_are_the_slots(tmp_path):
    """With fewer images. BatchNorm has four weights a channel, GroupNorm two."""
    runs = run_example("plain_network", tmp_path)
    assert {ordering: run.parameters["total"] for ordering, run in runs.items()} == {
        "none": WEIGHTS,
        "bn": WEIGHTS + 4 * (16 + 32 + 64),
        "gn": WEIGHTS + 2 * (16 + 32 + 64),
        "bn/gn/gn": WEIGHTS + 4 * 16 + 2 * (32 + 64),
    }


def test_the_kinds_of_ones_own_run_from_their_folder(tmp_path):
    """GroupNorm has two weights a channel, one without offset has one, and what centres has none."""
    runs = run_example("my_norms", tmp_path)
    without = 739_708
    assert {ordering: run.parameters["total"] for ordering, run in runs.items()} == {
        "none/none": without,
        "my_norms:Centred/none": without,
        "my_norms:without_offset/none": without + 10,
        "gn/none": without + 20,
    }
    page = (tmp_path / "outputs" / "my_norms" / "summary.html").read_text()
    assert "Centred/none" in page
    assert "my_norms:Centred/none" not in page

"""The worked example of a model of one's own runs as its first lines say."""

import os
import subprocess
import sys
from pathlib import Path

import yaml

from normlib.runs.store import read_records

WEIGHTS = 9 * (1 * 16 + 16 * 32 + 32 * 64) + (64 + 1) * 10
EXAMPLES = Path(__file__).parent.parent / "examples"


def test_the_example_runs_from_its_folder_and_its_batch_norms_are_the_slots(tmp_path):
    """With fewer images. BatchNorm has four weights a channel, GroupNorm two."""
    content = yaml.safe_load((EXAMPLES / "plain_network.yaml").read_text())
    content["defaults"] |= {"fit_split": "train[:96]", "evaluate_split": "test[:50]"}
    (tmp_path / "plain_network.yaml").write_text(yaml.safe_dump(content))
    (tmp_path / "plain_network.py").write_text((EXAMPLES / "plain_network.py").read_text())
    command = [sys.executable, "-m", "normlib", "study", "plain_network.yaml", "--seeds", "1"]
    environment = {**os.environ, "PYTHONPATH": str(EXAMPLES.parent)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    runs = {record.instance["ordering"]: record for record in read_records(tmp_path / "outputs" / "plain_network")}
    assert {ordering: run.parameters["total"] for ordering, run in runs.items()} == {
        "none": WEIGHTS,
        "bn": WEIGHTS + 4 * (16 + 32 + 64),
        "gn": WEIGHTS + 2 * (16 + 32 + 64),
        "bn/gn/gn": WEIGHTS + 4 * 16 + 2 * (32 + 64),
    }

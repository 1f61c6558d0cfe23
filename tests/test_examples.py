"""The worked examples, a model and a kind of one's own; one of them is run as its first lines say."""

import os
import subprocess
import sys
from pathlib import Path

import yaml

from normlib.models.build import build_model
from normlib.runs.store import read_records
from normlib.studies.study import read_study

WEIGHTS = 9 * (1 * 16 + 16 * 32 + 32 * 64) + (64 + 1) * 10
EXAMPLES = Path(__file__).parent.parent / "examples"


def test_the_batch_norms_of_the_example_of_a_model_are_its_slots(monkeypatch):
    """BatchNorm has four weights a channel, GroupNorm two."""
    monkeypatch.syspath_prepend(EXAMPLES)
    instances = read_study(EXAMPLES / "plain_network.yaml").instances
    assert {instance.ordering: build_model(instance).count_params() for instance in instances} == {
        "none": WEIGHTS,
        "bn": WEIGHTS + 4 * (16 + 32 + 64),
        "gn": WEIGHTS + 2 * (16 + 32 + 64),
        "bn/gn/gn": WEIGHTS + 4 * 16 + 2 * (32 + 64),
    }


def test_the_kinds_of_ones_own_run_from_their_folder(tmp_path):
    """With fewer images. GroupNorm has two weights a channel, one without offset has one, and what centres has none."""
    content = yaml.safe_load((EXAMPLES / "my_norms.yaml").read_text())
    content["defaults"] = {**content.get("defaults", {}), "fit_split": "train[:96]", "evaluate_split": "test[:50]"}
    (tmp_path / "my_norms.yaml").write_text(yaml.safe_dump(content))
    (tmp_path / "my_norms.py").write_text((EXAMPLES / "my_norms.py").read_text())
    command = [sys.executable, "-m", "normlib", "study", "my_norms.yaml", "--seeds", "1", "--workers", "1"]
    environment = {**os.environ, "PYTHONPATH": str(EXAMPLES.parent)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    runs = read_records(tmp_path / "outputs" / "my_norms")
    without = 739_708
    assert {run.instance["ordering"]: run.parameters["total"] for run in runs} == {
        "none/none": without,
        "my_norms:Centred/none": without,
        "my_norms:without_offset/none": without + 10,
        "gn/none": without + 20,
    }
    page = (tmp_path / "outputs" / "my_norms" / "summary.html").read_text()
    assert "Centred/none" in page
    assert "my_norms:Centred/none" not in page

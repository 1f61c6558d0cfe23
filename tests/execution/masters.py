"""Master notebooks that make up their records, without TensorFlow, and do what a test puts into them."""

import sys

import nbformat

from normlib.execution import schedule
from normlib.execution.notebook import notebook_path

# A record per seed, as the real notebook writes it; the figures are those of a kept run.
MAKES_UP = """
import dataclasses
from normlib import stack
from normlib.models.instance import Instance
from normlib.runs import record, store
instance = Instance(**{field.name: globals()[field.name] for field in dataclasses.fields(Instance)})
with store.SOURCE_RECORDS.open() as lines:
    kept = store.Record.from_json(next(lines))
here = {"versions": stack.installed(), "provider": stack.resolve_provider("auto"), "threads": threads}
here["study_sha256"] = __import__("os").environ.get(stack.STUDY_VARIABLE) or None
for seed in range(first_seed, first_seed + seeds):
    what = {"key": record.run_key(instance, seed, threads), "instance": instance.settings, "seed": seed}
    what |= {"data": record.data_used(instance), "environment": kept.environment | here}
    what |= globals().get("figures", lambda seed: {})(seed)  # what a test puts before it
    store.save_record(dataclasses.replace(kept, **what), records_dir)
"""


def of(*sources):
    """Return a notebook of some cells, the first of which takes parameters."""
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    cells[0].metadata["tags"] = ["parameters"]
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return nbformat.writes(nbformat.v4.new_notebook(cells=cells, metadata=metadata))


def made_up(before="", behind=""):
    """Return a notebook with the master's parameters, which does something, makes up records, and does something."""
    notebook = nbformat.read(notebook_path("instance"), as_version=4)
    parameters = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    notebook.cells = [*parameters, *(nbformat.v4.new_code_cell(source) for source in (before, MAKES_UP, behind))]
    return nbformat.writes(notebook)


def use(monkeypatch, folder, before="", behind=""):
    """Have studies execute such a notebook; it is written into a folder."""
    path = folder / "master.ipynb"
    path.write_text(made_up(before, behind), encoding="utf-8")
    monkeypatch.setattr(schedule, "notebook_path", lambda name: path)


# Runs the study that small.yaml declares, on the notebook that stands beside it, into out/, and ends as commands do.
RUNS = """
import sys
from pathlib import Path
from normlib import cli
from normlib.execution import schedule, workers
from normlib.studies.study import read_study
schedule.notebook_path = lambda name: Path("master.ipynb")
def study():
    with workers.dask_executor(sys.argv[1]) if sys.argv[1:] else workers.local_executor(2) as executor:
        sys.exit(bool(schedule.run_study(read_study("small.yaml"), "out", executor)))
cli.run(lambda **_: study())
"""


def command(folder, study, *address):
    """Return a command that runs a study in a folder, here or on a Dask cluster, without a summary."""
    (folder / "small.yaml").write_text(study.to_yaml())
    return [sys.executable, "-c", RUNS, *address]

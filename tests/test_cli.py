"""The command line as a user meets it: a process, its exit code, what it prints and what it leaves on the disk."""

import os
import signal
import subprocess
import sys

import nbformat
import pytest
from processes import processes_in, wait_until

from conftest import SMALL
from normlib.runs.store import save_record

STUDY = (
    "question: Which?\norderings: [gn/bn, none]\ndefaults: {fit_split: 'test[:320]', evaluate_split: 'train[:200]'}\n"
)


def run(*arguments, cwd, **environment):
    command = [sys.executable, "-m", "normlib", *map(str, arguments)]
    environment = os.environ | environment
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def folder(tmp_path):
    """A folder with a small study of one's own in it."""
    (tmp_path / "mine.yaml").write_text(STUDY)
    return tmp_path


def test_a_study_ends_with_the_paths_of_the_summary_and_its_figures(folder):
    done = run("study", "mine.yaml", "--seeds", 2, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "mine: 4 of 4 runs done" in done.stderr
    names = ("bars", "bars_evaluation", "places", "training", "gap")
    figures = [f"figures/{name}.{kind}" for name in names for kind in ("png", "svg")]
    assert done.stdout.splitlines()[-12:] == [
        f"outputs/mine/{name}" for name in ("summary.ipynb", "summary.html", *figures)
    ]
    assert len(list((folder / "outputs" / "mine" / "records").glob("*.json"))) == 4
    again = run("summary", "outputs/mine", cwd=folder)
    assert (again.returncode, again.stdout) == (0, done.stdout)
    exported = run("summary", "outputs/mine", "--csv", "a.csv", "--html", "a.html", "--latex", "a.tex", cwd=folder)
    assert exported.stdout.splitlines()[-3:] == ["a.csv", "a.html", "a.tex"]
    assert [(folder / name).read_text()[:9] for name in ("a.csv", "a.html", "a.tex")] == [
        "condition", "<!DOCTYPE", "\\begin{ta",
    ]  # fmt: skip
    status = run("status", "outputs/mine", cwd=folder)
    assert status.stdout.splitlines()[-1] == "4 done, 0 failed, 0 missing"


def test_the_studies_are_listed_with_question_and_cost(folder):
    done = run("study", "--list", cwd=folder)
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert "source: 50 runs (5 instances, 10 seeds each)" in lines
    assert "conditions: 300 runs (30 instances, 10 seeds each)" in lines
    assert "  Do the source's four orderings of BatchNorm and GroupNorm differ once each" in lines


def test_a_dry_run_lists_the_executions_and_writes_nothing(folder):
    before = sorted(folder.rglob("*"))
    done = run("study", "mine.yaml", "--seeds", 3, "--workers", 1, "--dry-run", cwd=folder)
    assert done.returncode == 0
    names = [line.split(":")[0] for line in done.stdout.splitlines()]
    assert [name.split("_")[0] for name in names[:2]] == ["gn-bn", "none-none"]
    assert done.stdout.splitlines()[-1] == "2 executions, 6 of 6 runs to do, into outputs/mine"
    assert sorted(folder.rglob("*")) == before


def test_a_wrong_request_is_one_line_exit_code_2_and_nothing_written(folder):
    """All that is refused is in test_bad_input.py, asked for in its own process."""
    before = sorted(folder.rglob("*"))
    done = run("study", "mine.yaml", "--seeds", "0", cwd=folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "normlib: seeds is 0, but must be a whole number from 1 up\n"
    assert sorted(folder.rglob("*")) == before


def test_a_study_run_on_two_stacks_is_compared_and_nothing_is_written_into_its_folders(folder, make_record):
    """Exit code 0 also where they differ: that is a finding."""
    keras = {"versions": {"tensorflow": "2.21.0", "keras": "3.15.1", "tensorflow-addons": None}, "provider": "keras"}
    losses = {"here": ({}, (0.50, 0.51, 0.52)), "there": ({"environment": keras}, (0.70, 0.71))}
    for name, (made, values) in losses.items():
        for seed, loss in enumerate(values):
            for ordering in ("gn/bn", "none"):
                record = make_record(ordering, seed, loss, **SMALL, **made)
                save_record(record, folder / name / "records")
        (folder / name / "study.yaml").write_text(STUDY)
    before = sorted(folder.rglob("*"))
    done = run("summary", "here", "there", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(folder.rglob("*")) == before
    lines = done.stdout.splitlines()
    assert lines[1].startswith("B, there: 4 runs, seeds: 2, from 0 to 1; tensorflow 2.21.0, keras 3.15.1;")
    assert "4 of 8 figures agree: the 95 % interval of B minus A holds zero." in lines
    exported = run("summary", "here", "there", "--csv", "a.csv", "--html", "a.html", cwd=folder)
    assert exported.stdout.splitlines() == [*lines, "a.csv", "a.html"]
    assert [(folder / name).read_text()[:9] for name in ("a.csv", "a.html")] == ["condition", "<!DOCTYPE"]


def test_a_failed_run_is_exit_code_1_and_named(folder):
    """The kernel that Jupyter finds first ends at once."""
    kernel = folder / "jupyter" / "kernels" / "python3" / "kernel.json"
    kernel.parent.mkdir(parents=True)
    kernel.write_text('{"argv": ["false"], "display_name": "broken", "language": "python"}')
    environment = {"JUPYTER_PATH": str(folder / "jupyter"), "JUPYTER_PREFER_ENV_PATH": "0"}
    done = run("study", "mine.yaml", "--seeds", 1, cwd=folder, **environment)
    assert done.returncode == 1
    failed = [line for line in done.stderr.splitlines() if line.startswith("failed: ")]
    assert [line.split(":")[1] for line in failed] == [" gn/bn, seed 0", " none/none, seed 0"]
    assert all("Kernel died" in line for line in failed), failed
    assert done.stderr.splitlines()[-1] == "0 done, 2 failed, 0 missing"
    assert "Traceback" not in done.stderr
    assert len(list((folder / "outputs" / "mine" / "failures").iterdir())) == 2


@pytest.mark.parametrize("to_all", [True, False], ids=["from a terminal, to all processes", "to the command alone"])
def test_an_interrupted_study_keeps_what_is_finished_and_leaves_no_process(folder, to_all):
    command = [sys.executable, "-m", "normlib", "study", "mine.yaml", "--seeds", "500"]
    process = subprocess.Popen(
        command,
        cwd=folder,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A shell starts background jobs with SIGINT ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    records = folder / "outputs" / "mine" / "records"
    wait_until(lambda: process.poll() is not None or any(records.glob("*.json")), seconds=240)
    (os.killpg if to_all else os.kill)(process.pid, signal.SIGINT)
    _, error = process.communicate(timeout=240)
    assert process.returncode == 130
    assert error.splitlines()[-1] == "interrupted: what is finished is kept; the same command goes on"
    assert "Traceback" not in error
    assert any(records.glob("*.json"))
    wait_until(lambda: not processes_in(folder))  # a kernel that has just lost its parent takes a moment to notice


def test_the_notebooks_are_copied_out_and_never_overwritten(folder):
    done = run("notebooks", "copies", cwd=folder)
    assert done.returncode == 0
    names = ["instance.ipynb", "summary.ipynb", "tour.ipynb", "why.ipynb"]
    assert sorted(path.name for path in (folder / "copies").glob("*.ipynb")) == names
    (folder / "copies" / "instance.ipynb").write_text("mine")
    for path in set((folder / "copies").iterdir()) - {folder / "copies" / "instance.ipynb"}:
        path.unlink()
    again = run("notebooks", "copies", cwd=folder)
    assert again.returncode == 2
    assert "a folder without instance.ipynb, which would be overwritten" in again.stderr
    assert [path.read_text() for path in (folder / "copies").iterdir()] == ["mine"]


def test_what_pytest_needs_comes_with_copied_notebooks(folder):
    """A notebook that was executed elsewhere: another environment, other last digits, and no warning on stderr."""
    assert run("notebooks", "copies", cwd=folder).returncode == 0
    source = "import sys\nprint('made with: this', 0.12345)\nprint('a warning', file=sys.stderr)"
    output = nbformat.v4.new_output("stream", text="made with: that 0.54321\n")
    cell = nbformat.v4.new_code_cell(source, outputs=[output], execution_count=1)
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata=metadata), folder / "copies" / "mine.ipynb")
    command = [sys.executable, "-m", "pytest", "--nbval", "copies/mine.ipynb"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert "1 passed" in done.stdout, done.stdout


def test_alone_it_shows_its_help(folder):
    alone, asked = run(cwd=folder), run("--help", cwd=folder)
    assert (alone.returncode, alone.stdout) == (0, asked.stdout)


@pytest.mark.parametrize("command", [[], ["study"], ["status"], ["summary"], ["verify"], ["notebooks"]])
def test_help_teaches_by_example(folder, command):
    done = run(*command, "--help", cwd=folder)
    assert done.returncode == 0
    example = f"normlib {command[0]} " if command else "normlib study "
    assert [line for line in done.stdout.splitlines() if line.strip().startswith(example)]
    assert "\b" not in done.stdout
    assert r"\b" not in done.stdout

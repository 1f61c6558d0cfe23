"""The command line as a user meets it: its exit code, what it prints and what it leaves on the disk.

What is refused is in test_bad_input.py.
"""

import errno
import os
import re
import shutil
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import masters
import nbformat
import pytest
import yaml
from processes import processes_in, wait_until

import normlib
from conftest import SMALL
from normlib import cli
from normlib.execution import summary
from normlib.report import answer
from normlib.runs.store import read_records, save_record

EXAMPLES = Path(__file__).parent.parent / "examples"
STUDY = (
    "question: Which?\norderings: [gn/bn, none]\ndefaults: {fit_split: 'test[:320]', evaluate_split: 'train[:200]'}\n"
)


# The command line, with a notebook in the folder that makes up its records.
MADE_UP = """
from pathlib import Path
from normlib import cli
from normlib.execution import schedule
schedule.notebook_path = lambda name: Path("master.ipynb")
cli.main()
"""


def run(*arguments, cwd, **environment):
    command = [sys.executable, "-m", "normlib", *map(str, arguments)]
    environment = os.environ | environment
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def folder(tmp_path):
    """A folder with a small study of one's own in it."""
    (tmp_path / "mine.yaml").write_text(STUDY)
    return tmp_path


@pytest.fixture
def here(folder, monkeypatch, capsys):
    """Return a function that runs a command in this process; it returns the exit code and both outputs."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)  # to have it back

    def here(*arguments):
        monkeypatch.setattr(sys, "argv", ["normlib", *arguments])
        code = 0
        try:
            cli.main()
        except SystemExit as ended:
            code = ended.code
        return code, *capsys.readouterr()

    return here


def test_the_example_of_kinds_of_ones_own_runs_as_its_first_lines_say_and_ends_with_what_it_found(
    tmp_path, here, monkeypatch
):
    """With fewer orderings, seeds and images. GroupNorm has two weights a channel, what centres has none."""
    shutil.copy(EXAMPLES / "my_norms.py", tmp_path)
    content = yaml.safe_load((EXAMPLES / "my_norms.yaml").read_text())
    (tmp_path / "my_norms.yaml").write_text(yaml.safe_dump({**content, "defaults": SMALL}))
    command = ("study", "my_norms.yaml", "--orderings", "gn,my_norms:Centred", "--seeds", 2, "--workers", 1)
    done = run(*command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[1] == "my_norms: 0 of 4 runs done"
    assert "my_norms: 4 of 4 runs done" in done.stderr
    *found, cost, page = done.stdout.splitlines()
    assert found[0] == "my_norms: 4 runs, running training loss"
    assert re.match(r"  division: (un)?decided|  division: differs|  division: level", found[1])
    assert found[-1].startswith("  By means, ")
    assert cost == "  What each ordering costs: normlib cost outputs/my_norms measures it."
    assert page == "outputs/my_norms/summary.html"
    out = tmp_path / "outputs" / "my_norms"
    assert "Centred/none" in (out / "summary.html").read_text()
    assert "my_norms:Centred/none" not in (out / "summary.html").read_text()
    weights = {(run.instance["ordering"], run.parameters["total"]) for run in read_records(out)}
    assert weights == {("gn/none", 739_728), ("my_norms:Centred/none", 739_708)}

    executed = (out / "summary.ipynb").read_text()
    monkeypatch.setattr(summary, "execute", lambda *_, **__: executed)  # which is the same again
    exports = {"--csv": "a.csv", "--html": "a.html", "--latex": "a.tex"}
    arguments = ("outputs/my_norms", "--verbose", *(word for pair in exports.items() for word in pair))
    code, said, _ = here("summary", *arguments)
    assert (code, said.splitlines()[: len(found)]) == (0, found)
    names = ("bars", "bars_evaluation", "places", "contrasts", "training")
    figures = [f"figures/{name}.{kind}" for name in names for kind in ("png", "svg")]
    written = [f"outputs/my_norms/{name}" for name in ("summary.ipynb", "summary.html", *figures)]
    files = ["a.csv", "a_contrasts.csv", "a.html", "a.tex"]
    assert said.splitlines()[-16:] == [*written, *files]
    starts = [(tmp_path / name).read_text()[:9] for name in files]
    assert starts == ["condition", "name,cond", "<!DOCTYPE", "\\begin{ta"]
    assert here("status", "outputs/my_norms")[1].splitlines()[-1] == "4 done, 0 failed, 0 missing"


def test_the_studies_are_listed_with_question_and_cost(here):
    code, out, _ = here("study", "--list")
    assert code == 0
    lines = out.splitlines()
    assert "source: 50 runs (5 instances, 10 seeds each)" in lines
    assert "conditions: 300 runs (30 instances, 10 seeds each)" in lines
    assert "  Do the source's four orderings of BatchNorm and GroupNorm differ once each" in lines
    assert any(line.startswith("  Planned: with 10 seeds, a difference of 0.0") for line in lines)


def test_a_dry_run_lists_the_executions_and_writes_nothing(here, folder):
    before = sorted(folder.rglob("*"))
    code, out, _ = here("study", "mine.yaml", "--seeds", "3", "--workers", "1", "--dry-run")
    assert code == 0
    names = [line.split(":")[0] for line in out.splitlines()]
    assert [name.split("_")[0] for name in names[:3]] == ["Planned", "gn-bn", "none-none"]
    assert out.splitlines()[-1] == "2 executions, 6 of 6 runs to do, into outputs/mine"
    assert sorted(folder.rglob("*")) == before


def test_a_study_run_on_two_stacks_is_compared_and_nothing_is_written_into_its_folders(folder, here, make_record):
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
    code, out, error = here("summary", "here", "there", "--csv", "a.csv", "--html", "a.html")
    assert (code, error) == (0, "")
    assert sorted(folder.rglob("*")) == sorted([*before, folder / "a.csv", folder / "a.html"])
    assert "\nB, there: 4 runs, seeds: 2, from 0 to 1; tensorflow 2.21.0, keras 3.15.1;" in out
    assert "\n4 of 8 figures agree: the 95 % interval of B minus A holds zero; not so: " in out
    assert out.splitlines()[-2:] == ["a.csv", "a.html"]
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


@pytest.mark.parametrize(
    ("send", "number"),
    [(os.killpg, signal.SIGINT), (os.kill, signal.SIGTERM)],
    ids=["from a terminal, to all processes", "asked to end, the command alone"],
)
def test_an_interrupted_study_keeps_what_is_finished_and_leaves_no_process(folder, send, number):
    """Its notebook makes up its records, and then sleeps."""
    (folder / "master.ipynb").write_text(masters.made_up(behind="import time; time.sleep(600)"))
    command = [sys.executable, "-c", MADE_UP, "study", "mine.yaml", "--seeds", "500"]
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
    send(process.pid, number)
    _, error = process.communicate(timeout=240)
    assert process.returncode == 130
    assert error.splitlines()[-1] == "interrupted: what is finished is kept; the same command goes on"
    assert "Traceback" not in error
    assert any(records.glob("*.json"))
    wait_until(lambda: not processes_in(folder))  # a kernel that has just lost its parent takes a moment to notice


def test_the_notebooks_are_copied_out_with_what_pytest_needs_and_never_overwritten(here, folder):
    """Beside them, one that was executed elsewhere: another environment, other last digits, a warning on stderr."""
    assert here("notebooks", "copies")[0] == 0
    names = ["instance.ipynb", "summary.ipynb", "tour.ipynb", "why.ipynb"]
    assert sorted(path.name for path in (folder / "copies").glob("*.ipynb")) == names

    source = "import sys\nprint('Made with: this', 0.12345)\nprint('a warning', file=sys.stderr)"
    output = nbformat.v4.new_output("stream", text="Made with: that 0.54321\n")
    cell = nbformat.v4.new_code_cell(source, outputs=[output], execution_count=1)
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata=metadata), folder / "copies" / "mine.ipynb")
    command = [sys.executable, "-m", "pytest", "--nbval", "copies/mine.ipynb"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert "1 passed" in done.stdout, done.stdout

    (folder / "copies" / "instance.ipynb").write_text("mine")
    (folder / "copies" / "tour.ipynb").unlink()
    code, _, error = here("notebooks", "copies")
    assert code == 2
    assert "instance.ipynb is there already and would be overwritten" in error
    assert (folder / "copies" / "instance.ipynb").read_text() == "mine"
    assert not (folder / "copies" / "tour.ipynb").exists()


def test_alone_it_shows_its_help(here):
    assert here() == here("--help")


@pytest.mark.parametrize("command", [[], *([name] for name in cli.commands.commands)])
def test_help_teaches_by_example(here, command):
    code, out, _ = here(*command, "--help")
    assert code == 0
    example = f"normlib {command[0]} " if command else "normlib study "
    assert [line for line in out.splitlines() if line.strip().startswith(example)]
    assert "\b" not in out
    assert r"\b" not in out


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left", "a/b.json"), "OSError: [Errno 28] No space left: 'a/b.json'"),
        (OSError("\x1b[2J\u202egnp.exe"), "OSError: \\x1b[2J\\u202egnp.exe"),
    ],
    ids=["a full disk", "what the terminal would obey is written out"],
)
def test_what_the_machine_does_is_one_line_and_exit_code_1_and_so_is_a_warning(here, monkeypatch, error, said):
    """The warning as it is formatted, without its line of code; pytest keeps what is warned for itself."""

    def fails(folder):
        raise error

    monkeypatch.setattr("normlib.studies.folder.describe_status", fails)
    assert here("status", "mine") == (1, "", f"normlib: {said}\n")
    shown = warnings.formatwarning(UserWarning("left out\na.json"), UserWarning, "a.py", 1)
    assert shown == "normlib: left out a.json\n"


def test_the_cost_of_a_studys_orderings_is_told_and_from_then_on_belongs_to_its_results(here, folder, make_record):
    for ordering in ("bn/none", "none/none"):
        save_record(make_record(ordering, **SMALL), folder / "mine" / "records")
    (folder / "cost.csv").write_text("somebody else's")
    assert normlib.read_results("mine").cost is None
    code, out, _ = here("cost", "mine/records", "--rounds", "1")
    assert code == 0
    assert out.startswith("Cost. Seconds over those of none/none, on ")
    assert out.splitlines()[-1] == "mine/cost.csv"
    for place in ("mine", "mine/records"):
        results = normlib.read_results(place)
        assert results.cost.index.tolist() == ["bn/none", "none/none"]
        (line,) = (line for line in answer.answer(results) if line.startswith("Seconds over those of none/none"))
        assert "bn/none" in line
    assert "parameters at inference" in results.table("cost").to_html()

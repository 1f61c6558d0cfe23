import re
import sys
import time

from normlib.runs import progress as progress_module
from normlib.runs.progress import Progress


def test_a_log_file_gets_a_line_a_run(capsys):
    with Progress(3, "source", done=1) as progress:
        progress.advance("bn/none, seed 0: loss 0.4")
        progress.advance("bn/none, seed 1: loss 0.5")
    assert capsys.readouterr().err.splitlines() == [
        "source: 2 of 3 runs done; bn/none, seed 0: loss 0.4",
        "source: 3 of 3 runs done; bn/none, seed 1: loss 0.5",
    ]


def test_a_failed_run_has_its_line_and_is_counted_apart(capsys):
    with Progress(2, "source") as progress:
        progress.running = 2  # of no interest in a log file
        progress.fail("bn/none, seed 0: OSError: out of luck")
        progress.advance("bn/none, seed 1: loss 0.5")
    assert capsys.readouterr().err.splitlines() == [
        "source: 0 of 2 runs done, 1 failed; failed: bn/none, seed 0: OSError: out of luck",
        "source: 1 of 2 runs done, 1 failed; bn/none, seed 1: loss 0.5",
    ]


def test_a_terminal_gets_a_bar(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with Progress(2, "source") as progress:
        progress.running = 2
        progress.advance("bn/none, seed 0: loss 0.4")
        progress.fail("bn/none, seed 1: OSError")
    bar = capsys.readouterr().err.split("\r")[-1]
    assert bar.startswith("source:  50%")
    assert "1/2" in bar
    assert "1 failed, 2 running, failed: bn/none, seed 1: OSError" in bar


def test_a_notebook_gets_one_line_that_changes_and_ends_plain(monkeypatch, capsys):
    lines = []
    monkeypatch.setattr(progress_module, "in_notebook", lambda: True)
    monkeypatch.setattr(progress_module.Live, "_show", lambda _, line: lines.append(line))
    with Progress(3, "source", done=1) as progress:
        progress.running = 2
        time.sleep(0.2)  # tqdm takes no rate from less than a tenth of a second
        progress.advance("bn/none, seed 0: loss 0.4")
        progress.fail("bn/none, seed 1: OSError")
    assert lines[0] == "source: 1 of 3 runs done"
    assert re.fullmatch("source: 2 of 3 runs done, 2 running, [0-9:]+ left; bn/none, seed 0: loss 0.4", lines[2])
    assert re.fullmatch("source: 2 of 3 runs done, 1 failed, 2 running, [0-9:]+ left; failed: .*", lines[3])
    assert lines[-1] == "source: 2 of 3 runs done, 1 failed"
    assert capsys.readouterr() == ("", "")

import sys

from normlib.progress import Progress


def test_a_log_file_gets_a_line_a_run(capsys):
    with Progress(3, "source", done=1) as progress:
        progress.advance("bn/none, seed 0: loss 0.4")
        progress.advance("bn/none, seed 1: loss 0.5")
    assert capsys.readouterr().err.splitlines() == [
        "source: 2 of 3 runs done; bn/none, seed 0: loss 0.4",
        "source: 3 of 3 runs done; bn/none, seed 1: loss 0.5",
    ]


def test_a_terminal_gets_a_bar(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with Progress(2, "source") as progress:
        progress.advance("bn/none, seed 0: loss 0.4")
    bar = capsys.readouterr().err.split("\r")[-1]
    assert bar.startswith("source:  50%")
    assert "1/2" in bar
    assert "loss 0.4" in bar

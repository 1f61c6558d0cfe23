import re
import sys

import jupyter_client
import pytest
from processes import wait_until

from normlib.execution import kernels
from normlib.runs import progress as progress_module
from normlib.runs.progress import Live, Progress, in_notebook, is_watched


def test_a_log_file_gets_a_line_a_run_that_says_how_long_the_rest_will_take(capsys, monkeypatch):
    """Two of the four are left after one, and so twice the time that it took; failed ones are counted apart."""
    now = [100.0]
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: now[0])
    with Progress(4, "source", done=1) as progress:
        progress.running = 2
        progress.fail("bn/none, seed 0: OSError: out of luck")
        now[0] = 160.0
        progress.advance("bn/none, seed 1: loss 0.5")
    assert capsys.readouterr().err.splitlines() == [
        "source: 1 of 4 runs done",
        "source: 1 of 4 runs done, 1 failed, 2 running; failed: bn/none, seed 0: OSError: out of luck",
        "source: 2 of 4 runs done, 1 failed, 2 running, 02:00 left; bn/none, seed 1: loss 0.5",
    ]


def test_a_log_file_in_which_nothing_happens_gets_a_line_all_the_same(capsys, monkeypatch):
    monkeypatch.setattr(progress_module, "_SILENCE", 0)
    with Progress(4, "source") as progress:
        progress.running = 1
        wait_until(lambda: "source: 0 of 4 runs done, 1 running\n" in capsys.readouterr().err)


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
    """Two of the three are left after one, and so twice the time that it took."""
    lines, now = [], iter([100.0, 160.0, 160.0])
    monkeypatch.setattr(progress_module, "in_notebook", lambda: True)
    monkeypatch.setattr(progress_module, "is_watched", lambda: True)
    monkeypatch.setattr(progress_module, "_display", lambda _, data: lines.append(data["text/plain"]))
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: next(now))
    with Progress(4, "source", done=1) as progress:
        progress.running = 2
        progress.advance("bn/none, seed 0: loss 0.4")
        progress.fail("bn/none, seed 1: OSError")
    assert lines == [
        "source: 1 of 4 runs done",
        "source: 1 of 4 runs done, 2 running",
        "source: 2 of 4 runs done, 2 running, 02:00 left; bn/none, seed 0: loss 0.4",
        "source: 2 of 4 runs done, 1 failed, 2 running, 02:00 left; failed: bn/none, seed 1: OSError",
        "source: 2 of 4 runs done, 1 failed",
    ]
    assert capsys.readouterr() == ("", "")


def test_outside_of_a_notebook_there_is_nothing(capsys):
    assert not in_notebook()
    assert not is_watched()
    live = Live()
    live.say("training")
    live.follow("bn/none, seed 0", 1, 1, 0.5, 0.8)
    assert capsys.readouterr() == ("", "")


# The real thing: a kernel to which cells are sent as a frontend sends them, and as papermill does.

COMPARE = """
import normlib
normlib.plot_bars(normlib.compare(["bn", "none"], seeds=1, fit_split="test[:320]", evaluate_split="train[:50]"))
"""


@pytest.fixture(scope="module")
def kernel():
    manager = jupyter_client.KernelManager(kernel_name=kernels.KERNEL)
    manager.start_kernel(extra_arguments=["--log-level=ERROR"])
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=120)
    yield client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def outputs(client, code, person):
    """Execute a cell; return the type and data of each message that it gives, the displays they are for, and more."""
    found = []
    reply = client.execute_interactive(code, allow_stdin=person, output_hook=found.append, timeout=240)
    assert reply["content"]["status"] == "ok", reply
    shown = [m for m in found if m["msg_type"] in ("display_data", "update_display_data", "stream")]
    contents = [(m["msg_type"], m["content"]) for m in shown]
    return [(kind, c.get("data", c.get("text")), c.get("transient", {}), c.get("metadata")) for kind, c in contents]


def test_a_person_sees_one_line_and_one_curve_that_change_in_place_and_then_the_picture(kernel):
    *found, picture = outputs(kernel, COMPARE, person=True)
    assert (picture[0], picture[2]) == ("display_data", {})
    assert [kind for kind, *_ in found].count("display_data") == 2
    assert {kind for kind, *_ in found} == {"display_data", "update_display_data"}
    assert len({transient["display_id"] for _, _, transient, _ in found}) == 2
    lines = [data["text/plain"] for _, data, *_ in found if "image/png" not in data]
    assert lines[0] == "training: 0 of 2 runs done"
    assert [line for line in lines if "none/none, seed 0: step 10 of 10, loss " in line]
    assert lines[-1] == "training: 2 of 2 runs done"
    pictures = [data for _, data, *_ in found if "image/png" in data]
    assert re.match("The running loss of none/none, seed 0 by step, down to ", pictures[-1]["text/plain"])


def test_where_nobody_looks_there_is_the_picture_with_its_text_and_nothing_else(kernel):
    ((kind, data, _, metadata),) = outputs(kernel, COMPARE.replace('"bn", ', ""), person=False)
    assert (kind, "image/png" in data) == ("display_data", True)
    assert metadata["image/png"]["alt"].startswith("Bars: ")


def test_a_single_run_is_seen_too(kernel):
    one = "record = normlib.train(normlib.Instance(fit_split='test[:96]', evaluate_split='train[:96]'), 1)"
    seen = outputs(kernel, one, person=True)
    assert seen[0][1]["text/plain"].startswith("bn/none, seed 1: step 1 of 3, loss ")

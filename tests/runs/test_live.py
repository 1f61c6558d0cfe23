"""The real thing: a kernel to which cells are sent as a frontend sends them, and as papermill does."""

import jupyter_client
import pytest

from normlib.execution import kernels
from normlib.runs.progress import Live, in_notebook, is_watched

COMPARE = """
import normlib
records = normlib.compare(["bn", "none"], seeds=2, fit_split="test[:640]", evaluate_split="train[:200]")
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
    """Execute a cell; return the type and data of each message that it gives, and the displays they are for."""
    found = []
    reply = client.execute_interactive(code, allow_stdin=person, output_hook=found.append, timeout=240)
    assert reply["content"]["status"] == "ok", reply
    shown = [m for m in found if m["msg_type"] in ("display_data", "update_display_data", "stream")]
    return [
        (m["msg_type"], m["content"].get("data", m["content"].get("text")), m["content"].get("transient", {}))
        for m in shown
    ]


def test_a_person_sees_one_line_and_one_curve_that_change_in_place(kernel):
    found = outputs(kernel, COMPARE, person=True)
    assert [kind for kind, _, _ in found].count("display_data") == 2
    assert {kind for kind, _, _ in found} == {"display_data", "update_display_data"}
    assert len({transient["display_id"] for _, _, transient in found}) == 2
    lines = [data["text/plain"] for _, data, _ in found if "image/png" not in data]
    assert lines[0] == "training: 0 of 4 runs done"
    assert [line for line in lines if "none/none, seed 1: step 20 of 20, loss " in line]
    assert lines[-1] == "training: 4 of 4 runs done"
    pictures = [data for _, data, _ in found if "image/png" in data]
    assert pictures[-1]["text/plain"].startswith("The running loss of none/none, seed 1 by step, down to ")


def test_nobody_sees_nothing(kernel):
    assert outputs(kernel, COMPARE, person=False) == []


def test_a_single_run_is_seen_too_and_gives_the_same_bits(kernel):
    one = "record = normlib.train(normlib.Instance(fit_split='test[:640]', evaluate_split='train[:200]'), 1)\n"
    seen = outputs(kernel, one, person=True)
    assert seen[0][1]["text/plain"].startswith("bn/none, seed 1: step 1 of 20, loss ")
    assert outputs(kernel, one + "assert record.training['loss'][0] == records['train_loss'][1]", person=False) == []


def test_outside_of_a_notebook_there_is_nothing(capsys):
    assert not in_notebook()
    assert not is_watched()
    live = Live()
    live.begin()
    live.say("training")
    live.follow("bn/none, seed 0", 1, 1, 0.5, 0.8)
    assert capsys.readouterr() == ("", "")

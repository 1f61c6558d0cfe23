"""What becomes of executions that fail: each outcome here is made up, as no machine fails on demand."""

import concurrent.futures

import pytest

from normlib.execution.jobs import Dispatch, read_run
from normlib.execution.notebook import Cause, Execution, ExecutionError
from normlib.execution.workers import Outcome
from normlib.models.instance import Instance
from normlib.runs.progress import Progress
from normlib.runs.store import save_record
from normlib.studies.folder import read_failures

NONE = Instance("none")


class InPlace(concurrent.futures.Executor):
    """Does everything as soon as it is submitted."""

    def submit(self, function, *arguments):
        """Return a future that is already done."""
        future = concurrent.futures.Future()
        try:
            future.set_result(function(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future


@pytest.fixture
def finish(make_record, made_here, tmp_path):
    """Return a function that makes four seeds in one execution, and returns failures and the seeds of each try.

    ``outcome(seeds, number)`` gives what becomes of a try: seeds whose records come back, and an error or None; or it
    raises what an engine raises.
    """

    def finish(outcome, retries=2):
        tried = []

        def perform(execution):
            seeds = list(execution.run_seeds)
            tried.append(seeds)
            done, error = outcome(seeds, tried.count(seeds))
            records = tuple(make_record("none", seed, environment=made_here) for seed in done)
            return Outcome(records, "as far as it came" if error else "executed", error)

        execution = Execution(NONE, 0, 4)
        with Progress(4, "made up") as progress:
            made = Dispatch(execution.keys.values(), tmp_path, InPlace(), perform, retries, progress)
            return made.finish([execution]), tried

    return finish


DIED = ExecutionError("the kernel died", cause=Cause.MACHINE)
LATE = ExecutionError("it took longer than 5 s", cause=Cause.TIME)
WRONG = ExecutionError("model is 'mine:build', but it ended Python", cause=Cause.REQUEST)


def fails(seed, error):
    """An outcome in which a seed fails and those before it in its execution are done."""
    return lambda seeds, number: (range(seeds[0], seed), error) if seed in seeds else (seeds, None)


def test_an_error_in_code_fails_its_run_alone_and_is_not_tried_again(finish, tmp_path):
    failures, tried = finish(fails(1, ExecutionError("OSError: out of luck", "a log")))
    assert tried == [[0, 1, 2, 3], [2], [3]]
    (failure,) = failures
    assert (failure.seed, failure.reason, failure.log, failure.tries) == (1, "OSError: out of luck", "a log", 1)
    assert (tmp_path / failure.notebook).read_text() == "as far as it came"
    assert read_failures(tmp_path) == failures
    assert [seed for seed, key in Execution(NONE, 0, 4).keys.items() if read_run(tmp_path, key)] == [0, 2, 3]


def lost(seeds, number):
    """The worker is lost on the first try of each execution."""
    if number == 1:
        raise ConnectionError("gone")
    return seeds, None


def succeeds_alone(error):
    return lambda seeds, number: (seeds, None) if len(seeds) == 1 else ([], error)


ALL, TOO_FAR = [0, 1, 2, 3], ExecutionError("AssertionError: too far")


@pytest.mark.parametrize(
    ("outcome", "retries", "failed", "tried"),
    [
        (fails(1, WRONG), 2, dict.fromkeys((1, 2, 3), (WRONG.reason, 1)), [ALL]),
        (fails(1, DIED), 0, {1: (DIED.reason, 1)}, [ALL, [2], [3]]),
        (fails(1, DIED), 2, {1: (DIED.reason, 3)}, [ALL, [1], [1], [2], [3]]),
        (fails(1, LATE), 2, {1: (LATE.reason, 2)}, [ALL, [1], [2], [3]]),
        (succeeds_alone(DIED), 2, {}, [[0], ALL, [1], [2], [3]]),
        (succeeds_alone(LATE), 2, {}, [[0], ALL, [1], [2], [3]]),
        (lambda *_: (ALL, TOO_FAR), 2, {3: (TOO_FAR.reason, 1)}, [ALL]),
        (lambda *_: (ALL, DIED), 2, {}, [ALL]),
        (lost, 1, {0: ("the worker was lost: ConnectionError: gone", 2)}, [[0], ALL, [1], [1], [2], [2], [3], [3]]),
        (lambda seeds, _: (seeds[:-1], None), 2, {3: ("the notebook wrote no record", 1)}, [ALL]),
    ],
    ids=[
        "a wrong request: no other seed changes it",
        "the machine, once",
        "the machine, tried again",
        "the time was up: only alone had a run all of it",
        "the machine, and another try succeeds",
        "the time was up, and another try succeeds",
        "an error behind the last record",
        "the machine behind the last record took nothing",
        "a lost worker is the machine's fault",
        "no error and no record",
    ],
)
def test_what_failed_is_told_and_tried_again_where_another_try_may_do_better(
    finish, tmp_path, outcome, retries, failed, tried
):
    failures, made = finish(outcome, retries)
    assert {failure.seed: (failure.reason, failure.tries) for failure in failures} == failed
    assert sorted(made) == tried
    assert len(list(tmp_path.glob("failures/*"))) == len(failed)


def test_an_interruption_cancels_what_waits(tmp_path):
    class Interrupted(concurrent.futures.Executor):
        def submit(self, *_):
            """Take two executions and start none."""
            if len(submitted) == 2:
                raise KeyboardInterrupt
            submitted.append(concurrent.futures.Future())
            return submitted[-1]

    submitted = []
    with Progress(3, "made up") as progress:
        made = Dispatch([], tmp_path, Interrupted(), pytest.fail, 2, progress)
        with pytest.raises(KeyboardInterrupt):
            made.finish([Execution(NONE, seed, 1) for seed in range(3)])
    assert [future.cancelled() for future in submitted] == [True, True]


def test_a_pool_that_broke_ends_the_study_with_failures(finish, monkeypatch):
    def broken(*_):
        raise concurrent.futures.BrokenExecutor("a process ended abruptly")

    monkeypatch.setattr(InPlace, "submit", broken)
    failures, _ = finish(lambda *_: pytest.fail("it was run"))
    assert [failure.seed for failure in failures] == [0, 1, 2, 3]
    assert all(failure.reason.endswith("a process ended abruptly") for failure in failures)


def test_a_record_that_was_there_counts_only_when_it_was_made_again(finish, make_record, made_here, tmp_path, capsys):
    for seed in range(4):
        save_record(make_record("none", seed, loss=9.0, environment=made_here), tmp_path / "records")
    failures, _ = finish(fails(3, ExecutionError("OSError")))
    assert [failure.seed for failure in failures] == [3]
    keys = Execution(NONE, 0, 4).keys
    assert [read_run(tmp_path, key).training["loss"] for key in keys.values()] == [[0.4], [0.4], [0.4], [9.0]]
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "made up: 0 of 4 runs done"
    assert lines[1].startswith("made up: 1 of 4 runs done")
    assert lines[1].endswith("left; none/none, seed 0: loss 0.4000, accuracy 0.8800")
    assert lines[-1].startswith("made up: 3 of 4 runs done, 1 failed")
    assert lines[-1].endswith("; failed: none/none, seed 3: OSError")

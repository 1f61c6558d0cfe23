"""Whatever is wrong in a request is refused: one line, exit code 2, no traceback, no kernel, no byte written.

Tables have values that each setting, study key, command and option refuses; Hypothesis tries the rest. In which words
is said in the tests of the modules that refuse.
"""

import contextlib
import dataclasses
import inspect
import io
import itertools
import math
import os
import sys
import warnings

import click
import numpy as np
import pandas as pd
import psutil
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import normlib
from normlib import cli
from normlib.errors import RequestError
from normlib.execution import kernels
from normlib.models.instance import Instance
from normlib.runs.store import save_record
from normlib.studies.study import Study, read_study

STUDY = {
    "question": "Which?",
    "orderings": ["gn/bn", "none"],
    "defaults": {"fit_split": "test[:320]", "evaluate_split": "train[:200]"},
}
LONG = "x" * 1_000_000
LENGTHY = "x" * 50_000  # which a file of a study may still have
NOT_WHOLE = [0, -3, 1.5, True, "1", [1], 10**100]
NOT_REAL = ["1e-3", None, True, math.nan, math.inf, 10**400, []]

SETTINGS = {
    "ordering": ["", 3, "bm/gn", "BatchNorm/gn", "gn+/bn", "gn/bn/gn", "+".join(["bn"] * 5000), "gn\n/bn\0", LENGTHY],
    "model": ["sourcecnn", 1, "../mine", "mine:", "mine.:build", "mine:build()", "os;os:system", f"mine:{LENGTHY}"],
    "activation": ["Relu", None, []],
    "dataset": ["minst", "/etc/passwd", LENGTHY, 3, "none.npz", "null\0byte.npz", f"{LENGTHY}.npz"],
    "fit_split": ["training", "test[:10001]", "test[5:5]", "test[:9999999999999999]", "test[__import__('os')]", 7],
    "evaluate_split": ["train+test", "train[9%:1%]"],
    "epochs": [*NOT_WHOLE, None],
    "batch_size": [*NOT_WHOLE, None],
    "learning_rate": [0, -0.1, *NOT_REAL],
    "groups": [*NOT_WHOLE, 3, 20],
    "momentum": [1, 1.0, -0.1, *NOT_REAL],
    "provider": ["torch", "kreas", 1],
    "optimizer": ["Adam", None, ["sgd"]],
    "weight_decay": [1, -1e-4, *NOT_REAL],
    "epsilon": [0, -1e-5, 1.5, *NOT_REAL],
    "channels_per_group": [*NOT_WHOLE, 3],
    "statistics_batch": [*NOT_WHOLE, 3, 64],
    "fit_sample": [*NOT_WHOLE, 10_001],
    "schedule": ["linear", None, ["cosine"]],
    "warmup": [*NOT_WHOLE[1:], None, 314],
}

TUNE = {"varies": [{"learning_rate": [0.001, 0.01]}], "evaluate_split": "train[200:400]", "seeds": 1, "first_seed": 50}
PAPER = {"reports": "A paper, table 1", "against": "batch_size", "lines": {"bn": {32: 1.0}}, "differs": "In all."}
TWO = {"gn/bn": {"epochs": 2}}  # an own value for one of the orderings
KEYS = {
    "question": [3, None, [], "x" * 2001, "a\x1b[2Jb", "\u202ehcihW?"],
    "citation": [3, "a\u0000b", {"a": "b"}],
    "orderings": ["bn", [], None, ["bn", "bn/none"], [["bn"]]],
    "varies": [
        {"batch_size": [32]},
        [{"batch_size": 32}],
        [{}],
        [{"batch_size": []}],
        [{1: [32]}],
        [{"batch_size": [[32]]}],
        [{"batch_size": [32, 64], "epochs": [1]}],
        [{"ordering": ["bn"]}],
        [{"epochs": [1]}, {"epochs": [2]}],
        [{"fit_split": ["test"]}],
        [{"epochs": [1, 1], "batch_size": [8, 9]}],
        [{"epoch": [1]}],
        [{"epochs": [0]}],
        [{"learning_rate": [10**400]}],
        [{"epochs": [*range(1, 101)]}, {"batch_size": [*range(1, 102)]}],
    ],
    "seeds": [*NOT_WHOLE, None, 100_001],
    "looks": [[8, 8], [16, 8], [1, 2], [2, 2.5], [2, "8"], 8, "8", [2, 8]],  # the last with no contrast
    "ties": [{"bn/none": {"epochs": 2}}, [2], 2],
    "diverged": ["best", 1, ["worst"]],
    "expected_sd": [0, -1, *(value for value in NOT_REAL if value is not None)],
    "first_seed": [-1, "0", True, 2**32, 2**32 - 5],
    "defaults": [3, {1: 2}, {"ordering": "bn"}, {"epoch": 1}, {"cls": 1}],
    "own": [
        [1],
        {"gn/bn": 3, "none": {}},
        TWO,
        TWO | {"none": {"batch_size": 2}},
        {"gn/bn": {"fit_split": "test"}, "none": {"fit_split": "test"}},
        TWO | {"none": {"epochs": 0}},
        {"gn/bn": {1: 2}, "none": {1: 2}},
    ],
    "tune": [
        3,
        TUNE | {"seed": 3},
        {"varies": TUNE["varies"]},
        TUNE | {"varies": []},
        TUNE | {"varies": [{"learning_rate": [0.1, -1]}]},
        TUNE | {"varies": [{"fit_split": ["test"]}]},
        TUNE | {"first_seed": 3},
        TUNE | {"seeds": 0},
        TUNE | {"evaluate_split": "train[100:300]"},
        TUNE | {"evaluate_split": "test[319:]"},
        TUNE | {"evaluate_split": "valid"},
    ],
    "quick": [[2], {"sedes": 2}, {"seeds": 0}, {"defaults": 3}, {"defaults": {"epochs": 0}}],
    "paper": [[2], {"reports": "all"}, PAPER | {"against": "seed"}, PAPER | {"lines": []}, PAPER | {"reports": 3}],
    "measure": ["loss", "train_los", 1],
    "margin": [0, -1, *NOT_REAL],
    "contrasts": [
        ["bn"],
        {1: "gn/bn - none"},
        {"order": "gn/bn"},
        {"order": 3},
        {"order": "gn/bn - gn/none"},
        {"order": "gn/bn - gn/bn"},
        {"order": "gx - none"},
        {"a\x1b": "gn/bn - none"},
        {"a\nb": "gn/bn - none"},
        {"n" * 101: "gn/bn - none"},
    ],
    "declared_in": ["mine.yaml", 3, "A" * 64],
    "sedes": [3],
    1: [3],
}

# Files that are no study at all.
GOOD = "question: Which?\norderings: [bn]\n"
FILES = {
    "empty.yaml": "",
    "list.yaml": "[1, 2]",
    "no_question.yaml": "orderings: [bn]\n",
    "no_orderings.yaml": "question: Which?\n",
    "twice.yaml": f"{GOOD}question: b\n",
    "open.yaml": "question: [",
    "date.yaml": "question: 2024-13-45\n",
    "deep.yaml": "[" * 10_000,
    "binary.yaml": b"\xff\xfe\x00",
    "object.yaml": "question: !!python/object/apply:os.system [touch executed]\n",
    "big.yaml": f"question: {LONG}\n",
    "huge_number.yaml": f"{GOOD}seeds: {'9' * 5000}\n",
    "hex.yaml": f"{GOOD}seeds: 0x{'f' * 5000}\n",
    # A few lines that stand for more than any machine holds, and a list that holds itself.
    "bomb.yaml": (
        "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
        + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]\n" for a, b in itertools.pairwise("abcdefghij"))
        + "question: *j\norderings: [bn]\n"
    ),
    "bomb_in_key.yaml": (
        "question: Which?\norderings: &a [bn, bn, bn, bn, bn, bn, bn, bn, bn]\n"
        "varies: [{epochs: &b [*a, *a, *a, *a, *a], batch_size: &c [*b, *b, *b, *b, *b]}, {momentum: [*c, *c, *c]}]\n"
    ),
    "bomb_as_key.yaml": "question: Which?\norderings: &a [bn, bn]\nvaries: [{? &b [*a, *a, *a] : 1, ? *b : 2}]\n",
    "many.yaml": f"{GOOD[:-4]}{', bn' * 1001}]\nvaries: [{{epochs: {[*range(1, 12)]}}}]\n",
    "itself.yaml": "question: Which?\norderings: &a [*a]\n",
    "..yaml": GOOD,
    "a\nb.yaml": GOOD,
    "$(touch executed).yaml": GOOD,
}

# Commands, the option in question by its name, and what stands behind it; where no option is named, the arguments.
COMMANDS = {
    None: [["studdy"], ["--verison"], [""], [LONG]],
    "study": [[], ["sorce"], ["."], [""], ["null\0byte"], [LONG], ["mine.yaml", "more"], ["mine.yaml", "--sedes", "3"]],
    "study --out": ["", "mine.yaml", "mine.yaml/below", "null\0byte", LONG],
    "study --seeds": ["0", "many", "1.5", "9" * 9, "9" * 5000],
    "study --workers": ["0", "1001", "all"],
    "study --threads": ["0", "9999", "-"],
    "study --scheduler": ["nonsense", "", "file:///etc/passwd"],
    "study --timeout": ["0", "-1", "nan", "1e99", "long"],
    "study --retries": ["-1", "1e3"],
    "study --orderings": ["", "bn,xx", "bn/gn/bn", "bn,bn/none", LONG],
    **{f"study --{flag}": ["no"] for flag in ("redo", "quick", "list", "dry-run", "verbose")},
    "status": [[], [""], ["nowhere"], ["mine.yaml"], ["null\0byte"], [LONG]],
    "summary": [[], [""], ["nowhere"], ["."], ["mine.yaml"], [LONG], ["nowhere", ""], ["nowhere"] * 2, ["nowhere"] * 3],
    "summary --csv": [".", "", "null\0byte/a.csv"],
    "summary --html": ["mine.yaml/a.html", LONG],
    "summary --latex": ["mine.yaml/a.tex", LONG],
    "summary --verbose": ["no"],
    "cost": [[], [""], ["nowhere"], ["mine.yaml"], ["null\0byte"], [LONG]],
    "cost --rounds": ["0", "some"],
    "cost --threads": ["0", "9999"],
    "cost --out": [".", "", "mine.yaml/a.csv", LONG],
    "verify": [["sorce"], ["../mine"], [LONG]],
    "verify --runs": ["0", "51", "some"],
    "notebooks": [[], [""], ["mine.yaml"], ["null\0byte"], [LONG]],
}
OPERANDS = {"study": ["mine.yaml"], "summary": ["nowhere"], "cost": ["source"], "verify": []}


@pytest.fixture
def refused(tmp_path, monkeypatch):
    """Return a function that runs a command in a folder, and returns the line with which it is refused."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)  # to have it back
    monkeypatch.setattr(kernels, "Kernel", None)  # one that is started would be an error that is not expected

    def refused(arguments):
        before, processes = listing(tmp_path), psutil.Process().children(recursive=True)
        code, out, said = run(arguments)
        assert (code, out) == (2, ""), said
        assert said.count("\n") == 1, said
        assert said.startswith("normlib: ")
        assert len(said) < 1500
        assert said[:-1].isprintable()
        assert "Traceback" not in said
        assert listing(tmp_path) == before
        assert set(psutil.Process().children(recursive=True)) <= set(processes)
        return said

    return refused


def run(arguments):
    """Run the command line in this process; return its exit code and what it printed."""
    out, err, argv = io.StringIO(), io.StringIO(), sys.argv
    sys.argv = ["normlib", *arguments]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            cli.main()
            code = 0
    except SystemExit as end:
        code = end.code
    finally:
        sys.argv = argv
    return code, out.getvalue(), err.getvalue()


def listing(folder):
    return sorted((path, path.lstat().st_mtime_ns) for path in folder.rglob("*"))


def put(folder, files):
    for name, content in files.items():
        if not isinstance(content, bytes | str):
            content = yaml.safe_dump(content, allow_unicode=True, sort_keys=False)
        (folder / name).write_bytes(content.encode(errors="replace") if isinstance(content, str) else content)


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_wrong_setting_is_refused_in_the_same_words_by_python_and_the_command(refused, tmp_path, setting):
    for value in SETTINGS[setting]:
        with pytest.raises(RequestError) as refusal:
            Instance(**{setting: value})
        assert str(refusal.value).startswith(f"{setting} is ")
        changed = (
            {"orderings": [value]} if setting == "ordering" else {"defaults": STUDY["defaults"] | {setting: value}}
        )
        put(tmp_path, {"wrong.yaml": STUDY | changed})
        assert refused(["study", "wrong.yaml"]).startswith(f"normlib: {setting} is ")


@pytest.mark.parametrize("key", KEYS)
def test_a_wrong_key_of_a_study_is_refused(refused, tmp_path, key):
    for value in KEYS[key]:
        measure = {"measure": "eval_loss"} if key == "tune" else {}
        put(tmp_path, {"wrong.yaml": STUDY | measure | {key: value}})
        assert ", but " in refused(["study", "wrong.yaml"])


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_no_study_is_refused(refused, tmp_path, name):
    put(tmp_path, {name: FILES[name]})
    assert ", but " in refused(["study", name])


@pytest.mark.parametrize("command", COMMANDS)
def test_a_wrong_command_argument_or_option_is_refused(refused, tmp_path, command):
    put(tmp_path, {"mine.yaml": STUDY})
    name, _, option = (command or "").partition(" ")
    for wrong in COMMANDS[command]:
        refused([name, *OPERANDS[name], f"{option}={wrong}"] if option else [*filter(None, [name]), *wrong])


def test_the_tables_have_every_setting_key_command_and_option():
    assert list(SETTINGS) == [field.name for field in dataclasses.fields(Instance)]
    assert {field.name for field in dataclasses.fields(Study) if field.init} - {"name"} <= set(KEYS)
    named = {None}
    for name, command in cli.commands.commands.items():
        named.add(name)
        options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
        named |= {f"{name} {parameter.opts[0]}" for parameter in options}
    assert named == set(COMMANDS)


def test_options_that_exclude_each_other_are_refused(refused, tmp_path):
    put(tmp_path, {"mine.yaml": STUDY})
    said = refused(["study", "mine.yaml", "--scheduler", "a:1", "--workers", "2"])
    assert "--workers is for this machine, and --scheduler for a cluster" in said
    refused(["summary", "nowhere", "nowhere", "--latex", "a.tex"])


def test_a_name_with_a_line_break_does_not_get_into_the_studys_file():
    with pytest.raises(RequestError, match=r"name is 'a\\nseeds: 3', but must be text of at most 255"):
        Study("a\nseeds: 3", "Which?", ("bn",))


def test_a_folder_that_holds_no_study_and_two_that_do_not_hold_one_are_refused(refused, tmp_path, make_record):
    (tmp_path / "out").mkdir()
    put(tmp_path / "out", {"study.yaml": "question: !!python/name:os.system\n"})
    assert "study is 'out/study.yaml', but " in refused(["status", "out"])
    for name, epochs in (("one", 1), ("other", 4)):
        save_record(make_record("gn/bn", epochs=epochs, **STUDY["defaults"]), tmp_path / name / "records")
        put(tmp_path / name, {"study.yaml": STUDY | {"defaults": STUDY["defaults"] | {"epochs": epochs}}})
    message = "epochs of gn/bn is '4', but it is 1 in the first folder"
    assert message in refused(["summary", "one", "other", "--html", "both.html"])
    assert "DIR_B is 'nowhere', but " in refused(["summary", "one", "nowhere"])


def refusal_of(make):
    """Return what is said where something is refused, and None where it is not."""
    try:
        make()
    except RequestError as refusal:
        return str(refusal)
    return None


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(sorted(SETTINGS)), VALUES)
def test_any_value_of_a_setting_is_taken_or_refused_in_one_line(setting, value):
    said = refusal_of(lambda: Instance(**{setting: value}))
    assert said is None or (said.startswith(f"{setting} is ") and said.isprintable())


STUDIES = st.builds(lambda key, value: STUDY | {key: value}, st.sampled_from([*KEYS, "varies", "contrasts"]), VALUES)


@pytest.mark.parametrize("contents", [STUDIES, st.binary(), st.text()], ids=["study", "bytes", "text"])
@given(st.data())
def test_any_file_is_a_study_or_refused_in_one_line(tmp_path_factory, contents, data):
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    put(path.parent, {path.name: data.draw(contents)})
    said = refusal_of(lambda: read_study(path))
    assert said is None or said.isprintable()


OPTIONS = ("--out", "--seeds", "--workers", "--threads", "--orderings", "--no-such-option", "--timeout", "--retries")


@given(st.sampled_from(OPTIONS), st.text())
def test_any_option_with_any_value_is_taken_or_refused_in_one_line(tmp_path_factory, option, value):
    folder = tmp_path_factory.getbasetemp() / "options"
    folder.mkdir(exist_ok=True)
    put(folder, {"mine.yaml": STUDY})
    before, here = listing(folder), os.getcwd()
    os.chdir(folder)
    try:
        code, _, said = run(["study", "mine.yaml", "--dry-run", option, value])
    finally:
        os.chdir(here)
    assert code == 0 or (code == 2 and said.count("\n") == 1)
    assert said[:-1].isprintable()
    assert listing(folder) == before


def wrong_arguments():
    """Return each public function with each of its parameters, but for those with which it would begin to work."""
    works = {"threads", "seed", "seeds", "first_seed", "callbacks", "live", "settings", "points", "images"}
    works |= {"out", "records_dir", "redo", "timeout", "retries", "executor"}
    for name in dir(normlib):
        function = getattr(normlib, name)
        if inspect.isfunction(function) and name != "use_threads":
            yield from ((name, parameter) for parameter in set(inspect.signature(function).parameters) - works)


@pytest.fixture(scope="module")
def right_arguments():
    model = normlib.build_model(Instance("bn"))
    return {
        "model": model,
        "instance": Instance("bn"),
        "instances": [Instance("bn")],
        "records": normlib.load_records(normlib.SOURCE_RECORDS),
        "x": np.zeros((4, 28, 28), np.float32),
        "study": read_study("source"),
        "measure": "train_loss",
        "margin": 0.01,
        "ordering": "gn",
        "steps": 1,
        "seed": 0,
    }


@pytest.mark.parametrize(("name", "parameter"), sorted(wrong_arguments()))
def test_a_public_function_refuses_what_its_arguments_cannot_be(name, parameter, right_arguments):
    """Either it is taken, or the refusal is normlib's: no AttributeError, KeyError or TypeError from within."""
    function = getattr(normlib, name)
    parameters = inspect.signature(function).parameters.values()
    needed = [p.name for p in parameters if p.default is p.empty and p.kind is not p.VAR_KEYWORD]
    for value in (3, "x", [], {}, object(), np.zeros(3), pd.DataFrame({"a": [1]}), 2.5):
        arguments = {**{key: right_arguments.get(key) for key in needed}, parameter: value}
        with contextlib.suppress(RequestError), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            function(**arguments)

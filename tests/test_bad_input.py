"""Whatever is wrong in a request is refused: one line, exit code 2, no traceback, no kernel, no byte written.

One table has every setting, study key, command and option with every rule that it has; Hypothesis tries the rest.
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
from normlib.models import zoo
from normlib.models.instance import Instance
from normlib.models.kinds import KINDS
from normlib.runs.store import save_record
from normlib.studies.study import Study, read_study

STUDY = {
    "question": "Which?",
    "orderings": ["gn/bn", "none"],
    "defaults": {"fit_split": "test[:320]", "evaluate_split": "train[:200]"},
}
EVERY_KIND, EVERY_MODEL = ", ".join(KINDS), ", ".join(zoo.MODELS)
LONG = "x" * 1_000_000
LENGTHY = "x" * 50_000  # which a file of a study may still have
WHOLE = [
    (0, "a whole number from 1 up"),
    (-3, "a whole number from 1 up"),
    (1.5, "a whole number from 1 up"),
    (True, "a whole number from 1 up"),
    ("1", "a whole number from 1 up"),
    (None, "a whole number from 1 up"),
    ([1], "a whole number from 1 up"),
]
HUGE = (10**100, "a whole number from 1 to 1,000,000,000")
NUMBERS = [("1e-3", ""), (None, ""), (True, ""), (math.nan, ""), (math.inf, ""), (10**400, ""), ([], "")]

TUNE = {
    "varies": [{"learning_rate": [0.001, 0.01]}],
    "evaluate_split": "train[200:400]",
    "seeds": 1,
    "first_seed": 50,
}
PAPER = {"reports": "A paper, table 1", "against": "batch_size", "lines": {"bn": {32: 1.0}}, "differs": "In all."}
# What each setting of an instance refuses, as (value, what is allowed).
SETTINGS = {
    "ordering": [
        ("", f"{EVERY_KIND} or one of your own, 'package.module:name', joined by '+' in each slot, or none"),
        (3, f"{EVERY_KIND} or one of your own, 'package.module:name', joined by '+' in each slot, or none"),
        ("bm/gn", "there is no kind 'bm'"),
        ("BatchNorm/gn", "there is no kind 'batchnorm' (did you mean 'bn'?)"),
        ("gn+/bn", "there is no kind ''"),
        ("gn/bn/gn", "2 slots in this model, and this has 3"),
        ("+".join(["bn"] * 101), "at most 100 layers in a slot, and this has 101"),
        ("gn\n/bn\0", "there is no kind"),
        (LENGTHY, "there is no kind"),
    ],
    "model": [
        (
            "sourcecnn",
            f"{EVERY_MODEL}, or a function that builds one, 'package.module:function' (did you",
        ),
        (1, f"{EVERY_MODEL}, or a function"),
        ("../mine", f"{EVERY_MODEL}, or a function"),
        ("mine:", f"{EVERY_MODEL}, or a function"),
        ("mine.:build", f"{EVERY_MODEL}, or a function"),
        ("mine:build()", f"{EVERY_MODEL}, or a function"),
        ("os;os:system", f"{EVERY_MODEL}, or a function"),
        (f"mine:{LENGTHY}", f"{EVERY_MODEL}, or a function"),
    ],
    "activation": [
        ("Relu", "none, relu (did you mean 'relu'?)"),
        (None, "none, relu"),
        ([], "none, relu"),
    ],
    "dataset": [
        ("minst", "mnist, fashion_mnist, cifar10, or the path of an .npz file (did you mean 'mnist'?)"),
        ("/etc/passwd", "mnist, fashion_mnist, cifar10, or the path"),
        (LENGTHY, "mnist, fashion_mnist, cifar10, or the path"),
        (3, "mnist, fashion_mnist, cifar10, or the path"),
        ("none.npz", "an .npz file with x_train, y_train, x_test and y_test; there is none"),
        ("null\0byte.npz", "an .npz file with x_train, y_train, x_test and y_test; there is none"),
        (f"{LENGTHY}.npz", "an .npz file with x_train, y_train, x_test and y_test; there is none"),
    ],
    "fit_split": [
        ("training", "train or test, or a slice such as train[:1000] or train[50%:] (did you mean 'train'?)"),
        ("test[:10001]", "at least one example, within the 10000 of test"),
        ("test[5:5]", "at least one example, within the 10000 of test"),
        ("test[-20000:]", "at least one example, within the 10000 of test"),
        ("test[:9999999999999999]", "train or test, or a slice"),
        ("test[__import__('os')]", "train or test, or a slice"),
        (7, "train or test, or a slice"),
    ],
    "evaluate_split": [("train+test", "train or test, or a slice"), ("train[9%:1%]", "at least one example")],
    "epochs": [*WHOLE, HUGE],
    "batch_size": [*WHOLE, HUGE],
    "learning_rate": [(v, "a positive, finite number") for v in (0, -0.1, *(value for value, _ in NUMBERS))],
    "groups": [
        *(row for row in WHOLE if row[0] is not None),
        (3, "a divisor of the 10 channels: 1, 2, 5, 10"),
        (20, "a divisor of the 10 channels: 1, 2, 5, 10"),
        HUGE,
    ],
    "momentum": [
        (value, "a number from 0 up to, but not including, 1")
        for value in (1, 1.0, -0.1, *(value for value, _ in NUMBERS))
    ],
    "provider": [
        ("torch", "auto, addons, keras"),
        ("kreas", "auto, addons, keras (did you mean 'keras'?)"),
        (1, ""),
    ],
    "optimizer": [("Adam", "adam, sgd (did you mean 'adam'?)"), (None, "adam, sgd"), (["sgd"], "adam, sgd")],
    "weight_decay": [
        (value, "a number from 0 up to, but not including, 1") for value in (1, -1e-4, *(value for value, _ in NUMBERS))
    ],
    "epsilon": [(v, "a positive number, at most 1") for v in (0, -1e-5, 1.5, *(value for value, _ in NUMBERS))],
    "channels_per_group": [
        *(row for row in WHOLE if row[0] is not None),
        (3, "a divisor of the 10 channels: 1, 2, 5, 10"),
        HUGE,
    ],
}

# What each key of a study's file refuses, beside the settings.
UNPRINTABLE = "that can be printed"
KEYS = {
    "question": [
        (3, "text of at most 2,000"),
        (None, "text of at most 2,000"),
        ([], "text of at most 2,000"),
        ("x" * 2001, "text of at most 2,000 characters"),
        ("a\x1b[2Jb", UNPRINTABLE),
        ("\u202ehcihW?", UNPRINTABLE),
    ],
    "citation": [(3, "text of at most 2,000"), ("a\u0000b", UNPRINTABLE), ({"a": "b"}, "text of at most")],
    "orderings": [
        ("bn", "a list of orderings, such as [bn/none, none/none]"),
        ([], "a list of orderings"),
        (None, "a list of orderings"),
        (["bn", "bn/none"], "each ordering once, and each condition"),
        ([["bn"]], f"{EVERY_KIND} or one of your own, 'package.module:name', joined by '+'"),
    ],
    "varies": [
        ({"batch_size": [32]}, "a list such as [{learning_rate:"),
        ([{"batch_size": 32}], "a list such as"),
        ([{}], "a list such as"),
        ([{"batch_size": []}], "a list such as"),
        ([{1: [32]}], "a list such as"),
        ([{"batch_size": [[32]]}], "a list such as"),
        ([{"batch_size": [32, 64], "epochs": [1]}], "as many values of each setting, since they go together"),
        ([{"ordering": ["bn"]}], "settings named nowhere else in the study"),
        ([{"epochs": [1]}, {"epochs": [2]}], "settings named nowhere else in the study"),
        ([{"fit_split": ["test"]}], "settings named nowhere else in the study"),
        ([{"epochs": [1, 1], "batch_size": [8, 9]}], "conditions that the first setting of each {} tells apart"),
        ([{"epoch": [1]}], "ordering, model, activation"),
        ([{"epochs": [0]}], "a whole number from 1 up"),
        ([{"learning_rate": [10**400]}], "a list such as"),
        ([{"epochs": [*range(1, 101)]}, {"batch_size": [*range(1, 102)]}], "at most 1,000 conditions, and these are"),
    ],
    "seeds": [*WHOLE, (100_001, "a whole number from 1 to 100,000"), (*HUGE[:1], "a whole number from 1 to 100,000")],
    "first_seed": [
        (-1, "a whole number from 0 up"),
        ("0", "a whole number from 0 up"),
        (True, "a whole number from 0 up"),
        (2**32, "a whole number from 0 to 4,294,967,295"),
        (2**32 - 5, "a number below 2 ** 32, as all seeds"),
    ],
    "defaults": [
        (3, "names with values, or left out"),
        ({1: 2}, "names with values, or left out"),
        ({"ordering": "bn"}, "settings by name; orderings stand in 'orderings'"),
        ({"epoch": 1}, "batch_size, learning_rate"),
        ({"cls": 1}, "batch_size, learning_rate"),
    ],
    "own": [
        ([1], "names with values, or left out"),
        ({"gn/bn": 3, "none": {}}, "names with values, or left out"),
        ({"gn/bn": {"epochs": 2}}, "for all orderings, in their order, the same settings"),
        ({"gn/bn": {"epochs": 2}, "none": {"batch_size": 2}}, "for all orderings, in their order, the same settings"),
        (
            {"gn/bn": {"fit_split": "test"}, "none": {"fit_split": "test"}},
            "for all orderings, in their order, the same",
        ),
        ({"gn/bn": {"epochs": 2}, "none": {"epochs": 0}}, "a whole number from 1 up"),
        ({"gn/bn": {1: 2}, "none": {1: 2}}, "names with values, or left out"),
    ],
    "tune": [
        (3, "names with values, or left out"),
        (TUNE | {"seed": 3}, "values to choose from, images to choose on"),
        ({"varies": TUNE["varies"]}, "values to choose from, images to choose on"),
        (TUNE | {"varies": []}, "one group, and nothing that the study varies itself"),
        (TUNE | {"varies": [{"learning_rate": [0.1, -1]}]}, "a positive, finite number"),
        (TUNE | {"varies": [{"fit_split": ["test"]}]}, "settings named nowhere else in the study"),
        (TUNE | {"first_seed": 3}, "seeds that the study does not use"),
        (TUNE | {"seeds": 0}, "a whole number from 1 up"),
        (TUNE | {"evaluate_split": "train[100:300]"}, "images that are not among those of the study's evaluate_split"),
        (TUNE | {"evaluate_split": "test[319:]"}, "images that are not among those of the study's fit_split"),
        (TUNE | {"evaluate_split": "valid"}, "train or test, or a slice"),
    ],
    "quick": [
        ([2], "names with values, or left out"),
        ({"sedes": 2}, "of seeds, first_seed, defaults, varies, tune, what is to be less"),
        ({"seeds": 0}, "a whole number from 1 up"),
        ({"defaults": 3}, "names with values, or left out"),
        ({"defaults": {"epochs": 0}}, "a whole number from 1 up"),
    ],
    "paper": [
        ([2], "names with values, or left out"),
        ({"reports": "all"}, "{reports: what and where, against: the setting that varies"),
        (PAPER | {"against": "seed"}, "the first setting of the one group that the study varies"),
        (PAPER | {"lines": []}, "{reports: what and where"),
        (PAPER | {"reports": 3}, "text of at most 2,000"),
    ],
    "measure": [("loss", "train_accuracy, train_loss"), ("train_los", "did you mean 'train_loss'?"), (1, "train_loss")],
    "margin": [(v, "a positive, finite number, in the unit of the measure") for v in (0, -1, *(v for v, _ in NUMBERS))],
    "contrasts": [
        (["bn"], "differences by name, such as {order: bn/gn - gn/bn}"),
        ({1: "gn/bn - none"}, "differences by name"),
        ({"order": "gn/bn"}, "a difference such as 'bn/gn - gn/bn'"),
        ({"order": 3}, "a difference such as"),
        ({"order": "gn/bn - gn/none"}, "the study's gn/bn, none/none"),
        ({"order": "gn/bn - gn/bn"}, "each ordering once"),
        ({"order": "gx - none"}, "there is no kind 'gx'"),
        ({"a\x1b": "gn/bn - none"}, UNPRINTABLE),
        ({"a\nb": "gn/bn - none"}, UNPRINTABLE),
        ({"n" * 101: "gn/bn - none"}, "text of at most 100 characters"),
    ],
    "declared_in": [("mine.yaml", "a SHA-256, as normlib writes it; leave it out"), (3, "a SHA-256"), ("A" * 64, "")],
    "sedes": [(3, "(did you mean 'seeds'?)")],
    1: [(3, "question, orderings, citation")],
}

# What files refuse that are no study at all.
FILES = {
    "empty.yaml": ("", "a YAML file with keys such as 'question' and 'orderings'"),
    "text.yaml": ("just text", "a YAML file with keys"),
    "list.yaml": ("[1, 2]", "a YAML file with keys"),
    "no_question.yaml": (
        "orderings: [bn]\n",
        "a key of no_question.yaml is 'question', but must be to be there, and it is",
    ),
    "no_orderings.yaml": ("question: Which?\n", "a key of no_orderings.yaml is 'orderings', but must be to be there"),
    "twice.yaml": ("question: a\nquestion: b\n", "this is none, line 2 (question stands twice)"),
    "open.yaml": ("question: [", "a YAML file; this is none, line 1"),
    "date.yaml": ("question: 2024-13-45\n", "a YAML file; this is none"),
    "deep.yaml": ("[" * 10_000, "a YAML file; this is none"),
    "binary.yaml": (b"\xff\xfe\x00", "a YAML file; this is none"),
    "object.yaml": ("question: !!python/object/apply:os.system [touch executed]\n", "a YAML file; this is none"),
    "big.yaml": (f"question: {LONG}\n", "a YAML file of at most 100,000 bytes"),
    "huge_number.yaml": (f"question: a\norderings: [bn]\nseeds: {'9' * 5000}\n", "a YAML file; this is none"),
    # A few lines that stand for more than any machine holds, and a list that holds itself.
    "bomb.yaml": (
        "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
        + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]\n" for a, b in itertools.pairwise("abcdefghij"))
        + "question: *j\norderings: [bn]\n",
        "a key of bomb.yaml is 'a'",
    ),
    "bomb_in_key.yaml": (
        "question: Which?\norderings: &a [bn, bn, bn, bn, bn, bn, bn, bn, bn]\n"
        "varies: [{epochs: &b [*a, *a, *a, *a, *a], batch_size: &c [*b, *b, *b, *b, *b]}, {momentum: [*c, *c, *c]}]\n",
        "varies is",
    ),
    "hex.yaml": (f"question: a\norderings: [bn]\nseeds: 0x{'f' * 5000}\n", "seeds is a number of thousands of digits"),
    "bomb_as_key.yaml": (
        "question: Which?\norderings: &a [bn, bn, bn]\nvaries: [{? &b [*a, *a, *a] : 1, ? *b : 2}]\n",
        "this is none, line 3 (a key that is no word)",
    ),
    "many.yaml": (
        f"question: Which?\norderings: [{', '.join(['bn'] * 1001)}]\nvaries: [{{epochs: {[*range(1, 12)]}}}]\n",
        "at most 10,000 instances, and with all conditions these are 11,011",
    ),
    "itself.yaml": ("question: Which?\norderings: &a [*a]\n", "ordering is"),
    "..yaml": ("question: Which?\norderings: [bn]\n", "a file whose name starts with a letter or digit"),
    "...yaml": ("question: Which?\norderings: [bn]\n", "a file whose name starts with a letter or digit"),
    "a\nb.yaml": ("question: Which?\norderings: [bn]\n", "a file whose name starts with a letter or digit"),
    "$(touch executed).yaml": ("question: Which?\norderings: [bn]\n", "a file whose name starts with a letter"),
}

# What commands and their arguments and options refuse.
FOLDER = "a folder, such as outputs/source"
WRITABLE = "a folder that can be written, and here:"
COMMANDS = {
    None: [
        (["studdy"], "command is 'studdy', but must be study, status, summary, verify, notebooks (did you mean 'study'?)"),
        (["--verison"], "option is '--verison', but must be --version, --help (did you mean '--version'?)"),
        ([""], "command is '', but must be study, status"),
        ([LONG], "command is 'xxx"),
    ],
    "study": [
        (["study"], "Missing argument 'NAME_OR_FILE'; normlib study --list lists those that there are"),
        (["study", "sorce"], "stacked, standard, or the path of a YAML file (did you mean 'source'?)"),
        (["study", "."], "study is '.', but must be "),
        (["study", ""], "study is '', but must be "),
        (["study", "null\0byte"], r"study is 'null\x00byte', but must be "),
        (["study", LONG], "study is 'xxx"),
        (["study", "mine.yaml", "more"], "Got unexpected extra argument (more)"),
        (["study", "mine.yaml", "--sedes", "3"], "option is '--sedes', but must be --out, --seeds, --workers"),
    ],
    "study --out": [
        (["study", "mine.yaml", "--out", ""], f"out is '', but must be {FOLDER}"),
        (["study", "mine.yaml", "--out", "mine.yaml"], f"out is 'mine.yaml', but must be {WRITABLE}"),
        (["study", "mine.yaml", "--out", "mine.yaml/below"], f"out is 'mine.yaml/below', but must be {WRITABLE}"),
        (["study", "mine.yaml", "--out", "null\0byte"], WRITABLE),
        (["study", "mine.yaml", "--out", LONG], WRITABLE),
        (["study", "mine.yaml", "--out"], "Option '--out' requires an argument"),
    ],
    "study --seeds": [
        (["study", "mine.yaml", "--seeds", "0"], "seeds is 0, but must be a whole number from 1 up"),
        (["study", "mine.yaml", "--seeds", "many"], "Invalid value for '--seeds': 'many' is not a valid integer"),
        (["study", "mine.yaml", "--seeds", "1.5"], "Invalid value for '--seeds': '1.5' is not a valid integer"),
        (["study", "mine.yaml", "--seeds", "9" * 9], "seeds is 999999999, but must be a whole number from 1 to 100,000"),
        (["study", "mine.yaml", "--seeds", "9" * 5000], "Invalid value for '--seeds'"),
        (["study", "mine.yaml", "--dry-run", "--seeds", "0"], "seeds is 0, but must be a whole number from 1 up"),
    ],
    "study --workers": [
        (["study", "mine.yaml", "--workers", "0"], "workers is 0, but must be a whole number from 1 up"),
        (["study", "mine.yaml", "--workers", "1001"], "workers is 1001, but must be a whole number from 1 to 1,000"),
        (["study", "mine.yaml", "--workers", "all"], "Invalid value for '--workers': 'all' is not a valid integer"),
    ],
    "study --threads": [
        (["study", "mine.yaml", "--threads", "0"], "threads is 0, but must be a whole number from 1 up"),
        (["study", "mine.yaml", "--threads", "9999"], "threads is 9999, but must be a whole number from 1 to 1,024"),
        (["study", "mine.yaml", "--threads", "-"], "Invalid value for '--threads': '-' is not a valid integer"),
    ],
    "study --scheduler": [
        (
            ["study", "mine.yaml", "--scheduler", "nonsense"],
            "scheduler is 'nonsense', but must be the address of a running",
        ),
        (["study", "mine.yaml", "--scheduler", ""], "scheduler is '', but must be the address of a running"),
        (["study", "mine.yaml", "--scheduler", "file:///etc/passwd"], "the address of a running Dask scheduler"),
        (
            ["study", "mine.yaml", "--scheduler", "a:1", "--workers", "2"],
            "--workers is for this machine, and --scheduler for a cluster",
        ),
    ],
    "study --timeout": [
        (["study", "mine.yaml", "--timeout", "0"], "timeout is 0.0, but must be a positive number of seconds"),
        (["study", "mine.yaml", "--timeout", "-1"], "timeout is -1.0, but must be a positive number of seconds"),
        (["study", "mine.yaml", "--timeout", "nan"], "timeout is nan, but must be a positive number of seconds"),
        (
            ["study", "mine.yaml", "--timeout", "1e99"],
            "timeout is 1e+99, but must be a positive number of seconds, at most",
        ),
        (["study", "mine.yaml", "--timeout", "long"], "Invalid value for '--timeout': 'long' is not a valid float"),
    ],
    "study --retries": [
        (["study", "mine.yaml", "--retries", "-1"], "retries is -1, but must be a whole number from 0 up"),
        (["study", "mine.yaml", "--retries", "1e3"], "Invalid value for '--retries': '1e3' is not a valid integer"),
    ],
    "study --orderings": [
        (["study", "mine.yaml", "--orderings", ""], "ordering is '', but must be bn, gn, ln, in"),
        (["study", "mine.yaml", "--orderings", "bn,xx"], "ordering is 'xx', but must be bn, gn, ln, in"),
        (["study", "mine.yaml", "--orderings", "bn/gn/bn"], "must be 2 slots in this model, and this has 3"),
        (["study", "mine.yaml", "--orderings", "bn,bn/none"], "orderings is 'bn/none', but must be each ordering once"),
        (["study", "mine.yaml", "--orderings", LONG], "ordering is 'xxx"),
    ],
    "study --redo": [(["study", "mine.yaml", "--redo=no"], "Option '--redo' does not take a value")],
    "study --quick": [(["study", "mine.yaml", "--quick=no"], "Option '--quick' does not take a value")],
    "study --list": [(["study", "--list=no"], "Option '--list' does not take a value")],
    "study --dry-run": [(["study", "mine.yaml", "--dry-run=no"], "Option '--dry-run' does not take a value")],
    "status": [
        (["status"], "Missing argument 'DIR'"),
        (["status", ""], f"DIR is '', but must be {FOLDER}"),
        (["status", "nowhere"], "DIR is 'nowhere', but must be a study's output folder, with study.yaml in it"),
        (["status", "mine.yaml"], "DIR is 'mine.yaml', but must be a study's output folder, with study.yaml in it"),
        (["status", "null\0byte"], "a study's output folder, with study.yaml in it"),
        (["status", LONG], "a study's output folder, with study.yaml in it"),
    ],
    "summary": [
        (["summary"], "Missing argument 'DIR'"),
        (["summary", ""], f"DIR is '', but must be {FOLDER}"),
        (["summary", "nowhere"], "DIR is 'nowhere', but must be a study's output folder, with at least one record"),
        (["summary", "."], "DIR is '.', but must be a study's output folder, with at least one record in records/"),
        (["summary", "mine.yaml"], "DIR is 'mine.yaml', but must be a study's output folder"),
        (["summary", "null\0byte"], "a study's output folder"),
        (["summary", LONG], "a study's output folder"),
        (["summary", "nowhere", ""], f"DIR_B is '', but must be {FOLDER}"),
        (["summary", "nowhere", "nowhere"], "DIR is 'nowhere', but must be a study's output folder, with at least one"),
        (["summary", "null\0byte", "nowhere"], "a study's output folder"),
        (["summary", "nowhere", "nowhere", "more"], "Got unexpected extra argument (more)"),
    ],
    "summary --csv": [
        (["summary", "nowhere", "--csv", "."], "csv is '.', but must be a file, and this is a folder"),
        (["summary", "nowhere", "--csv", ""], "csv is '', but must be a file"),
        (["summary", "nowhere", "--csv", "null\0byte/a.csv"], "embedded null"),
        (["summary", "nowhere", "nowhere", "--csv", "."], "csv is '.', but must be a file, and this is a folder"),
    ],
    "summary --html": [
        (["summary", "nowhere", "--html", "mine.yaml/a.html"], f"html is 'mine.yaml', but must be {WRITABLE}"),
        (["summary", "nowhere", "--html", LONG], "html is 'xxx"),
        (
            ["summary", "nowhere", "nowhere", "--html", "mine.yaml/a.html"],
            f"html is 'mine.yaml', but must be {WRITABLE}",
        ),
    ],
    "summary --latex": [
        (["summary", "nowhere", "--latex", "mine.yaml/a.tex"], f"latex is 'mine.yaml', but must be {WRITABLE}"),
        (
            ["summary", "nowhere", "nowhere", "--latex", "a.tex"],
            "latex is 'a.tex', but must be csv and html alone, where two folders are compared",
        ),
    ],
    "verify": [
        (["verify", "sorce"], "study is 'sorce', but must be "),
        (["verify", "../mine"], "study is '../mine', but must be "),
        (["verify", LONG], "study is 'xxx"),
    ],
    "verify --runs": [
        (["verify", "--runs", "0"], "runs is 0, but must be a whole number from 1 up"),
        (["verify", "--runs", "51"], "runs is 51, but must be at most the 50 that are kept of source"),
        (["verify", "--runs", "some"], "Invalid value for '--runs': 'some' is not a valid integer"),
    ],
    "notebooks": [
        (["notebooks"], "Missing argument 'DIR'"),
        (["notebooks", ""], f"DIR is '', but must be {FOLDER}"),
        (["notebooks", "mine.yaml"], f"DIR is 'mine.yaml', but must be {WRITABLE}"),
        (["notebooks", "null\0byte"], WRITABLE),
        (["notebooks", LONG], WRITABLE),
    ],
}


def table():
    """Give all rows: the files that there are, the arguments, and what the message has to hold."""
    for name, rows in SETTINGS.items():
        for value, allowed in rows:
            changes = {"orderings": [value]} if name == "ordering" else {"defaults": STUDY["defaults"] | {name: value}}
            yield f"setting {name}", {"wrong.yaml": STUDY | changes}, ["study", "wrong.yaml"], [f"{name} is ", allowed]
    for key, rows in KEYS.items():
        for value, allowed in rows:
            measure = {"measure": "eval_loss"} if key == "tune" else {}
            yield (
                f"key {key}",
                {"wrong.yaml": STUDY | measure | {key: value}},
                ["study", "wrong.yaml"],
                [" is ", allowed],
            )
    for name, (text, message) in FILES.items():
        yield f"file {name!r}", {name: text}, ["study", name], [message]
    for command, rows in COMMANDS.items():
        for arguments, message in rows:
            yield f"command {command}", {}, arguments, [message]


TABLE = list(table())


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
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)


@pytest.mark.parametrize(
    ("files", "arguments", "messages"),
    [row[1:] for row in TABLE],
    ids=[f"{name}-{number}" for number, (name, *_) in enumerate(TABLE)],
)
def test_what_is_wrong_is_one_line_and_exit_code_2_and_nothing_is_started_or_written(
    refused, tmp_path, files, arguments, messages
):
    put(tmp_path, {"mine.yaml": STUDY, **files})
    said = refused(arguments)
    for message in messages:
        assert message in said


def test_the_table_has_every_setting_key_command_and_option():
    assert list(SETTINGS) == [field.name for field in dataclasses.fields(Instance)]
    assert {field.name for field in dataclasses.fields(Study)} - {"name"} <= set(KEYS)
    named = {None}
    for name, command in cli.commands.commands.items():
        named.add(name)
        options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
        named |= {f"{name} {parameter.opts[0]}" for parameter in options}
    assert named == set(COMMANDS)


@pytest.mark.parametrize(
    ("setting", "value", "allowed"), [(name, *row) for name, rows in SETTINGS.items() for row in rows]
)
def test_from_python_a_wrong_setting_is_refused_in_the_same_words(setting, value, allowed):
    with pytest.raises(RequestError) as refusal:
        Instance(**{setting: value})
    assert str(refusal.value).startswith(f"{setting} is ")
    assert allowed in str(refusal.value)


def test_a_name_with_a_line_break_does_not_get_into_the_studys_file():
    with pytest.raises(RequestError, match=r"name is 'a\\nseeds: 3', but must be text of at most 255"):
        Study("a\nseeds: 3", "Which?", ("bn",))


def test_a_folder_without_the_notebooks_is_asked_for(refused, tmp_path):
    (tmp_path / "summary.ipynb").write_text("mine")
    assert "a folder without summary.ipynb, which would be overwritten" in refused(["notebooks", "."])


def test_an_output_folder_whose_study_is_none_is_refused(refused, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "study.yaml").write_text("question: !!python/name:os.system\n")
    assert "study is 'out/study.yaml', but must be a YAML file; this is none" in refused(["status", "out"])


def test_two_folders_that_do_not_hold_one_study_are_refused(refused, tmp_path, make_record):
    for name, epochs in (("one", 1), ("other", 4)):
        save_record(make_record("gn/bn", epochs=epochs, **STUDY["defaults"]), tmp_path / name / "records")
        put(tmp_path / name, {"study.yaml": STUDY | {"defaults": STUDY["defaults"] | {"epochs": epochs}}})
    said = refused(["summary", "one", "other", "--html", "both.html"])
    assert "epochs is 4, but must be 1 of gn/bn as in the first folder, since both have to hold runs of one study" in said
    assert "DIR_B is 'nowhere'" in refused(["summary", "one", "nowhere"])


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


@given(st.sampled_from([*KEYS, "varies", "contrasts", "defaults"]), VALUES)
def test_any_value_of_a_key_is_taken_or_refused_in_one_line(tmp_path_factory, key, value):
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(yaml.safe_dump(STUDY | {key: value}, allow_unicode=True), encoding="utf-8", errors="replace")
    said = refusal_of(lambda: read_study(path))
    assert said is None or said.isprintable()


@given(st.binary() | st.text().map(str.encode))
def test_any_file_is_a_study_or_refused_in_one_line(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(content)
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

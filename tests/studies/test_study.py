import dataclasses
import hashlib

import numpy as np
import pytest

from normlib.errors import RequestError
from normlib.models.ordering import find_baseline
from normlib.studies import study as study_module
from normlib.studies.study import Paper, Study, read_study

SMALLEST = "question: Which?\norderings: [bn, none]\n"


def write(tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return path


def test_the_source_study_is_the_sources_four_orderings_and_the_baseline_with_ten_seeds():
    study = read_study("source")
    assert study.orderings == ("bn/none", "gn/none", "gn/bn", "bn/gn", "none/none")
    assert study.seeds == 10
    assert [instance.changes.keys() - {"ordering"} for instance in study.instances] == [set()] * 5


@pytest.mark.parametrize("name", study_module.shipped_studies())
def test_every_study_that_ships_can_be_read_and_has_the_baseline_if_it_compares_orderings(name):
    study = read_study(name)
    assert find_baseline(study.orderings) or len(study.orderings) == 1
    assert study.question.endswith("?")


def test_a_file_of_ones_own_may_vary_settings_besides_the_ordering(tmp_path):
    """Two orderings under two batch sizes, each with its own slice, crossed with two activations."""
    text = "seeds: 3\nfirst_seed: 7\ndefaults: {epochs: 2, learning_rate: 3.0e-4}\n"
    text += "varies: [{batch_size: [32, 64], fit_split: [test, 'test[50%:]']}, {activation: [none, relu]}]\n"
    study = read_study(write(tmp_path, SMALLEST + text))
    assert (study.name, study.orderings) == ("mine", ("bn/none", "none/none"))
    assert list(study.run_seeds) == [7, 8, 9]
    assert all((i.epochs, i.learning_rate) == (2, 3e-4) for i in study.instances)
    assert [(i.ordering, i.batch_size, i.fit_split, i.activation) for i in study.instances] == [
        ("bn/none", 32, "test", "none"),
        ("none/none", 32, "test", "none"),
        ("bn/none", 32, "test", "relu"),
        ("none/none", 32, "test", "relu"),
        ("bn/none", 64, "test[50%:]", "none"),
        ("none/none", 64, "test[50%:]", "none"),
        ("bn/none", 64, "test[50%:]", "relu"),
        ("none/none", 64, "test[50%:]", "relu"),
    ]


def test_findings_rest_on_seeds_that_nobody_had_looked_at():
    """From 100 on, and no two studies have a run in common."""
    used = [(name, seed) for name in study_module.shipped_studies() for seed in read_study(name).run_seeds]
    assert min(seed for _, seed in used) >= 100
    assert len({seed for _, seed in used}) == len(used)


LOOKS = SMALLEST + "contrasts: {gain: bn - none}\n"


def test_looks_stand_in_place_of_seeds(tmp_path):
    study = read_study(write(tmp_path, LOOKS + "looks: [2, 4, 8]\nfirst_seed: 100\n"))
    assert (study.seeds, study.looks) == (8, (2, 4, 8))
    assert study.look_seeds == [range(100, 102), range(100, 104), range(100, 108)]
    assert read_study(write(tmp_path, study.to_yaml())).looks == (2, 4, 8)
    assert [*study.with_seeds(study.look_seeds[1]).run_seeds] == [100, 101, 102, 103]
    assert (study.quick_version().looks, study.quick_version().seeds) == ((), 2)
    assert study.replace(orderings=["bn", "none", "gn"]).looks == (2, 4, 8)
    quicker = read_study(write(tmp_path, LOOKS + "looks: [2, 4]\nquick: {looks: [2, 3]}\n"))
    assert quicker.quick_version().looks == (2, 3)
    assert quicker.replace(seeds=None, orderings=None) == quicker
    without_contrast = study.replace(orderings=["bn", "gn"])
    assert (without_contrast.looks, without_contrast.seeds) == ((), 2)


def test_a_study_with_looks_takes_no_other_seeds_and_has_a_contrast_that_they_can_decide(tmp_path):
    study = read_study(write(tmp_path, LOOKS + "looks: [2, 4]\n"))
    with pytest.raises(RequestError, match=r"seeds is 3, but the study has looks instead: \[2, 4\]"):
        study.replace(seeds=3)
    with pytest.raises(RequestError, match="seeds is 8, but the study has looks instead"):
        read_study(write(tmp_path, LOOKS + "looks: [2, 8]\nseeds: 8\n"))
    with pytest.raises(RequestError, match=r"looks is \(2, 8\), but no contrast is declared that they could decide"):
        read_study(write(tmp_path, SMALLEST + "looks: [2, 8]\n"))


def test_a_contrast_may_name_conditions_that_the_study_varies(tmp_path):
    text = "varies: [{batch_size: [32, 2]}]\ncontrasts: {rise: bn at batch_size 2 - bn at batch_size 32}\n"
    study = read_study(write(tmp_path, SMALLEST + text))
    assert str(study.declared[0]) == "bn/none at batch_size 2 - bn/none at batch_size 32"
    smaller = read_study(write(tmp_path, SMALLEST + text + "quick: {varies: [{batch_size: [32]}]}\n"))
    assert smaller.quick_version().contrasts == {}
    with pytest.raises(RequestError, match="'batch_size 4', but must be one of batch_size 32, batch_size 2"):
        read_study(write(tmp_path, SMALLEST + text.replace("batch_size 2 -", "batch_size 4 -")))


def test_a_study_knows_the_digest_of_the_file_that_declares_it(tmp_path):
    study = read_study(write(tmp_path, SMALLEST))
    assert study.declared_in == hashlib.sha256(SMALLEST.encode()).hexdigest()
    assert study.replace(seeds=3).declared_in == study.declared_in
    assert study.replace(orderings=["bn"]).declared_in == ""  # no longer what the file declares
    as_run = tmp_path / "study.yaml"
    as_run.write_text(study.to_yaml())
    assert read_study(as_run).declared_in == study.declared_in


def test_contrasts_are_declared_in_the_study_and_those_that_it_lacks_orderings_for_are_left_out():
    study = read_study("source")
    assert (study.measure, study.margin) == ("train_loss", 0.01)
    assert "bn/gn - gn/bn" in [str(contrast) for contrast in study.declared]
    smaller = study.replace(orderings=["bn", "gn", "none"])
    assert sorted(str(contrast) for contrast in smaller.declared) == [
        "bn/none - gn/none",
        "bn/none - none/none",
        "gn/none - none/none",
    ]


def test_what_is_written_can_be_read_again(tmp_path):
    study = read_study("source").replace(seeds=2, orderings=["bn", "none"])
    path = tmp_path / "source.yaml"
    path.write_text(study.to_yaml())
    assert read_study(path) == study


OWN = {"bn": {"learning_rate": 0.003}, "none": {"learning_rate": 0.001}}


def test_an_ordering_may_have_its_own_value_of_a_setting_which_reads_the_same_in_the_table(make_record):
    """So that its runs can be compared: those with that value, and no others."""
    study = Study("mine", "Which?", ("bn", "none"), own=OWN)
    assert [(i.ordering, i.learning_rate) for i in study.instances] == [("bn/none", 0.003), ("none/none", 0.001)]
    assert study.own == {"bn/none": OWN["bn"], "none/none": OWN["none"]}
    made = [make_record(name, learning_rate=rate) for name in ("bn", "none") for rate in (0.003, 0.001)]
    selected = study.select(made)
    assert selected == [made[0], made[3]]
    own = "each ordering's own value (0.003 for bn/none, 0.001 for none/none)"
    assert set(study.to_frame(selected)["learning_rate"]) == {own}
    same = Study("mine", "Which?", ("bn", "none"), own={"bn": {"epochs": 2}, "none": {"epochs": 2}})
    assert same.own_values("epochs") == "2 for all of them"


@pytest.mark.parametrize(
    ("defaults", "measure"),
    [({}, "train_loss"), ({"epochs": 2}, "eval_accuracy"), ({"fit_split": "test[:640]"}, "eval_accuracy")],
)
def test_where_nobody_says_a_study_judges_what_the_source_did_if_it_follows_it_and_else_evaluation(defaults, measure):
    study = Study("mine", "Which?", ("bn", "none"), defaults=defaults)
    assert study.measure == measure
    assert f"measure: {measure}" in study.to_yaml()


def test_a_study_of_ones_own_data_names_its_splits(tmp_path):
    images, labels = np.random.default_rng(0).random((9, 8, 8)), np.arange(9)
    np.savez(tmp_path / "mine.npz", x_train=images, x_test=images, y_train=labels, y_test=labels)
    settings = {"dataset": str(tmp_path / "mine.npz"), "evaluate_split": "train"}
    with pytest.raises(RequestError, match=r"dataset is 'mine.npz', but fit_split is not named, as data of"):
        Study("mine", "Which?", ("bn", "none"), defaults=settings)
    assert Study("mine", "Which?", ("bn", "none"), defaults={**settings, "fit_split": "test"}).seeds == 10


def test_a_quick_look_has_two_seeds_and_what_the_file_says_is_less(tmp_path):
    text = "seeds: 9\ndefaults: {epochs: 2, fit_split: train, evaluate_split: test}\n"
    text += "quick: {defaults: {fit_split: 'train[:10%]'}}\n"
    study = read_study(write(tmp_path, SMALLEST + text)).quick_version()
    assert study.seeds == 2
    assert {(i.epochs, i.fit_split) for i in study.instances} == {(2, "train[:10%]")}
    assert [*read_study("source").quick_version().run_seeds] == [0, 1]  # and not those that it is told with


def test_lag_takes_equal_numbers_of_steps_everywhere():
    steps = {len(range(i.fit_examples.start, i.fit_examples.stop)) / i.batch_size for i in read_study("lag").instances}
    assert steps == {80}


def test_batch_sizes_see_the_same_images_and_the_learning_rate_is_in_proportion():
    """Goyal et al. 2017 and Wu and He 2018, section 4.1: 0.1 for 256 images."""
    instances = read_study("batch-size").instances
    assert {i.batch_size for i in instances} == {32, 8, 4, 2}
    assert {i.learning_rate / i.batch_size for i in instances} == {0.1 / 256}
    assert {(i.optimizer, i.fit_split) for i in instances} == {("sgd", "train[:10000]")}


def test_groups_go_from_one_to_all_channels():
    instances = read_study("groups").instances
    assert sorted({i.groups for i in instances}) == [1, 2, 4, 8, 16]
    assert instances[0].model_facts.channels == (16,)


VARIES = [{"batch_size": [32, 2], "learning_rate": [0.1, 0.01]}]
PAPER = {
    "reports": "A paper, table 1",
    "against": "batch_size",
    "lines": {"bn/bn": {32: 23.6, 2: 34.7}},
    "differs": "In all.",
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lines": {"bn/bn": {}}}, "paper: lines is {'bn/bn': {}}, but must be numbers by the values of the setting"),
        ({"lines": {"bn/bn": {0: 1.0}}}, "paper: lines is 0, but must be numbers by positive values of the setting"),
        ({"lines": {"bn/bn": {32: "many"}}}, "paper: lines is 'many', but must be finite numbers"),
        ({"lines": {"bn/bn": {32: float("nan")}}}, "paper: lines is nan, but must be finite numbers"),
        ({"differs": "a\x1b[2Jb"}, "paper: differs is "),
    ],
)
def test_what_of_a_paper_could_not_be_shown_is_refused(change, message):
    with pytest.raises(RequestError) as refusal:
        Paper.read(PAPER | change, VARIES)
    assert str(refusal.value).startswith(message)


@pytest.mark.parametrize(
    ("against", "varies"),
    [
        ("learning_rate", VARIES),
        ("batch_size", []),
        ("batch_size", [*VARIES, {"epochs": [1, 2]}]),
        ("optimizer", [{"optimizer": ["adam", "sgd"]}]),
        ("weight_decay", [{"weight_decay": [0, 0.1]}]),
    ],
)
def test_a_paper_that_could_not_be_drawn_along_one_axis_is_refused(against, varies):
    message = f"^paper: against is '{against}', but must be the first setting of the one group that the study varies"
    with pytest.raises(RequestError, match=message):
        Paper.read(PAPER | {"against": against}, varies)


def test_records_from_before_a_setting_was_added_count_with_its_default(make_record):
    record = make_record("bn")
    older = {name: value for name, value in record.instance.items() if name != "optimizer"}
    study = Study("mine", "Which?", ("bn",))
    assert study.select([dataclasses.replace(record, instance=older)])
    assert not study.select([make_record("bn", optimizer="sgd")])

"""Two folders are the sides of one study, or they are refused, with the setting, both values and why."""

import pytest

from normlib.errors import RequestError
from normlib.report import agreement
from normlib.report.agreement import Side
from normlib.runs.store import save_record
from normlib.studies.study import Study

CONTRASTS = {"kind": "bn - gn", "against none": "bn - none"}
ALL = Study("source", "Which?", ("bn", "gn", "none"), contrasts=CONTRASTS)
ONE_STUDY = "as in the first folder, since both have to hold runs of one study"


@pytest.fixture
def make_side(make_record):
    """Return a function that makes up a side: a study, and a run of some orderings."""

    def make(study=ALL, orderings=None, **changes):
        return Side(study, [make_record(ordering, 0, **changes) for ordering in orderings or study.orderings])

    return make


def refused(side_a, side_b):
    with pytest.raises(RequestError) as refusal:
        agreement.check_one_study(side_a, side_b)
    return str(refusal.value)


def study(**changes):
    settings = {"orderings": ALL.orderings, "contrasts": CONTRASTS} | changes
    return Study("elsewhere", "Which?", **settings)


def test_seeds_stack_threads_question_and_the_provider_may_differ(make_side, make_record):
    other = Study("elsewhere", "Who?", ALL.orderings, seeds=3, first_seed=7, contrasts=CONTRASTS)
    made = {"provider": "keras", "environment": {"provider": "keras", "threads": 2, "processor": "another"}}
    runs = [make_record(ordering, 7, **made) for ordering in ALL.orderings]
    agreement.check_one_study(make_side(), Side(other, runs))


def test_contrasts_may_be_missing_where_their_orderings_are(make_side):
    fewer = make_side(ALL.but(orderings=["bn", "none"]))
    agreement.check_one_study(make_side(), fewer)
    for sides in ((make_side(), fewer), (fewer, make_side())):
        named = {contrast.name: str(contrast) for contrast in agreement.contrasts_of(*sides)}
        assert named == {"kind": "bn/none - gn/none", "against none": "bn/none - none/none"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"margin": 0.02}, f"margin is 0.02, but must be 0.01 {ONE_STUDY}"),
        ({"measure": "eval_loss"}, f"measure is 'eval_loss', but must be train_loss {ONE_STUDY}"),
        ({"varies": [{"epochs": [1, 2]}]}, f"varies is ({{'epochs': [...]}},), but must be () {ONE_STUDY}"),
        (
            {"contrasts": CONTRASTS | {"kind": "gn - bn"}},
            f"contrast kind is 'gn/none - bn/none', but must be bn/none - gn/none {ONE_STUDY}",
        ),
        (
            {"contrasts": {"kind": "bn - gn"}},
            f"contrast against none is 'not declared', but must be bn/none - none/none {ONE_STUDY}",
        ),
    ],
    ids=["margin", "measure", "varies", "another contrast", "a contrast less"],
)
def test_what_was_declared_has_to_be_the_same(make_side, changes, message):
    assert message in refused(make_side(), make_side(study(**changes)))


def test_a_contrast_more_is_refused_too(make_side):
    less = make_side(study(contrasts={"kind": "bn - gn"}))
    said = refused(less, make_side())
    assert said == f"contrast against none is 'bn/none - none/none', but must be not declared, {ONE_STUDY}"


def test_settings_and_data_of_the_runs_have_to_be_the_same(make_side):
    said = refused(make_side(), make_side(study(defaults={"epochs": 4}), epochs=4))
    assert said == f"epochs is 4, but must be 1 of bn/none {ONE_STUDY}"
    assert refused(make_side(), make_side(dataset="fashion_mnist")).startswith("dataset is 'fashion_mnist', but must be ")


def test_own_settings_have_to_be_the_same_for_each_ordering(make_side):
    own = {"bn/none": {"epochs": 1}, "gn/none": {"epochs": 1}, "none/none": {"epochs": 4}}
    side = Side(
        study(orderings=[*own], own=own),
        [*make_side(orderings=["bn", "gn"]).runs, *make_side(None, ["none"], epochs=4).runs],
    )
    agreement.check_one_study(side, side)
    assert refused(make_side(), side) == f"epochs is 4, but must be 1 of none/none {ONE_STUDY}"


def test_one_ordering_at_least_has_to_be_on_both_sides(make_side):
    said = refused(make_side(orderings=["bn", "gn"]), make_side(orderings=["none"]))
    assert said == "orderings is 'none/none', but must be under the same conditions, one at least of bn/none, gn/none"


def test_runs_of_a_side_that_must_not_be_averaged_are_refused(make_side):
    mixed = Side(ALL, [*make_side().runs, *make_side(environment={"threads": 2}).runs])
    assert "threads of 1 and 2" in refused(make_side(), mixed)


def test_a_side_is_read_from_the_folder_of_a_study_with_runs_of_it(tmp_path, make_side):
    for name in ("a", "b", "none_declared", "none_run"):
        (tmp_path / name).mkdir()
    for name in ("a", "b", "none_declared"):
        for record in make_side().runs:
            save_record(record, tmp_path / name / "records")
    for name in ("a", "b", "none_run"):
        (tmp_path / name / "study.yaml").write_text(ALL.to_yaml())
    sides = agreement.read_sides(tmp_path / "a", tmp_path / "b")
    assert [(side.study.name, len(side.records)) for side in sides] == [("a", 3), ("b", 3)]
    for a, b, message in (
        ("a", "none_declared", r"DIR_B is .*, but must be a study's output folder, with study.yaml in it"),
        ("none_run", "b", r"DIR is .*, but must be a study's output folder, with at least one record"),
    ):
        with pytest.raises(RequestError, match=message):
            agreement.read_sides(tmp_path / a, tmp_path / b)

import markupsafe
import pytest

import normlib
from normlib.errors import RequestError
from normlib.runs.store import save_record
from normlib.studies import results as results_module
from normlib.studies.results import Results, check_one_study, earlier_runs, kept_studies, read_results
from normlib.studies.study import Study, read_study

SMALLEST = "question: Which?\norderings: [bn, none]\n"


def test_a_studys_runs_are_those_with_its_settings_whatever_their_ordering_and_seed(tmp_path, make_record):
    (tmp_path / "study.yaml").write_text(SMALLEST + "varies: [{epochs: [1, 4]}]\n")
    kept = [make_record("bn", 0), make_record("bn", 0, epochs=4), make_record("gn/bn", 7), make_record("bn", 99)]
    others = [make_record("bn", 0, epochs=2), make_record("bn", 0, batch_size=64)]
    for record in (*kept, *others):
        save_record(record, tmp_path / "records")
    for folder in (tmp_path, tmp_path / "records"):
        results = read_results(folder)
        assert (results.study.name, results.study.question) == (tmp_path.name, "Which?")
        assert {record.key for record in results.runs} == {record.key for record in kept}
    assert list(results.parts) == ["epochs 1", "epochs 4"]


def test_without_a_study_beside_them_nothing_was_declared(tmp_path, make_record):
    for seed in (0, 1):
        save_record(make_record("bn", seed), tmp_path)
    results = normlib.read_results(str(tmp_path))
    assert (len(results.runs), results.contrasts) == (2, [])
    assert "No contrast was declared" in results.findings


def test_a_kept_study_is_read_by_its_name_with_all_its_runs_its_settings_chosen():
    results = read_results("learning-rate")
    assert len(results.runs) == len(results.study.instances) * results.study.seeds
    assert results.planned_runs["done"].all()
    assert list(results.study.own) == list(results.study.orderings)
    assert set(kept_studies()) >= {"source", "learning-rate"}


@pytest.mark.parametrize("name", ["nowhere", "sorce", "", "a\nb", "null\0byte", "x" * 10_000])
def test_what_holds_no_runs_is_refused_in_one_line(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RequestError, match=r"^folder is .*, but must be a study's output folder, with") as refusal:
        read_results(name)
    assert str(refusal.value).isprintable()
    assert str(refusal.value).endswith("(did you mean 'source'?)") == (name == "sorce")


def test_results_show_themselves_and_their_tables():
    results = read_results("source")
    card = results._repr_html_()
    assert markupsafe.escape(results.study.question) in card
    assert "<strong>differs</strong>" in card
    for name in ("contrasts", "rankings", "gap", "results", "provenance"):
        assert "<caption>" in results.table(name).to_html()
    with pytest.raises(RequestError, match=r"table is 'contrast', but must be one of .*did you mean 'contrasts'"):
        results.table("contrast")
    assert len(results.plot_bars("eval_loss")[1]) == 1


ONE = Study("a", "Which?", ("bn", "gn", "none"), contrasts={"kind": "bn - gn", "against none": "bn - none"})


@pytest.fixture
def make_side(make_record):
    def make(study=ONE, orderings=("bn", "gn", "none"), seeds=(0, 1), **settings):
        runs = [make_record(ordering, seed, **settings) for ordering in orderings for seed in seeds]
        return Results(study, runs)

    return make


def test_other_seeds_and_orderings_are_one_study(make_side):
    fewer = ONE.replace(orderings=["bn", "none"])
    check_one_study(make_side(), make_side(seeds=(7, 8)))
    check_one_study(make_side(), make_side(fewer, ("bn", "none")))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"margin": 0.02}, "margin is 0.02, but it is 0.01 in the first folder"),
        ({"measure": "eval_loss"}, "measure is 'eval_loss', but it is train_loss in the first folder"),
        ({"contrasts": {"kind": "gn - bn"}}, "contrast kind is 'gn/none - bn/none', but it is bn/none - gn/none in"),
        ({"contrasts": {"kind": "bn - gn"}}, "contrast against none is 'not declared', but it is bn/none - none/none"),
    ],
)
def test_another_declaration_is_another_study(make_side, change, message):
    other = Study("b", "Which?", ("bn", "gn", "none"), **{"contrasts": ONE.contrasts, **change})
    with pytest.raises(RequestError, match=f"^{message}"):
        check_one_study(make_side(), make_side(other))


def test_runs_with_other_settings_or_none_in_common_are_another_study(make_side):
    with pytest.raises(RequestError, match=r"^epochs of bn/none is '4', but it is 1 in the first folder"):
        check_one_study(make_side(), make_side(epochs=4))
    with pytest.raises(
        RequestError, match=r"^orderings is 'none/none', but the first folder has runs of bn/none, gn/none: none"
    ):
        check_one_study(make_side(orderings=("bn", "gn")), make_side(orderings=("none",)))


def test_of_a_kept_study_that_was_declared_anew_no_runs_are_expected(monkeypatch):
    anew = read_study("stacked").replace(defaults={"epochs": 2})
    monkeypatch.setattr(results_module, "read_study", lambda name: anew)
    assert earlier_runs(anew) is None

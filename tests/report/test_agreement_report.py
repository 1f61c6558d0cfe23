import pytest

from conftest import SMALL
from normlib.report import agreement
from normlib.studies.results import Results
from normlib.studies.study import Study

KERAS = {"versions": {"tensorflow": "2.21.0", "keras": "3.15.1", "tensorflow-addons": None}, "provider": "keras"}
NAME = "<b>against</b> none"
STUDY = Study(
    "mine",
    "Which <i>one</i>?",
    ("bn", "none"),
    seeds=3,
    contrasts={NAME: "bn - none"},
    defaults=SMALL,
    measure="train_loss",
)
LOSSES = {"bn": [0.45, 0.46, 0.47], "none": [0.40, 0.40, 0.40]}


@pytest.fixture
def make_sides(make_record):
    """Return a function that gives a made-up study's results twice: B's on the other stack, its losses shifted."""

    def make(shift=0.0, study=STUDY, orderings=("bn", "none")):
        return [
            Results(
                study,
                [
                    make_record(ordering, seed, loss + added, environment=environment, **SMALL)
                    for ordering in orderings
                    for seed, loss in enumerate(LOSSES[ordering])
                ],
            )
            for environment, added in (({}, 0.0), (KERAS, shift))
        ]

    return make


def test_the_table_has_the_numbers_of_figures_and_contrasts_and_as_text_their_intervals_and_verdicts(make_sides):
    table = agreement.compare(*make_sides(shift=0.2))
    figure = table[(table["ordering"] == "bn/none") & (table["measure"] == "train_loss")].iloc[0]
    assert figure[["mean_a", "mean_b", "difference"]].tolist() == pytest.approx([0.46, 0.66, 0.2])
    assert len(table) == 2 * 4 + 1
    contrast = table[table["ordering"] == "bn/none - none/none"].iloc[0]
    assert contrast[["measure", "runs_a", "runs_b", "verdict_a"]].tolist() == ["train_loss", 3, 3, "differs"]
    assert contrast["mean_a"] == pytest.approx(0.06)
    text = agreement.as_text(table)
    reach = 4.302653 * 0.01 / 3**0.5  # t of two degrees of freedom
    assert text.loc[0, ["what", "runs", "verdict"]].tolist() == ["bn/none", "3, 3", "differs"]
    assert text.loc[0, "A"] == f"0.4600 [{0.46 - reach:.4f}, {0.46 + reach:.4f}]"
    assert text.iloc[-1][["what", "verdict"]].tolist() == [NAME, "differs; differs"]


def test_it_is_said_where_each_side_was_run_what_agrees_and_what_does_not(make_sides):
    a, b = make_sides(shift=0.2)
    sentences = agreement.agreement_sentences(a, b, agreement.compare(a, b))
    assert sentences[1] == (
        "B, mine: 6 runs, seeds: 3, from 0 to 2; tensorflow 2.21.0, keras 3.15.1; processor: a processor; "
        "threads a run: 1."
    )
    assert sentences[2].startswith("4 of 8 figures agree: the 95 % interval of B minus A holds zero; not so: ")
    assert "running training loss of bn/none (differs)" in sentences[2]
    assert sentences[3].startswith("1 of 1 contrasts have the same verdict in A and in B. Contrasts that were seen to")
    assert sentences[3].endswith("differs): none.")
    same = agreement.agreement_sentences(a, a, agreement.compare(a, a))
    assert same[2].startswith("8 of 8 figures agree: the 95 % interval of B minus A holds zero; with Holm's")


def test_what_only_one_side_has_or_what_is_missing_is_said(make_sides):
    (a, _), (_, b) = make_sides(), make_sides(orderings=("bn",))
    sentences = agreement.agreement_sentences(a, b, agreement.compare(a, b))
    assert "Not compared, since only A has runs: none/none." in sentences
    assert any(sentence.startswith("In B: Missing, 3 of 6 runs") for sentence in sentences)


def test_the_page_has_sentences_the_table_and_the_figure_in_it_and_what_others_wrote_is_no_markup(make_sides):
    a, b = make_sides(shift=0.2)
    page = agreement.as_page(a, b, agreement.compare(a, b))
    assert page.startswith("<!DOCTYPE html>")
    assert page.count("<table") == 1
    assert page.count('src="data:image/png;base64,iVBOR') == 1
    assert 'alt="One study run in two places: the means' in page
    assert "4 of 8 figures agree" in page
    assert "<b>" not in page
    assert "<i>" not in page
    assert "&lt;b&gt;against&lt;/b&gt; none" in page

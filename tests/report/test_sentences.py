"""What is said of made-up records whose answer is known."""

import html
import math
import re

import nbconvert.filters
import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from normlib.analysis.comparison import Comparison
from normlib.report import sentences
from normlib.studies.folder import UndeclaredStudy
from normlib.studies.results import Results
from normlib.studies.study import Study

CONTRASTS = {"kind": "bn/none - gn/none", "against none": "bn/none - none/none"}


@pytest.fixture
def make_results(make_record):
    """Return a function that makes up a study's results from ``{ordering: losses by seed}``."""

    def make(losses, study, evaluation=None, **changes):
        runs = [
            make_record(ordering, seed, loss, 1 - loss / 4, evaluation and evaluation(ordering, seed), **changes)
            for ordering, values in losses.items()
            for seed, loss in enumerate(values)
        ]
        return Results(study, runs)

    return make


def study(orderings=("bn/none", "gn/none", "none/none"), seeds=8, **changes):
    settings = {"question": "Which?", "margin": 0.01, "contrasts": CONTRASTS, **changes}
    return Study("made", orderings=orderings, seeds=seeds, **settings)


def losses(*means, seeds=8, sd=0.001):
    noise = np.random.default_rng(0).normal(0, sd, size=(len(means), seeds))
    noise -= noise.mean(axis=1, keepdims=True)
    return {name: (mean + row).tolist() for name, mean, row in zip(("bn", "gn", "none"), means, noise, strict=True)}


def test_a_clear_winner_is_told_apart_with_its_lead_and_its_conditions(make_results):
    said = sentences.findings(make_results(losses(0.30, 0.40, 0.50), study())).splitlines()
    assert said[0] == (
        "In running training loss, for source_cnn with no activation after its convolutions, fitted on mnist test, "
        "1 epoch, batches of 32, Adam at 0.001:"
    )
    assert said[2].startswith("- *kind*, bn/none against gn/none: **differs**, the first is better (-0.1000 [")
    assert said[2].endswith("8 pairs).")
    assert said[3].startswith(
        "- *against none*, bn/none against none/none: **differs**, the first is better (-0.2000 ["
    )
    assert said[4].startswith("- By means, bn/none is best, 0.3000: 0.1000 [")
    assert said[4].endswith("ahead of gn/none, and first with 8 of 8 seeds.")


@pytest.mark.parametrize(
    ("means", "how", "said"),
    [
        ((0.40, 0.40), {"sd": 0.002}, r"\*\*level\*\*, the difference lies within the margin 0.01 \("),
        ((0.400, 0.405), {"sd": 0.0005}, r"\*\*differs negligibly\*\*, within the margin 0.01, the first is better \("),
        ((0.40, 0.405), {"seeds": 3, "sd": 0.01}, r"\*\*undecided\*\* \(.*3 pairs, about \d+ seeds for a new study\)"),
    ],
)
def test_each_other_verdict_has_its_words(make_results, means, how, said):
    results = make_results(losses(*means, 0.50, **how), study(seeds=how.get("seeds", 8)))
    assert re.search(said, sentences.contrast_sentences(results)[0])


def test_with_one_seed_or_without_runs_of_an_ordering_nothing_can_be_said(make_results):
    said = sentences.findings(make_results({"bn": [0.4], "none": [0.3]}, study(seeds=1)))
    assert said.count("nothing can be said (fewer than two pairs of runs)") == 2
    assert "By means, the baseline none/none is best, 0.3000: 0.1000 ahead of bn/none" in said


def test_failed_runs_are_named_and_without_a_study_file_none_is_missing(make_results):
    values = losses(0.30, 0.40, 0.50)
    values["gn"] = values["gn"][:6]
    said = sentences.findings(make_results(values, study()))
    assert "Missing, 2 of 24 runs: gn/none, seed 6; gn/none, seed 7. Contrasts leave out their pairs." in said
    assert "6 pairs" in said
    assert sentences.run_sentences(make_results({"bn": [0.4]}, UndeclaredStudy("a", "Which?", ("none",)))) == []


def test_a_diverged_run_is_named_and_nothing_said_of_its_contrasts_unless_it_counts_as_chance(make_results):
    values = losses(0.30, 0.40, 0.50)
    values["gn"][3] = math.nan
    said = sentences.findings(make_results(values, study()))
    assert "*kind*, bn/none against gn/none: nothing can be said (a run diverged)." in said
    assert "*against none*, bn/none against none/none: **differs**" in said
    assert "Diverged: 1 of 8 runs of gn/none, 12% [0%, 53%]: seeds 3." in said
    assert "nan" not in said
    results = make_results(values, study(diverged="worst"))
    row = results.records[(results.records["ordering"] == "gn/none") & (results.records["seed"] == 3)].iloc[0]
    assert row[["train_loss", "eval_accuracy"]].tolist() == pytest.approx([math.log(10), 0.1])
    said = sentences.findings(results)
    assert "Diverged: 1 of 8 runs of gn/none, 12% [0%, 53%]: seeds 3.\n- Diverged runs count as chance." in said
    assert "nothing can be said" not in said


def test_without_the_baseline_contrasts_or_a_rival_it_is_said(make_results, make_frame):
    said = sentences.findings(make_results({"bn": [0.4, 0.5]}, study(("bn/none",), 2, contrasts={})))
    assert "No contrast was declared, so no difference is judged." in said
    assert "The baseline, without normalization, was not run." in said
    (said,) = sentences.winner_sentences(Comparison(make_frame({"none": [0.4], "bn": [math.nan]})))
    assert said.startswith("No ordering is compared with another")


def test_conditions_with_the_same_conclusion_are_told_together_and_flips_show(make_record):
    means = {32: (0.3, 0.4, 0.5), 64: (0.5, 0.4, 0.3), 128: (0.3, 0.4, 0.5)}
    runs = [
        make_record(ordering, seed, loss, batch_size=size)
        for size, each in means.items()
        for ordering, values in losses(*each).items()
        for seed, loss in enumerate(values)
    ]
    said = sentences.findings(Results(study(varies=[{"batch_size": [32, 64, 128]}]), runs)).splitlines()
    assert "batches" not in said[0]
    assert said[3].index("the first is better (batch_size 32: -0.2") < said[3].index("; batch_size 128: -0.2")
    assert said[3].index("batch_size 128: ") < said[3].index("the first is worse (batch_size 64: +0.2")
    assert said[4] == "- The baseline, none/none, has the best mean under 1 of 3 conditions: batch_size 64."


def test_a_conclusion_that_depends_on_the_reading_is_said_to(make_results):
    noise = np.random.default_rng(1).normal(0, 0.001, (3, 8))

    def evaluated(ordering, seed):
        lag = 0.2 if ordering == "bn" else 0.0
        loss = {"inference": 0.3 + lag, "debiased": 0.3, "recalibrated": 0.3}
        scatter = dict(zip(loss, noise[:, seed], strict=True)) if ordering == "bn" else dict.fromkeys(loss, 0.0)
        return {reading: {"loss": value + scatter[reading], "accuracy": 0.9} for reading, value in loss.items()}

    results = make_results(losses(0.30, 0.40, 0.50), study(measure="eval_loss"), evaluated)
    said = sentences.reading_sentences(results)
    assert len(said) == 2
    assert said[0].startswith("On evaluation loss, *kind* depends on the reading: it is +0.20")
    assert re.search(r"recalibrated, it changes by -0.(1|2)\d+ \[-0.2\d+, -0.1\d+\].$", said[0])
    findings = sentences.findings(results)
    assert findings.startswith("In evaluation loss on train[:10000], as Keras evaluates it, for source_cnn")
    assert "recalibrated, it would be" not in findings
    recalibrated = make_results(losses(0.30, 0.40, 0.50), study(measure="recalibrated_loss"))
    assert sentences.findings(recalibrated).startswith("In evaluation loss on train[:10000], recalibrated, for source")
    calm = sentences.reading_sentences(make_results(losses(0.30, 0.40, 0.50), study()))
    assert calm == [
        "On evaluation loss, no contrast was seen to depend on the reading of BatchNorm (the training figure has no "
        "readings)."
    ]


def test_the_ordering_of_a_mean_without_which_its_verdict_turns_is_named(make_results):
    contrasts = {"mean": "mean(bn, gn) - none"}
    results = make_results(losses(0.40, 0.70, 0.40), study(contrasts=contrasts))
    (said,) = sentences.contrast_sentences(results)
    assert said.startswith("*mean*, mean(bn/none, gn/none) against none/none: **differs**, the first is worse")
    assert "; without gn/none it is level, " in said
    assert "without bn/none" not in said


def test_strongly_skewed_pairs_are_named_since_the_rule_was_not_simulated_for_them(make_results):
    values = losses(0.30, 0.40, 0.50)
    assert sentences.noise_sentences(make_results(values, study())) == []
    values["gn"][3] = 2.0
    said, ratio = sentences.noise_sentences(make_results(values, study()))
    assert said.startswith("Pairs of *kind* are strongly skewed")
    assert re.fullmatch("Runs of gn/none scatter more than 11 times as much as those of .*: that was not .*", ratio)
    fewer = {name: some[:4] for name, some in values.items()}
    assert not any("scatter" in said for said in sentences.noise_sentences(make_results(fewer, study(seeds=4))))


def test_with_looks_an_undecided_contrast_waits_for_the_next_one_and_a_decided_one_has_its_later_pairs_apart(
    make_results,
):
    values = losses(0.40, 0.405, 0.50, seeds=4, sd=0.01)
    looks = study(seeds=None, looks=(3, 4, 8))
    kind, against = sentences.contrast_sentences(make_results(values, looks))
    assert kind.endswith("4 pairs, the next look is at 8 seeds).")
    assert re.search(r"\*\*differs\*\*, the first is better \(-0.*, [34] pairs", against)
    final = sentences.contrast_sentences(make_results(values, study(seeds=None, looks=(3, 4))))
    assert re.search("4 pairs, about .* seeds for a new study", final[0])


def test_diverged_runs_are_named_with_their_condition_also_where_only_a_reading_did(make_record):
    def evaluation(ordering, seed):
        return {"loss": math.inf if (ordering, seed) == ("bn", 1) else 0.3, "accuracy": 1}

    runs = [
        make_record(ordering, seed, evaluation=evaluation(ordering, seed), batch_size=size)
        for size in (32, 64)
        for ordering in ("bn", "gn", "none")
        for seed in range(8)
    ]
    said = sentences.run_sentences(Results(study(varies=[{"batch_size": [32, 64]}]), runs))
    assert said == [
        "Diverged: 1 of 8 runs of bn/none, batch_size 32, 12% [0%, 53%]: seeds 1.",
        "Diverged: 1 of 8 runs of bn/none, batch_size 64, 12% [0%, 53%]: seeds 1.",
        "Nothing is said of contrasts that a diverged run stands in.",
    ]


def test_runs_of_another_version_of_the_file_are_told(make_results):
    made = {"losses": losses(0.3, 0.4, 0.5), "environment": {"study_sha256": "a" * 64}}
    assert sentences.run_sentences(make_results(study=study(declared_in="a" * 64), **made)) == []
    (said,) = sentences.run_sentences(make_results(study=study(declared_in="b" * 64), **made))
    assert said.startswith("24 of 24 runs were made for another version of the study's file")


def test_the_baseline_wins_or_it_is_said_that_it_does_not_or_has_no_pairs(make_frame):
    (said,) = sentences.winner_sentences(Comparison(make_frame({"none": [0.3, 0.3], "bn": [0.4, 0.42]})))
    assert said.startswith("By means, the baseline none/none is best, 0.3000: 0.1100 [")
    frame = make_frame({"none": [0.4, 0.4], "bn": [0.3, 0.42]})
    (said,) = sentences.winner_sentences(Comparison(frame))
    assert "ahead of the baseline none/none, which is not clear of zero, and first with 1 of 2 seeds." in said
    frame["seed"] = range(4)
    (said,) = sentences.winner_sentences(Comparison(frame))
    assert said == "By means, bn/none is best, 0.3600: no pairs with the baseline none/none."


def test_equal_means_are_said_to_be_equal_and_are_no_order(make_frame):
    """In another order the same figures, added up, may differ in their last digit; equal pairs alone are no tie."""
    losses = {"bn": [0.4, 0.5, 0.3], "gn": [0.5, 0.4, 0.3], "none": [0.3, 0.4, 0.5]}
    (said,) = sentences.winner_sentences(Comparison(make_frame(losses)))
    assert re.fullmatch(r"By means, (.+), (.+) and (.+) are best, each 0.4000\.", said)
    (said,) = sentences.winner_sentences(Comparison(make_frame({"bn": [0.5, 0.1], "none": [0.5]})))
    assert said.startswith("By means, bn/none is best, 0.3000: 0.0000")


def test_where_recalibration_would_turn_the_answer_it_is_said(make_frame):
    """As Keras evaluates it bn/none loses under both conditions; recalibrated it wins under one."""
    varies = [{"batch_size": [32, 64]}]

    def evaluated(size):
        def evaluate(ordering, seed):
            inference, recalibrated = (0.3, 0.3) if ordering == "none" else (0.9, 0.2 if size == 64 else 0.4)
            losses = {"inference": inference, "debiased": recalibrated, "recalibrated": recalibrated}
            return {reading: {"loss": loss, "accuracy": 0.9} for reading, loss in losses.items()}

        return evaluate

    frame = pd.concat(
        make_frame({"bn": [0.4] * 2, "none": [0.4] * 2}, evaluation=evaluated(size), batch_size=size)
        for size in (32, 64)
    )
    (said,) = sentences.winner_sentences(Comparison(frame, measure="eval_loss", varies=varies))
    assert said.endswith(
        "under 2 of 2 conditions: batch_size 32; batch_size 64. With recalibrated statistics it would be 1."
    )
    (said,) = sentences.winner_sentences(Comparison(frame[frame["batch_size"] == 64], measure="eval_loss"))
    assert said.endswith("; recalibrated, it would be bn/none.")


def test_the_sources_ranking_is_held_against_the_means_and_each_seed(make_frame):
    """Source: bn/none < gn/none < gn/bn < bn/gn. Here gn/bn and bn/gn change places in one seed of three."""
    values = {"bn": [0.1] * 3, "gn": [0.2] * 3, "gn/bn": [0.3, 0.3, 0.4], "bn/gn": [0.35] * 3, "none": [0.0] * 3}
    (said,) = sentences.source_sentences(make_frame(values))
    assert "bn/none < gn/none < gn/bn < bn/gn, is that of the means here; 2 of 3 seeds give it, and 2 different" in said
    values["gn/bn"] = [0.3, 0.4, 0.4]
    (said,) = sentences.source_sentences(make_frame(values))
    assert "is not that of the means here, bn/none < gn/none < bn/gn < gn/bn; 1 of 3 seeds give it" in said
    assert sentences.source_sentences(make_frame(values, activation="relu")) == []
    one_seed = {ordering: losses[:1] for ordering, losses in values.items()}
    assert sentences.source_sentences(make_frame(one_seed)) == []
    assert sentences.source_sentences(make_frame({**values, "bn": [math.nan] * 3})) == []


@pytest.mark.parametrize(
    ("settings", "varies", "said"),
    [
        (
            {"momentum": 0.9},
            [],
            "source_cnn with no activation after its convolutions, fitted on mnist test, 1 epoch, batches of 32, "
            "Adam at 0.001, BatchNorm's momentum 0.9",
        ),
        (  # whose activations are its own
            {"model": "resnet20", "optimizer": "sgd", "weight_decay": 1e-4, "channels_per_group": 4},
            [{"batch_size": [32], "learning_rate": [0.001]}],
            "resnet20, fitted on mnist test, 1 epoch, channels per group 4, weight decay 0.0001, SGD with momentum 0.9 "
            "(batch_size 32 with learning_rate 0.001)",
        ),
        (
            {"statistics_batch": 8, "fit_sample": 2000, "schedule": "cosine", "warmup": 10},
            [{"activation": ["none"]}],
            "source_cnn, fitted on mnist test, 1 epoch, batches of 32, Adam at 0.001, BatchNorm over parts of 8 "
            "images, 2000 images of the fit split drawn by each seed, cosine schedule, warmup of 10 steps",
        ),
        (
            {"batch_size": 64, "fit_split": "test[:640]"},
            [{"batch_size": [32, 64], "fit_split": ["test[:320]", "test[:640]"]}],
            "source_cnn with no activation after its convolutions, fitted on mnist, 1 epoch, Adam at 0.001 "
            "(batch_size 32 with fit_split test[:320]; batch_size 64 with fit_split test[:640])",
        ),
        (  # of which the first run's stand for no other
            {"model": "resnet20"},
            [{"dataset": ["mnist", "fashion_mnist"]}],
            "resnet20, fitted on test, 1 epoch, batches of 32, Adam at 0.001",
        ),
    ],
    ids=["shared", "the model's own activations", "batch, sample and schedule", "settings that go together", "data"],
)
def test_the_settings_that_runs_share_are_said_in_words_and_what_varies_is_left_out(make_frame, settings, varies, said):
    assert sentences.shared_settings(make_frame({"bn": [0.4]}, **settings), varies) == said


def test_intervals_cover_the_draw_of_images_where_there_is_one(make_frame):
    assert "the draw of images from the fit split" in sentences.coverage(make_frame({"bn": [0.4]}, fit_sample=2000))
    assert sentences.coverage(make_frame({"bn": [0.4]})) == "initialization, shuffle and dropout, not new data"


def test_the_takeaway_of_an_instance_says_what_its_runs_gave_and_where_they_were_made(make_record):
    """0.3 and 0.5: mean 0.4, sd 0.2 / sqrt(2). The last line is one that notebooks/sanitize.cfg knows."""
    sentence = sentences.takeaway([make_record("gn/bn", seed, loss, 0.87) for seed, loss in enumerate((0.3, 0.5))])
    start = "**gn/bn**, mean of 2 runs: running training loss 0.40000 ± 0.14142, accuracy 0.87000 ± 0.00000; on train["
    assert sentence.startswith(start)
    assert sentence.splitlines()[-1].startswith("Made with: python 3.11.7, normlib 0.1.0, tensorflow 2.15.1")
    assert sentences.takeaway([make_record("gn/bn", 7)]).startswith("**gn/bn**, one run, seed 7: ")


def shown(text):
    """Return what a reader sees of a text in Markdown, as nbconvert makes HTML of it, and the tags in it."""
    made = nbconvert.filters.markdown2html(f"a {sentences.as_markdown(text)} b")
    return html.unescape(re.sub(r"<[^>]*>", "", made)).strip(), re.findall(r"</?\w+", made)


def test_line_breaks_begin_no_list_and_plain_words_stay_as_they_are():
    assert sentences.as_markdown("a, gn/bn say\n\n- b?\n# c") == "a, gn/bn say - b? &#35; c"


@given(st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1))
@example("<script>alert(1)</script> <img src=x onerror=alert(1)>")
@example("[here](javascript:alert(1)) ![](http://example.invalid/pixel)")
@example("*bold* __bold__ `code` ~~gone~~ $x^2$ | a table")
@example(r"\$ \< \\ \(x\) \[x\] \$x\$ \begin{align}x\end{align}")
@example("# heading")
@example("&lt;b&gt; & &amp; 2 * 3 * 4")
def test_any_text_is_shown_as_it_was_typed_and_makes_no_element(text):
    assert shown(text) == (f"a {text} b", ["<p", "</p"])

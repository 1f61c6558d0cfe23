"""What is said of made-up records whose answer is known."""

import math

import numpy as np
import pandas as pd

from normlib.report import sentences
from normlib.studies.folder import UndeclaredStudy
from normlib.studies.study import Study

CONTRASTS = {"kind": "bn/none - gn/none", "against none": "bn/none - none/none"}


def study(orderings=("bn/none", "gn/none", "none/none"), seeds=8, **changes):
    settings = {"question": "Which?", "margin": 0.01, "contrasts": CONTRASTS, **changes}
    return Study("made", orderings=orderings, seeds=seeds, **settings)


def scattered(*means, seeds=8, sd=0.001):
    noise = np.random.default_rng(0).normal(0, sd, size=(len(means), seeds))
    noise -= noise.mean(axis=1, keepdims=True)
    return [(mean + row).tolist() for mean, row in zip(means, noise, strict=True)]


def losses(*means, **changes):
    return dict(zip(("bn", "gn", "none"), scattered(*means, **changes), strict=True))


def test_a_clear_winner_is_told_apart_with_its_lead_and_its_conditions(make_frame):
    said = sentences.findings(make_frame(losses(0.30, 0.40, 0.50)), study()).splitlines()
    assert said[0] == (
        "In running training loss, for source_cnn with no activation after its convolutions, fitted on mnist test, "
        "1 epoch, batches of 32, Adam at 0.001:"
    )
    assert said[2].startswith("- *kind*, bn/none against gn/none: **differs**, the first is better (-0.1000 [")
    assert said[2].endswith("8 pairs).")
    assert said[3].startswith(
        "- *against none*, bn/none against none/none: **differs**, the first is better (-0.2000 ["
    )
    assert said[4] == "- The baseline, none/none, does not have the best mean."
    assert said[5].startswith("- By means, bn/none is best, 0.3000: 0.1000 [")
    assert said[5].endswith("ahead of gn/none, and first with 8 of 8 seeds.")


def test_all_level_is_said_to_be_level_and_never_to_be_the_same(make_frame):
    said = sentences.findings(make_frame(losses(0.40, 0.40, 0.40, sd=0.002)), study())
    assert said.count("**level**, the difference lies within the margin 0.01 (") == 2
    assert "differs" not in said
    assert "which is not clear of zero" in said


def test_a_small_difference_is_said_to_be_negligible(make_frame):
    said = sentences.contrast_sentences(make_frame(losses(0.400, 0.405, 0.400, sd=0.0005)), study())
    assert "**differs negligibly**, within the margin 0.01, the first is better" in said[0]


def test_too_few_seeds_leave_undecided_and_say_how_many_would_decide(make_frame):
    said = sentences.contrast_sentences(make_frame(losses(0.40, 0.42, 0.50, seeds=3, sd=0.01)), study(seeds=3))
    assert "**undecided** (" in said[0]
    assert "3 pairs, about " in said[0]
    assert said[0].endswith(" seeds would decide).")


def test_with_one_seed_nothing_can_be_said(make_frame):
    said = sentences.findings(make_frame({"bn": [0.4], "gn": [0.5], "none": [0.3]}), study(seeds=1))
    assert said.count("nothing can be said (fewer than two pairs of runs)") == 2
    assert "By means, the baseline none/none is best, 0.3000: 0.1000 ahead of bn/none" in said


def test_failed_runs_are_named(make_frame):
    values = losses(0.30, 0.40, 0.50)
    values["gn"] = values["gn"][:6]
    said = sentences.findings(make_frame(values), study())
    assert "Missing, 2 of 24 runs: gn/none, seed 6; gn/none, seed 7. Contrasts leave out their pairs." in said
    assert "6 pairs" in said


def test_a_diverged_run_is_named_and_nothing_said_of_its_contrasts(make_frame):
    values = losses(0.30, 0.40, 0.50)
    values["gn"][3] = math.nan
    said = sentences.findings(make_frame(values), study())
    assert "*kind*, bn/none against gn/none: nothing can be said (a run diverged)." in said
    assert "*against none*, bn/none against none/none: **differs**" in said
    assert "Diverged, 1 run: gn/none, seed 3." in said
    assert "nan" not in sentences.headline(make_frame(values), study())


def test_without_the_baseline_or_contrasts_it_is_said(make_frame):
    said = sentences.findings(make_frame({"bn": [0.4, 0.5]}), study(("bn/none",), 2, contrasts={}))
    assert "No contrast was declared, so no difference is judged." in said
    assert "The baseline, without normalization, was not run." in said


def test_conditions_with_the_same_conclusion_are_told_together_and_flips_show(make_frame):
    varies = [{"batch_size": [32, 64, 128]}]
    frame = pd.concat(
        make_frame(losses(*means), batch_size=size)
        for size, means in ((32, (0.3, 0.4, 0.5)), (64, (0.5, 0.4, 0.3)), (128, (0.3, 0.4, 0.5)))
    )
    said = sentences.findings(frame, study(varies=varies)).splitlines()
    assert "batches" not in said[0]
    assert said[3].index("the first is better (batch_size 32: -0.2") < said[3].index("; batch_size 128: -0.2")
    assert said[3].index("batch_size 128: ") < said[3].index("the first is worse (batch_size 64: +0.2")
    assert said[4] == "- The baseline, none/none, has the best mean under 1 of 3 conditions: batch_size 64."
    assert said[5].startswith("- Under batch_size 32, bn/none is best, ")
    headline = sentences.headline(frame, study(varies=varies))
    assert "against none, better under batch_size 32 and under batch_size 128; worse under batch_size 64" in headline


def test_a_conclusion_that_depends_on_the_reading_is_said_to(make_frame):
    noise = np.random.default_rng(1).normal(0, 0.001, 8)

    def evaluated(ordering, seed):
        lag = 0.2 if ordering == "bn" else 0.0
        loss = {"inference": 0.3 + lag, "debiased": 0.3, "recalibrated": 0.3}
        scatter = noise[seed] if ordering == "bn" else 0.0
        return {reading: {"loss": value + scatter, "accuracy": 0.9} for reading, value in loss.items()}

    frame = make_frame(losses(0.30, 0.40, 0.50), evaluation=evaluated)
    said = sentences.reading_sentences(frame, study(measure="eval_loss"))
    assert len(said) == 2
    assert said[0].startswith("On evaluation loss, *kind* depends on the reading: inference differs (+0.")
    assert "recalibrated level (" in said[0]
    findings = sentences.findings(frame, study(measure="eval_loss"))
    assert findings.startswith("In evaluation loss on train[:10000], as Keras evaluates it, for source_cnn")
    assert "recalibrated, it would be" not in findings
    headline = sentences.headline(frame, study(measure="eval_loss"))
    assert "Depends on the reading of BatchNorm: kind; against none. Of bn/none's 0.5" in headline
    assert "debiasing removes 0.2000 [0.2000, 0.2000], recalibration 0.0000 [0.0000, 0.0000] beyond" in headline
    calm = sentences.reading_sentences(make_frame(losses(0.30, 0.40, 0.50)), study())
    assert calm == [
        "No conclusion on evaluation loss depends on the reading of BatchNorm (the training figure has no readings)."
    ]


def test_the_headline_is_one_sentence_by_verdict(make_frame):
    frame = make_frame(losses(0.30, 0.30, 0.50))
    said = sentences.headline(frame, study())
    assert "**differs:** against none (bn/none better than none/none, by 0.2000 [0.19" in said
    assert "**level:** kind (bn/none minus gn/none: " in said
    assert said.endswith("The baseline, none/none, does not have the best mean.")
    assert "\n" not in said


def test_a_reading_that_diverged_is_said_to_have(make_frame):
    def evaluated(ordering, seed):
        loss = {"inference": math.inf if ordering == "bn" else 0.3, "debiased": 0.3, "recalibrated": 0.3}
        return {reading: {"loss": value, "accuracy": 0.9} for reading, value in loss.items()}

    frame = make_frame(losses(0.30, 0.40, 0.50), evaluation=evaluated)
    said = sentences.reading_sentences(frame, study(measure="eval_loss"))
    assert "depends on the reading: inference diverged, debiased level (+0.0000), recalibrated level" in said[0]
    assert "kind (nothing can be said)" in sentences.headline(frame, study(measure="eval_loss"))


def test_where_nothing_is_decided_nothing_is_said_of_readings(make_frame):
    assert sentences.reading_sentences(make_frame({"bn": [0.4], "gn": [0.5], "none": [0.3]}), study(seeds=1)) == []


def test_a_contrast_whose_ordering_was_not_run_stays_in_the_family(make_frame):
    """Two contrasts; p is 2 / 256, so 4 / 256 by Holm, whether the other one could be estimated or not."""
    values = losses(0.30, 0.40, 0.50)
    del values["gn"]
    said = sentences.contrast_sentences(make_frame(values), study())
    assert said[0] == "*kind*, bn/none against gn/none: nothing can be said (fewer than two pairs of runs)."
    assert said[1].startswith("*against none*, bn/none against none/none: **differs**")


def test_diverged_runs_are_named_with_their_condition_also_where_only_a_reading_did(make_frame):
    varies = [{"batch_size": [32, 64]}]

    def evaluated(ordering, seed):
        loss = math.inf if (ordering, seed) == ("bn", 1) else 0.3
        return {reading: {"loss": loss, "accuracy": 0.9} for reading in ("inference", "debiased", "recalibrated")}

    parts = [make_frame(losses(0.3, 0.4, 0.5), evaluation=evaluated, batch_size=size) for size in (32, 64)]
    (said,) = sentences.run_sentences(pd.concat(parts), study(varies=varies))
    assert said.startswith("Diverged, 2 runs: batch_size 32, bn/none, seed 1; batch_size 64, bn/none, seed 1.")


def test_runs_of_another_version_of_the_file_are_told(make_frame):
    frame = make_frame(losses(0.3, 0.4, 0.5)).assign(study_sha256="a" * 64)
    assert sentences.run_sentences(frame, study(declared_in="a" * 64)) == []
    (said,) = sentences.run_sentences(frame, study(declared_in="b" * 64))
    assert said.startswith("24 of 24 runs were made for another version of the study's file")


def test_another_readings_measure_is_named_after_the_images(make_frame):
    said = sentences.findings(make_frame(losses(0.3, 0.4, 0.5)), study(measure="recalibrated_loss"))
    assert said.startswith("In evaluation loss on train[:10000], recalibrated, for source_cnn")


def test_without_a_study_file_no_run_is_missing(make_frame):
    assert sentences.run_sentences(make_frame({"bn": [0.4]}), UndeclaredStudy("a", "Which?", ("none",))) == []


def test_a_hopeless_contrast_has_no_number_of_seeds(make_frame):
    frame = make_frame({"bn": [0.0, 2.0], "gn": [1.0, 1.0], "none": [1.0, 1.1]})
    said = sentences.findings(frame, study(seeds=2, margin=0.001))
    assert "nan" not in said.lower()
    assert "more than 10,000 seeds would decide" in said

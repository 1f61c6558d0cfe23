"""What a study found, in sentences made from its records: one a contrast, each thing said once."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

import pandas as pd

from normlib.analysis.comparison import Comparison, conclusion
from normlib.analysis.conditions import Varies, expand, label, written
from normlib.analysis.contrasts import family
from normlib.analysis.planning import plan_in_words, what_would_decide
from normlib.analysis.rankings import count_rankings
from normlib.analysis.statistics import follows_source, summarize
from normlib.errors import checked
from normlib.models import zoo
from normlib.models.instance import Instance
from normlib.models.ordering import SOURCE_INSTANCES, find_baseline, is_baseline
from normlib.runs.measures import MEASURES
from normlib.runs.store import Record, check_one_instance
from normlib.studies.folder import UndeclaredStudy, name_run
from normlib.studies.results import Results
from normlib.studies.study import Study
from normlib.studies.tuning import tuning_sentences


def question(study: Study) -> str:
    """Return what a study asks, and after whom, in Markdown."""
    after = f"\n\n{as_markdown(study.citation)}" if study.citation else ""
    return f"*{as_markdown(study.question)}*{after}"


def findings(results: Results) -> str:
    """Return what a study found, in Markdown: a list of sentences below the conditions that they hold for."""
    name, *reading = results.measure.phrase.split(", ")
    if results.measure.reading == "inference":
        reading = ["as Keras evaluates it"]
    splits = results.records["evaluate_split"].unique()
    where = f" on {splits[0]}" if results.measure.reading and len(splits) == 1 else ""
    sentences = [
        *tuning_sentences(results.study),
        *tie_sentences(results),
        *contrast_sentences(results),
        *noise_sentences(results),
        *winner_sentences(results),
        *source_sentences(results.records),
        *reading_sentences(results),
        *run_sentences(results),
    ]
    shared = shared_settings(results.records, results.varies)
    lead = f"In {', '.join([f'{name}{where}', *reading])}, for {shared}:"
    return "\n".join([lead, "", *(f"- {sentence}" for sentence in sentences)])


def contrast_sentences(runs: Comparison) -> list[str]:
    """Return a sentence for each declared contrast: verdict, difference with interval, pairs, and where it holds."""
    sentences = []
    for contrast in runs.contrasts:
        # Conditions with the same conclusion are told together.
        groups: dict[str, list[str]] = {}
        for _, row in runs.estimates.loc[[contrast.name]].iterrows():
            groups.setdefault(_conclude(row, runs), []).append(_describe(row))
        found = [
            f"{conclusion} ({'; '.join(filter(None, rows))})".removesuffix(" ()") for conclusion, rows in groups.items()
        ]
        turns = [
            f"without {row['ordering']}{under(row['condition'])} it is {_verdict(row)}"
            for _, row in runs.turning[runs.turning["name"] == contrast.name].iterrows()
        ]
        sides = " against ".join(contrast.sides)
        sentences.append(f"*{as_markdown(contrast.name)}*, {as_markdown(sides)}: {'; '.join([*found, *turns])}.")
    return sentences or ["No contrast was declared, so no difference is judged."]


def winner_sentences(runs: Comparison) -> list[str]:
    """Return which ordering has the best mean and by how much; where settings vary, how often it is the baseline."""
    baseline, found = find_baseline(runs.records["ordering"]), runs.winners
    absent = [] if baseline else ["The baseline, without normalization, was not run."]
    if found.empty:
        there = runs.records["ordering"].unique()
        why = "there are not two of which no run diverged" if len(there) > 1 else f"only {there[0]} was run"
        return [*absent, f"No ordering is compared with another: {why}."]
    if runs.varies:
        wins, recalibrated = ((won["winner"] == baseline).sum() for won in (found, runs.recalibrated_winners))
        read = f" With recalibrated statistics it would be {recalibrated}." if recalibrated != wins else ""
        under = f"under {wins or 'none'} of {len(found)} conditions"
        where = f": {'; '.join(found.index[found['winner'] == baseline])}" if wins else ""
        return absent or [f"The baseline, {baseline}, has the best mean {under}{where}.{read}"]
    row = found.iloc[0]
    named = [row["winner"], row["rival"], *row["equals"]]
    name, rival, *equals = (f"the baseline {name}" if is_baseline(name) else name for name in named)
    if equals:
        return [
            *absent,
            f"By means, {', '.join([name, *equals[:-1]])} and {equals[-1]} are best, each {row['mean']:.4f}.",
        ]
    unclear = ", which is not clear of zero" if row["low"] <= 0 else ""
    lead = interval(row["lead"], row["low"], row["high"])
    ahead = f"{lead} ahead of {rival}{unclear}" if row["pairs"] else f"no pairs with {rival}"
    first = f", and first with {row['first']} of {row['seeds']} seeds" if row["seeds"] > 1 else ""
    other = runs.recalibrated_winners["winner"].get("", row["winner"])  # recalibrated, all may have diverged
    turned = f"; recalibrated, it would be {other}" if other != row["winner"] else ""
    return [*absent, f"By means, {name} is best, {row['mean']:.4f}: {ahead}{first}{turned}."]


def source_sentences(records: pd.DataFrame) -> list[str]:
    """Return whether the source's ranking holds, by means and seed by seed, where the runs follow its protocol."""
    if not follows_source(records) or not {*records["ordering"]}.issuperset(SOURCE_INSTANCES):
        return []
    source = " < ".join(sorted(SOURCE_INSTANCES, key=lambda ordering: SOURCE_INSTANCES[ordering].loss))
    lottery = count_rankings(records, "train_loss", list(SOURCE_INSTANCES))["seeds"]
    if lottery.sum() < 2:  # one seed tells no ranking, and a diverged ordering has no place in one
        return []
    ours = " < ".join(summarize(records, "train_loss")["mean"].loc[list(SOURCE_INSTANCES)].sort_values().index)
    holds = "is that of the means here" if ours == source else f"is not that of the means here, {ours}"
    rankings = "one ranking comes" if len(lottery) == 1 else f"{len(lottery)} different rankings come"
    return [
        f"The source's ranking by running training loss, {source}, {holds}; {lottery.get(source, 0)} of "
        f"{lottery.sum()} seeds give it, and {rankings} out."
    ]


def reading_sentences(runs: Comparison) -> list[str]:
    """Return which contrasts were seen to change with how BatchNorm's moving averages are read, pair by pair."""
    changes, sentences = runs.reading_changes, []
    if changes.empty:
        return []
    figure = f"On evaluation {runs.measure.figure}"
    note = "" if runs.measure.reading else " (the training figure has no readings)"
    for (name, condition), rows in changes[changes["verdict"] == "differs"].groupby(["name", "condition"], sort=False):
        each = (f"{row['reading']}, it changes by {figures(row)}" for _, row in rows.iterrows())
        sentences.append(
            f"{figure}, *{as_markdown(str(name))}*{under(condition)} depends on the reading{note}: it is "
            f"{rows['inference'].iloc[0]:+.4f} as Keras evaluates it; {'; '.join(each)}."
        )
    more = " by more than the margin" if (changes["verdict"] == "differs negligibly").any() else ""
    return sentences or [f"{figure}, no contrast was seen to depend on the reading of BatchNorm{more}{note}."]


MOST_SKEWNESS = 1.5  # of pairs; how often it is passed in each simulated case, docs/statistics.md tells
MOST_RATIO = 11  # of standard deviations: the most that was simulated
_ENOUGH_RUNS = 8  # to tell such a ratio


def noise_sentences(runs: Comparison) -> list[str]:
    """Return where runs scatter as in no simulation in which the rule held: skewed pairs, unlike orderings."""
    sentences = []
    skewed = runs.estimates[runs.estimates["skewness"].abs() > MOST_SKEWNESS]
    if len(skewed):
        named = ", ".join(f"*{as_markdown(str(name))}*{under(row['condition'])}" for name, row in skewed.iterrows())
        sentences.append(
            f"Pairs of {named} are strongly skewed (by more than {MOST_SKEWNESS:g}): where that comes from single runs "
            "that fail, a verdict is wrong more often than docs/statistics.md promises."
        )
    summary = runs.summary(runs.measure.column)
    sd = summary["sd"][summary["runs"] >= _ENOUGH_RUNS].dropna()
    for condition, part in sd.groupby(level="condition", sort=False):
        if part.max() > MOST_RATIO * part.min():
            sentences.append(
                f"Runs of {part.idxmax()[1]} scatter more than {MOST_RATIO} times as much as those of "
                f"{part.idxmin()[1]}{under(condition)}: that was not simulated."
            )
    return sentences


def under(condition: object) -> str:
    """Return where something holds, as the end of a phrase; nothing where no setting varies."""
    return f" under {condition}" if condition else ""


def tie_sentences(results: Results) -> list[str]:
    """Return whether a verdict turns where an ordering has the settings that its own were a tie with."""
    sentences, lacking = [], []
    for ordering, settings, other in results.tied:
        at = f"{ordering} at {', '.join(f'{name} {written(value)}' for name, value in settings.items())}"
        if other is None:
            lacking.append(at)
            continue
        turned = [
            f"*{as_markdown(str(name))}*{under(after['condition'])} turns: {_verdict(after)}"
            for (name, before), (_, after) in zip(results.estimates.iterrows(), other.estimates.iterrows(), strict=True)
            if conclusion(before) != conclusion(after)
        ]
        sentences.append(f"With {at}, a tie with its own setting, {'; '.join(turned) or 'no verdict turns'}.")
    if lacking:
        sentences.append(
            f"Not run at settings that were ties with their own: {'; '.join(lacking)}. Verdicts may turn there."
        )
    return sentences


def plan_sentence(study: Study, runs: Comparison | None = None) -> str:
    """Return what a study can tell apart, before it is run; earlier runs say what standard deviation to expect."""
    sds = [study.expected_sd] if study.expected_sd else [] if runs is None else runs.estimates["sd"].tolist()
    contrasts = len(family(study.declared, study.varies))
    phrase = MEASURES[study.measure].phrase
    return plan_in_words(study.seeds, contrasts, study.margin, phrase, max(1, len(study.looks)), sds)


def run_sentences(results: Results) -> list[str]:
    """Return which planned runs are missing, which were made for another version of the study, and which diverged."""
    sentences, records, planned = [], results.records, results.planned_runs
    missing = [name_run(run) for _, run in planned[~planned["done"]].iterrows()]
    if missing and not isinstance(results.study, UndeclaredStudy):
        count = f"{len(missing)} of {len(planned)} runs"
        sentences.append(f"Missing, {count}: {_name_some(missing, '; ')}. Contrasts leave out their pairs.")
    other = records["study_sha256"].notna() & (records["study_sha256"] != results.study.declared_in)
    if other.any():
        sentences.append(
            f"{other.sum()} of {len(records)} runs were made for another version of the study's file, so what is "
            "declared now was not declared before them."
        )
    for _, row in results.diverged.iterrows():
        name = ", ".join(filter(None, [row["ordering"], row["condition"]]))
        share = f"{row['share']:.0%} [{row['low']:.0%}, {row['high']:.0%}]"
        seeds = _name_some(row["seeds"], ", ")
        sentences.append(f"Diverged: {row['diverged']} of {row['runs']} runs of {name}, {share}: seeds {seeds}.")
    if len(results.diverged):
        nothing = "Nothing is said of contrasts that a diverged run stands in."
        sentences.append("Diverged runs count as chance." if results.study.diverged else nothing)
    return sentences


_MOST_NAMED = 5  # runs
_PHRASES = {  # of settings whose names do not say it
    "momentum": "BatchNorm's momentum {}",  # SGD has one, too
    "statistics_batch": "BatchNorm over parts of {} images",
    "fit_sample": "{} images of the fit split drawn by each seed",
    "schedule": "{} schedule",
    "warmup": "warmup of {} steps",
}
_WHERE_CHANGED = ("momentum", "groups", "channels_per_group", "weight_decay", "epsilon", *list(_PHRASES)[1:])


def shared_settings(records: pd.DataFrame, varies: Varies = ()) -> str:
    """Return the settings that runs share, as a phrase; no finding is stated without it.

    What the study varies stands beside each finding instead.
    """
    run, defaults = records.iloc[0], Instance().settings
    varied = {name for group in varies for name in group}
    model = run["model"]
    if model == "source_cnn" and "activation" not in varied:  # others have activations of their own
        model += f" with {'no activation' if run['activation'] == 'none' else run['activation']} after its convolutions"
    optimizer = {"adam": "Adam", "sgd": f"SGD with momentum {zoo.SGD_MOMENTUM}"}[run["optimizer"]]
    fitted = [run[name] for name in ("dataset", "fit_split") if name not in varied]
    phrases = {
        "model": model,
        **({"fitted": f"fitted on {' '.join(fitted)}"} if fitted else {}),
        "epochs": f"{run['epochs']} epoch{'s' if run['epochs'] > 1 else ''}",
        "batch_size": f"batches of {run['batch_size']}",
        "learning_rate": f"{optimizer} at {written(run['learning_rate'])}",
    }
    for name in _WHERE_CHANGED:
        if str(run[name]) != str(defaults[name]):
            phrases[name] = _PHRASES.get(name, f"{name.replace('_', ' ')} {{}}").format(run[name])
    if "learning_rate" in varied and run["optimizer"] != defaults["optimizer"]:
        phrases["optimizer"] = optimizer
    phrase = ", ".join(phrase for name, phrase in phrases.items() if name not in varied)
    together = [
        f"{label(part, [group])} with {', '.join(f'{name} {written(part[name])}' for name in list(group)[1:])}"
        for group in varies
        if len(group) > 1
        for part in expand([group])
    ]
    return f"{phrase} ({'; '.join(together)})" if together else phrase


def coverage(records: pd.DataFrame) -> str:
    """Return what the intervals over some runs cover, as a phrase."""
    if records["fit_sample"].notna().any():
        return "initialization, shuffle, dropout and the draw of images from the fit split, not data from elsewhere"
    return "initialization, shuffle and dropout, not new data"


@checked
def takeaway(records: Sequence[Record]) -> str:
    """Return what some runs of one instance gave, and where they were made, in Markdown.

    Args:
        records: Runs of one instance, as ``normlib.train_all`` gives.
    """
    check_one_instance(records)
    frame = pd.DataFrame([record.row() for record in records])
    run, environment = records[0], records[0].environment
    count = f"one run, seed {run.seed}" if len(records) == 1 else f"mean of {len(records)} runs"
    found = {name: mean_and_sd(frame[name]) for name in MEASURES}
    versions = [f"{name} {number}" for name, number in environment["versions"].items() if number]
    place = [environment["device"], environment["processor"], f"threads: {environment['threads']}"]
    return (
        f"**{run.ordering}**, {count}: running training loss {found['train_loss']}, accuracy "
        f"{found['train_accuracy']}; on {run.instance['evaluate_split']}, loss {found['eval_loss']}, accuracy "
        f"{found['eval_accuracy']}. It holds for {shared_settings(frame)}.\n\n"
        f"Made with: {', '.join([*versions, *place])}, commit {environment['commit']}"
    )


def mean_and_sd(values: pd.Series) -> str:
    """Return a mean with its standard deviation, where there are several values.

    Figures of a single process, whose bits differ between processors, are written with five decimals, kept ones with
    four: notebooks/sanitize.cfg tells them apart by that.
    """
    return f"{values.mean():.5f}" + (f" ± {values.std():.5f}" if len(values) > 1 else "")


def interval(mean: float, low: float, high: float, sign: str = "", digits: int = 4) -> str:
    """Return a mean with its interval: ``"+0.0123 [-0.0012, +0.0258]"``, the plus if asked for; nothing of NaN."""
    ends = "" if pd.isna(low) else f" [{low:{sign}.{digits}f}, {high:{sign}.{digits}f}]"
    return "" if pd.isna(mean) else f"{mean:{sign}.{digits}f}{ends}"


def figures(row: pd.Series) -> str:
    """Return the mean difference of an estimate with its interval; nothing where there is none."""
    return interval(row["mean"], row["low"], row["high"], "+")


def reason_for_nothing(row: pd.Series) -> str:
    """Return why nothing can be said of a contrast that has no mean difference."""
    return "fewer than two pairs of runs" if row["pairs"] < 2 else "a run diverged"


def as_markdown(text: str) -> str:
    """Return a text in Markdown that shows it as it is: no HTML, link, picture or emphasis in it is one.

    What has a meaning in Markdown is written as HTML's character references, which have none.
    """
    text = html.escape(" ".join(text.split()), quote=False)
    return re.sub(r"[\\`*_\[\]$~|!]|#(?!\d+;)|:(?=//)", lambda match: f"&#{ord(match[0])};", text)


def _conclude(row: pd.Series, runs: Comparison) -> str:
    if pd.isna(row["mean"]):
        return f"nothing can be said ({reason_for_nothing(row)})"
    better = "better" if (row["mean"] < 0) == runs.measure.lower_is_better else "worse"
    return {
        "differs": f"**differs**, the first is {better}",
        "differs negligibly": f"**differs negligibly**, within the margin {runs.margin:g}, the first is {better}",
        "level": f"**level**, the difference lies within the margin {runs.margin:g}",
        "undecided": "**undecided**",
    }[row["verdict"]]


def _describe(row: pd.Series) -> str:
    """Return condition, difference, interval and pairs of an estimate, and what would decide it."""
    if pd.isna(row["mean"]):
        return row["condition"]
    where = f"{row['condition']}: " if row["condition"] else ""
    parts = [f"{where}{figures(row)}", f"{row['pairs']:.0f} pairs"]
    if row.get("later_pairs"):
        later = f"{row['later_mean']:+.4f} in" if pd.notna(row["later_mean"]) else "a run diverged among"
        parts.append(f"then {later} {row['later_pairs']} later ones")
    return ", ".join(filter(None, [*parts, what_would_decide(row)]))


def _verdict(row: pd.Series) -> str:
    return ", ".join(filter(None, [row["verdict"], figures(row)]))


def _name_some(names: Sequence[object], separator: str) -> str:
    return separator.join([*map(str, names[:_MOST_NAMED]), *(["and more"] if len(names) > _MOST_NAMED else [])])

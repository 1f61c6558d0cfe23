"""How often are verdicts wrong, and by which rule least? Simulated studies with known truth: ``make calibrate``.

A simulated study has the source study's five orderings and contrasts, under one condition or several. Its runs scatter
as a case says. For each rule the nominal level is sought at which no more than 5 % of studies are wrong in each regular
case, and no more than 7.5 % in each hard one; of the rules at these levels, the one with the most power is normlib's.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import scipy.stats
import tqdm

from normlib import files
from normlib.analysis import statistics, verdicts
from normlib.report import sentences
from normlib.runs.store import SOURCE_RECORDS, load_original_stack, load_records
from normlib.studies.results import kept_studies, read_kept
from normlib.studies.study import read_study

FAMILIES, SEEDS, LOOKS, EFFECTS = (5, 10, 20, 30), (8, 16, 32, 64), (8, 16, 32, 64), (1.0, 1.5)
NOMINAL = {"differs": verdicts.NOMINAL_DIFFERS, "level": verdicts.NOMINAL_LEVEL}
MOST_WRONG = {"regular": 0.055, "hard": 0.085}  # the upper end of the 95 % interval of a share
_OWN = ("t, by Holm", "two one-sided t, by Holm")
_FEW_SEEDS = 16  # with more, every rule has power
_LEVELS = (0.05, 0.04, 0.035, 0.03, 0.025, 0.0225, 0.02, 0.0175, 0.015, 0.0125, 0.01, 0.005)
_FLIPS = 1000  # sign patterns drawn where there are more
_AT_ONCE = 100  # studies simulated together, which bounds the memory


class Case(NamedTuple):
    """How the runs of a study scatter.

    Args:
        name: What it is called.
        noise: ``normal``, ``gamma`` (of shape 2: skewness 1.4), ``t3`` (Student's t with 3 degrees), ``lognormal``.
        ratio: How often as large the standard deviation of the first ordering is as that of the others.
        failing: By how many standard deviations 15 % of the first ordering's runs are worse.
        kept: Whether orderings correlate as in the kept runs of the source study.
        kind: ``regular``, ``hard``, or ``beyond``, which no rule is held to.
    """

    name: str
    noise: str = "normal"
    ratio: float = 1
    failing: float = 0
    kept: bool = False
    kind: str = "regular"


CASES = (
    *(Case(f"{noise}, sd ratio {ratio}", noise, ratio) for noise in ("normal", "gamma", "t3") for ratio in (1, 3)),
    *(Case(f"{noise}, correlated as kept", noise, kept=True) for noise in ("normal", "gamma")),
    *(
        Case(f"{noise}, sd ratio {ratio}", noise, ratio, kind="hard")
        for noise in ("normal", "gamma", "t3")
        for ratio in (7, 11)
    ),
    *(Case(f"15 % of runs {shift} sd worse", failing=shift, kind="hard") for shift in (3, 5)),
    Case("15 % of runs 10 sd worse", failing=10, kind="beyond"),
    Case("lognormal, sd ratio 7", "lognormal", 7, kind="beyond"),
)


def draw(generator: np.random.Generator, case: Case, shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Draw the paired differences of studies without any difference.

    Args:
        generator: The source of randomness.
        case: How runs scatter.
        shape: Numbers of studies, seeds and contrasts, a multiple of five.

    Returns:
        The differences, of this shape, and their standard deviations ``[contrasts]``.
    """
    studies, seeds, contrasts = shape
    runs = standard_noise(generator, case.noise, (studies, contrasts // 5, seeds, 5))
    mix = np.diag([case.ratio, 1.0, 1.0, 1.0, 1.0])
    if case.kept:
        mix = np.linalg.cholesky(_kept_runs().corr())
    runs = runs @ mix.T
    covariance = mix @ mix.T
    if case.failing:
        failed = generator.random(runs.shape[:-1]) < 0.15
        runs[..., 0] += case.failing * (failed - 0.15)
        covariance[0, 0] += case.failing**2 * 0.15 * 0.85
    weights = _weights()
    differences = np.moveaxis(runs @ weights.T, 1, 2).reshape(shape)
    return differences, np.tile(np.sqrt(np.diag(weights @ covariance @ weights.T)), contrasts // 5)


def standard_noise(generator: np.random.Generator, noise: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return independent noise of mean 0 and variance 1."""
    if noise == "normal":
        return generator.standard_normal(shape)
    if noise == "gamma":
        return (generator.gamma(2, size=shape) - 2) / np.sqrt(2)
    if noise == "t3":
        return generator.standard_t(3, shape) / np.sqrt(3)
    return (generator.lognormal(0, 1, shape) - np.exp(0.5)) / np.sqrt((np.e - 1) * np.e)


def _kept_runs() -> pd.DataFrame:
    study = read_study("source")
    runs = load_records(SOURCE_RECORDS).pivot_table(index="seed", columns="ordering", values=study.measure)
    return runs[list(study.orderings)]


def _weights() -> np.ndarray:
    """Return what each ordering is multiplied by in each contrast of the source study."""
    study = read_study("source")
    weights = [{term.ordering: term.weight for term in contrast.terms} for contrast in study.declared]
    return np.array([[of_contrast.get(ordering, 0) for ordering in study.orderings] for of_contrast in weights])


def t_test(differences: np.ndarray) -> np.ndarray:
    """Normlib's rule: Student's t on the pairs ``[studies, pairs, contrasts]``, corrected by Holm."""
    return _normlib(differences, 1)[0]


def _normlib(differences: np.ndarray, margin: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
    pairs, mean, sd = differences.shape[1], differences.mean(axis=1), differences.std(axis=1, ddof=1)
    return verdicts.p_values(np.full(mean.shape, pairs), mean, sd, margin)


def sign_flips(differences: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Flip the signs of whole seeds: Holm's p of each contrast alone, and the step-down p of the largest (max-T).

    Studentized: among flips of the same pairs, t grows with the mean over the root mean square.
    """
    drawn = _statistics(differences, _signs(differences.shape[1]))
    seen = drawn[:, 0] - 1e-5  # the first pattern flips nothing; ties count
    alone = verdicts.holm((drawn >= seen[:, None]).mean(axis=1))
    order = np.argsort(seen, axis=-1)
    largest = np.maximum.accumulate(np.take_along_axis(drawn, order[:, None], axis=-1), axis=-1)
    p = (largest >= np.take_along_axis(seen, order, axis=-1)[:, None]).mean(axis=1)
    p = np.maximum.accumulate(p[:, ::-1], axis=-1)[:, ::-1]
    return alone, np.take_along_axis(p, np.argsort(order, axis=-1), axis=-1)


def _signs(pairs: int) -> np.ndarray:
    if pairs <= 11:
        return np.array(list(itertools.product([1], *[[1, -1]] * (pairs - 1))), np.float32)
    signs = np.where(np.random.default_rng(0).random((_FLIPS, pairs)) < 0.5, 1, -1).astype(np.float32)
    signs[0] = 1
    return signs


def _statistics(differences: np.ndarray, signs: np.ndarray) -> np.ndarray:
    scaled = differences / np.sqrt((differences**2).sum(axis=1, keepdims=True))
    return np.abs(np.matmul(signs, scaled.astype(np.float32)))


def skewness_corrected(differences: np.ndarray) -> np.ndarray:
    """Hall's t, corrected for skewness (Hall 1992, On the removal of skewness by transformation), by Holm."""
    pairs, mean, sd = differences.shape[1], differences.mean(axis=1), differences.std(axis=1)
    skewness = ((differences - mean[:, None]) ** 3).mean(axis=1) / sd**3
    t = mean / sd * np.sqrt((pairs - 1) / pairs)
    t = t + skewness * t**2 / 3 + skewness**2 * t**3 / 27 + skewness / (6 * pairs)
    return verdicts.holm(2 * scipy.stats.t.sf(np.abs(t) * np.sqrt(pairs), pairs - 1))


def confidence_sequence(differences: np.ndarray) -> np.ndarray:
    """Return p of an asymptotic confidence sequence (Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas 2021), by Holm.

    It may be looked at after every seed. It is narrowest at 32.
    """
    pairs, mean, variance = differences.shape[1], differences.mean(axis=1), differences.var(axis=1, ddof=1)
    rho = (-2 * np.log(0.05) + np.log(1 - 2 * np.log(0.05))) / 32
    p = np.sqrt(pairs * rho + 1) * np.exp(-(pairs**2) * rho * mean**2 / (2 * variance * (pairs * rho + 1)))
    return verdicts.holm(np.minimum(1, p))


def sequential_sign_flips(differences: np.ndarray, levels: Sequence[float]) -> np.ndarray:
    """Return p of one permutation test over all looks, as AdaStop's (Mathieu et al. 2023), but of signs.

    The largest statistic of the family has a bound at each look, which an equal share of all sign patterns is the first
    to cross there; no step-down. P is told to the levels: just below the smallest of them at which it is found.
    """
    signs = _signs(LOOKS[-1])
    drawn = [_statistics(differences[:, :look], signs[:, :look]) for look in LOOKS]
    largest = [seen.max(axis=-1) for seen in drawn]
    p = np.ones(differences.shape[::2])
    for level in levels:
        crossed = np.zeros(largest[0].shape, bool)
        most = int(level / len(LOOKS) * len(signs))
        for seen, top in zip(drawn, largest, strict=True):
            bound = np.sort(np.where(crossed, -1, top), axis=1)[:, -most - 1, None]
            crossed |= top > bound
            p[seen[:, 0] > bound] = level - 1e-9
    return p


def at_looks(rule: Callable[[np.ndarray], np.ndarray], differences: np.ndarray) -> np.ndarray:
    """Return p that hold over all looks: each look has an equal share of the level, and one look is enough."""
    return np.min([len(LOOKS) * rule(differences[:, :look]) for look in LOOKS], axis=0)


def rules(differences: np.ndarray) -> dict[str, np.ndarray]:
    """Return the corrected p of no difference by each rule that is compared, without looks; normlib's first."""
    t, (alone, joint) = t_test(differences), sign_flips(differences)
    return {
        _OWN[0]: t,
        "sign flips and t, each by Holm": np.maximum(alone, t),
        "max-T, step-down": joint,
        "max-T and t": np.maximum(joint, t),
        "max-T and t corrected for skewness": np.maximum(joint, skewness_corrected(differences)),
    }


def rules_with_looks(differences: np.ndarray) -> dict[str, np.ndarray]:
    """Return the same over four looks."""
    return {
        _OWN[0]: at_looks(t_test, differences),
        "max-T, step-down": at_looks(lambda pairs: sign_flips(pairs)[1], differences),
        "one permutation test over all looks": sequential_sign_flips(differences, _LEVELS),
        "confidence sequence": np.min([confidence_sequence(differences[:, :look]) for look in LOOKS], axis=0),
    }


def level_rules(differences: np.ndarray, margin: np.ndarray) -> dict[str, np.ndarray]:
    """Return the corrected p of a difference of the margin or more, without looks; normlib's first."""
    pairs, mean, sd = differences.shape[1], differences.mean(axis=1), differences.std(axis=1, ddof=1)
    t = (margin - np.abs(mean)) / sd * np.sqrt(pairs)
    return {
        _OWN[1]: _normlib(differences, margin)[1],
        "interval inside the margin": 2 * scipy.stats.t.sf(t, pairs - 1),
    }


class Plan(NamedTuple):
    """Studies that are simulated together: their case, number of contrasts and of seeds, and whether with looks."""

    case: Case
    contrasts: int
    seeds: int
    looks: bool

    def judge(self, pairs: np.ndarray, compare: bool) -> dict[str, np.ndarray]:
        """Return p of no difference, by all rules that are compared or by normlib's alone."""
        if compare:
            return rules_with_looks(pairs) if self.looks else rules(pairs)
        return {_OWN[0]: at_looks(t_test, pairs) if self.looks else t_test(pairs)}

    def judge_level(self, pairs: np.ndarray, margin: np.ndarray) -> dict[str, np.ndarray]:
        """Return p of a difference of the margin or more."""
        if self.looks:
            return {_OWN[1]: at_looks(lambda part: _normlib(part, margin)[1], pairs)}
        return level_rules(pairs, margin)

    def simulate(self, studies: int, compare: bool = True) -> list[dict]:
        """Return a row a rule: of all that are compared, or of normlib's alone."""
        generator = np.random.default_rng([CASES.index(self.case), *self[1:], compare])
        found: dict[tuple, list[np.ndarray]] = {}
        flagged = []
        for start in range(0, studies, _AT_ONCE):
            pairs, sd = draw(generator, self.case, (min(_AT_ONCE, studies - start), self.seeds, self.contrasts))
            flagged.append(np.abs(scipy.stats.skew(pairs, axis=1)) > sentences.MOST_SKEWNESS)
            for rule, p in self.judge(pairs, compare).items():
                found.setdefault(("differs", rule, 0), []).append(p.min(axis=1)[None])
            sides = [self.judge_level(pairs + side * 3 * sd, 3 * sd) for side in (1, -1)]  # all truly at the margin
            for rule in sides[0]:
                found.setdefault(("level", rule, 0), []).append(np.stack([side[rule].min(axis=1) for side in sides]))
            for effect in EFFECTS if self.case.kind == "regular" else ():
                shifted, focal = pairs.copy(), slice(1, None, 5)  # one contrast in five differs
                shifted[..., focal] += effect * sd[focal]
                for rule, p in self.judge(shifted, compare).items():
                    found.setdefault(("differs", rule, effect), []).append(p[:, focal].reshape(1, -1))
                for rule, p in self.judge_level(pairs, effect * sd).items():
                    found.setdefault(("level", rule, effect), []).append(p.reshape(1, -1))
        joined = {key: np.concatenate(parts, axis=1) for key, parts in found.items()}
        rows = [self._row(joined, verdict, rule) for verdict, rule, effect in joined if effect == 0]
        return [row | {"flagged": np.concatenate(flagged).any(axis=1).mean()} for row in rows]

    def _row(self, found: dict[tuple, np.ndarray], verdict: str, rule: str) -> dict:
        wrong = found[verdict, rule, 0]
        place = {"case": self.case.name, "kind": self.case.kind, **dict(zip(self._fields[1:], self[1:], strict=True))}
        row = {"verdict": verdict, "rule": rule, **place, "studies": wrong.shape[1]}
        for level in _LEVELS:
            row[f"wrong at {level:g}"] = (wrong < level).mean(axis=1).max()
        for effect, level in itertools.product(EFFECTS, _LEVELS):
            power = found.get((verdict, rule, effect))
            row[f"power {effect:g} at {level:g}"] = np.nan if power is None else (power < level).mean()
        return row


def simulate(
    studies: int, compare: bool = True, families: Sequence[int] = FAMILIES, seeds: Sequence[int] = SEEDS
) -> pd.DataFrame:
    """Simulate all cases, with families of these sizes, once with so many seeds and once over all looks.

    Args:
        studies: Number of studies of each kind.
        compare: Whether all rules are compared, or normlib's alone is judged.
        families: Numbers of contrasts.
        seeds: Numbers of seeds without looks.

    Returns:
        One row a verdict, rule, case, family and number of seeds: ``wrong at`` each of some nominal levels, the share
        of studies with one wrong verdict or more; ``flagged``, the share with a contrast whose pairs are strongly
        skewed; and in regular cases the power at each level, for differences of 1 and 1.5 standard deviations of the
        pairs; of *level*, for none, the margin so large.
    """
    plans = [Plan(case, family, count, False) for case in CASES for family in families for count in seeds]
    plans += [Plan(case, family, LOOKS[-1], True) for case in CASES for family in families]
    rows = [row for plan in tqdm.tqdm(plans, unit="case", disable=None) for row in plan.simulate(studies, compare)]
    return pd.DataFrame(rows)


def compare_rules(simulated: pd.DataFrame) -> pd.DataFrame:
    """Return a row a rule: the most that was wrong at 5 %, the level at which it holds, its power there.

    It holds at a level where in no case the upper end of the one-sided 95 % interval of the share of studies that are
    wrong is above 5.5 %, of a hard case above 8.5 %.
    """
    held = simulated[simulated["kind"] != "beyond"]
    most = held["kind"].map(MOST_WRONG)
    rows = []
    for (verdict, looks, rule), part in held.groupby(["verdict", "looks", "rule"], sort=False):
        holds = [
            level
            for level in _LEVELS
            if (_upper(part[f"wrong at {level:g}"], part["studies"]) <= most[part.index]).all()
        ]
        level = max(holds, default=np.nan)
        few = part[part["looks"] | (part["seeds"] <= _FEW_SEEDS)]
        power = {f"power {e:g} sd": few[f"power {e:g} at {level:g}"].mean() if holds else np.nan for e in EFFECTS}
        wrong = {f"wrong at 5 %, {kind}": part.loc[part["kind"] == kind, "wrong at 0.05"].max() for kind in MOST_WRONG}
        rows.append({"verdict": verdict, "looks": looks, "rule": rule, **wrong, "holds at": level, **power})
    return pd.DataFrame(rows)


def _upper(share: pd.Series, studies: pd.Series) -> pd.Series:
    """Return the upper end of the one-sided 95 % interval of a simulated share."""
    return share + scipy.stats.norm.ppf(0.95) * np.sqrt(share * (1 - share) / studies)


def judge_cases(simulated: pd.DataFrame) -> pd.DataFrame:
    """Return a row a case: the most studies that normlib's rule had wrong, over all families and numbers of seeds.

    Besides, ``flagged, 8 seeds`` and ``flagged, 64 seeds``: how often it was said of a study with five contrasts that
    the pairs of one or more are strongly skewed.
    """
    own = simulated[simulated["rule"].isin(_OWN)]
    own = own.assign(wrong=[row[f"wrong at {NOMINAL[row['verdict']]:g}"] for _, row in own.iterrows()])
    table = own.pivot_table(
        index=["kind", "case"], columns=["verdict", "looks"], values="wrong", aggfunc="max", sort=False
    )
    table.columns = [f"{verdict}{', looks' if looks else ''}" for verdict, looks in table.columns]
    five = own[(own["contrasts"] == own["contrasts"].min()) & ~own["looks"] & (own["verdict"] == "differs")]
    for seeds in sorted(five["seeds"].unique())[:: max(1, five["seeds"].nunique() - 1)]:
        table[f"flagged, {seeds} seeds"] = five[five["seeds"] == seeds].set_index(["kind", "case"])["flagged"]
    return table.reset_index()


def power_by_seeds(simulated: pd.DataFrame) -> pd.DataFrame:
    """Return the power of normlib's rule by verdict, size of the family, difference and seeds, in normal cases."""
    plain = simulated[simulated["rule"].isin(_OWN) & (simulated["case"] == CASES[0].name) & ~simulated["looks"]]
    rows = []
    for (_, row), effect in itertools.product(plain.iterrows(), EFFECTS):
        power = row[f"power {effect:g} at {NOMINAL[row['verdict']]:g}"]
        rows.append({**row[["verdict", "contrasts", "seeds"]], "effect": effect, "power": power})
    return pd.DataFrame(rows)


def seeds_to_decide(studies: int) -> pd.DataFrame:
    """Simulate how many seeds a study with looks needs until all its contrasts are decided, with a margin of one sd.

    Returns:
        One row a number of contrasts and a true difference, in standard deviations of the pairs: ``mean seeds``;
        ``interval covers``, the share of contrasts whose 95 % interval at the deciding look holds the truth;
        ``undecided``, the share of contrasts at the end, and ``undecided at once``, by a study of 64 seeds.
    """
    rows = []
    for contrasts, truth in itertools.product((5, 10), (0.0, 0.5, 1.0, 1.5)):
        generator = np.random.default_rng([contrasts, int(10 * truth)])
        pairs, sd = draw(generator, CASES[0], (studies, LOOKS[-1], contrasts))
        pairs = pairs + truth * sd
        said = np.stack([verdicts.decide(*_normlib(pairs[:, :look], sd), len(LOOKS)) for look in LOOKS])
        decided = (said != "undecided").any(axis=0)
        first = np.where(decided, (said != "undecided").argmax(axis=0), len(LOOKS) - 1)
        at_once = verdicts.decide(*_normlib(pairs, sd))
        covered = np.stack([_covers(pairs[:, :look], truth * sd) for look in LOOKS])
        rows.append(
            {
                "contrasts": contrasts,
                "truth": truth,
                "mean seeds": np.array(LOOKS)[first.max(axis=1)].mean(),
                "interval covers": np.take_along_axis(covered, first[None], axis=0).mean(),
                "undecided": 1 - decided.mean(),
                "undecided at once": (at_once == "undecided").mean(),
            }
        )
    return pd.DataFrame(rows)


def _covers(pairs: np.ndarray, truth: np.ndarray) -> np.ndarray:
    reach = statistics.half_width(pairs.std(axis=1, ddof=1), pairs.shape[1])
    return np.abs(pairs.mean(axis=1) - truth) <= reach


def split_kept_runs(times: int = 1000, seed: int = 0) -> pd.DataFrame:
    """Split the kept runs of each ordering in two at random, so often, and judge the halves as if they were two.

    Returns:
        One row a study: ``runs`` of each ordering, the number of ``contrasts``, and the share of ``times`` in which one
        of them or more was said to differ. The splits of one study are not independent of each other.
    """
    groups = {}
    for name in kept_studies():
        results = read_kept(name)
        column = results.measure.column
        groups[name] = [
            runs[column].to_numpy(float)
            for part in results.parts.values()
            for _, runs in part.groupby("ordering")
            if runs[column].notna().all()
        ]
    original = load_original_stack().groupby("ordering")["loss"]
    groups["the source's own stack"] = [runs.to_numpy() for _, runs in original]
    rows = []
    for name, runs in groups.items():
        generator, wrong = np.random.default_rng(seed), 0  # one a study, so that another study's runs change no row
        for _ in range(times):
            halves = [np.split(generator.permutation(values)[: len(values) // 2 * 2], 2) for values in runs]
            judged = verdicts.judge([one - other for one, other in halves], margin=1.0)
            wrong += judged["verdict"].str.startswith("differs").any()
        rows.append({"study": name, "runs": len(runs[0]), "contrasts": len(runs), "said to differ": wrong / times})
    return pd.DataFrame(rows)


def main() -> None:
    """Simulate, and write what was found as CSV into a folder."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--studies", type=int, default=10_000, help="Of each kind; of rules compared, a fifth.")
    arguments = parser.parse_args()
    own = simulate(arguments.studies, compare=False)
    tables = {
        "cases": judge_cases(own),
        "power": power_by_seeds(own),
        "looks": seeds_to_decide(arguments.studies // 10),
        "split-runs": split_kept_runs(),
        "rules": compare_rules(simulate(arguments.studies // 5)),
    }
    for name, table in tables.items():
        files.write_atomically(arguments.folder / f"{name}.csv", table.to_csv(index=False, float_format="%.4f"))
        print(table.to_string(float_format="{:.4f}".format))


if __name__ == "__main__":
    main()

"""Are the verdicts calibrated? Simulated studies with known truth: ``python docs/calibration.py``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import tqdm

from normlib.analysis.verdicts import Contrast, decide, describe, holm
from normlib.files import write_atomically
from normlib.runs.store import SOURCE_RECORDS, load_records
from normlib.studies.study import read_study

TRUTHS = {"no difference": 0.0, "half the margin": 0.5, "the margin": 1.0, "twice the margin": 2.0}
_FOCAL = "order, two layers"  # the contrast that carries the truth; in all others there is no difference
_AT_ONCE = 500  # studies simulated together, which bounds the memory


def calibrate(studies: int = 10_000, noises: Sequence[str] = ("normal", "skewed"), seed: int = 0) -> pd.DataFrame:
    """Simulate the source study and count wrong verdicts.

    Each simulated study has the source study's orderings, contrasts, margin and number of seeds. Its runs scatter with
    the covariance between orderings that the kept runs have; it is made of independent draws, normal or skewed (gamma
    of shape 2: skewness 1.4). One contrast has a true difference; in the others there is none.

    Args:
        studies: Number of studies for each noise and truth.
        noises: ``normal``, ``skewed`` or both.
        seed: Of the simulation.

    Returns:
        Indexed by noise and truth, all shares of studies: ``false differs``, in which a contrast without difference was
        said to differ; ``false level``, in which the contrast with a difference of the margin or more was said to be
        level, or to differ negligibly (NaN where the truth lies within the margin); and that contrast's verdicts.
    """
    study = read_study("source")
    runs = load_records(SOURCE_RECORDS).pivot_table(index="seed", columns="ordering", values=study.measure)
    spread = np.linalg.cholesky(runs.cov())
    signs = np.array([_weights(contrast, list(runs.columns)) for contrast in study.declared])
    focal = [contrast.name for contrast in study.declared].index(_FOCAL)
    generator = np.random.default_rng(seed)
    rows = {}
    with tqdm.tqdm(total=studies * len(noises) * len(TRUTHS), unit="study", disable=None) as progress:
        for noise in noises:
            for truth, multiple in TRUTHS.items():
                said = []
                for start in range(0, studies, _AT_ONCE):
                    shape = (min(_AT_ONCE, studies - start), study.seeds, len(spread))
                    scattered = _standard_noise(generator, noise, shape) @ spread.T @ signs.T
                    scattered[..., focal] += multiple * study.margin
                    said.append(_verdicts(scattered, study.margin))
                    progress.update(shape[0])
                rows[noise, truth] = _count(np.concatenate(said), focal, multiple)
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(["noise", "truth"])


def _weights(contrast: Contrast, orderings: list[str]) -> list[float]:
    """Return what each ordering's mean is multiplied by in a contrast."""
    first, second = contrast.first, contrast.second
    return [(name in first) / len(first) - (name in second) / len(second) for name in orderings]


def _standard_noise(generator: np.random.Generator, noise: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return independent noise of mean 0 and variance 1."""
    if noise == "normal":
        return generator.standard_normal(shape)
    return (generator.gamma(2, size=shape) - 2) / np.sqrt(2)


def _verdicts(differences: np.ndarray, margin: float) -> np.ndarray:
    """Return the verdicts ``[studies, contrasts]`` of differences ``[studies, pairs, contrasts]``."""
    described = describe(np.moveaxis(differences, 1, -1))
    p = np.maximum(holm(described["p"]), holm(described["t_p"]))
    return decide(described["low"], described["high"], p, margin)


def _count(said: np.ndarray, focal: int, multiple: float) -> dict[str, float]:
    null = said if multiple == 0 else np.delete(said, focal, axis=1)
    words = ("differs", "differs negligibly", "level", "undecided")
    return {
        "false differs": np.mean(np.char.startswith(null.astype(str), "differs").any(axis=1)),
        "false level": np.isin(said[:, focal], ["level", "differs negligibly"]).mean() if multiple >= 1 else np.nan,
        **{word: np.mean(said[:, focal] == word) for word in words},
    }


def main(path: str = "") -> None:
    """Print the table for 10,000 studies of each kind, and write it as CSV where a path is given."""
    table = calibrate()
    print(table.to_string(float_format="{:.4f}".format))
    if path:
        write_atomically(Path(path), table.to_csv(float_format="%.4f"))


if __name__ == "__main__":
    main(*sys.argv[1:])

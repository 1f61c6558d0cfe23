"""Run eight further seeds of published studies, and say which differences keep their sign: ``make replicate``."""

import dataclasses
import sys
from pathlib import Path

import pandas as pd

import normlib
from normlib import files
from normlib.studies.results import kept_studies

REPLICATION = Path(__file__).parent / "replication.csv"
FIRST_SEED, SEEDS = 9000, 8  # of no other run


def compare(published: normlib.Results, again: normlib.Results) -> pd.DataFrame:
    """Return a row a contrast that was published as *differs*: its difference, and that of the further seeds.

    Args:
        published: A study and its kept runs.
        again: The same study with other seeds.
    """
    told = published.estimates[published.estimates["verdict"].str.startswith("differs")].reset_index()
    further = again.estimates.reset_index()[["name", "condition", "pairs", "mean", "low", "high"]]
    rows = told[["name", "condition", "contrast", "mean"]].merge(
        further, on=["name", "condition"], suffixes=("", "_again")
    )
    rows["same_sign"] = rows["mean"] * rows["mean_again"] > 0
    rows.insert(0, "study", published.study.name)
    return rows


def main() -> None:
    """Replicate the studies that are named, or all; rows of others in the table stay."""
    for name in sys.argv[1:] or kept_studies():
        published, out = normlib.read_results(name), Path("outputs") / "replication" / name
        further = {"seeds": SEEDS, "looks": (), "first_seed": FIRST_SEED}
        study = dataclasses.replace(published.study, **further, tune={}, ties={})
        if normlib.run_study(study, out):
            sys.exit(f"some runs failed: normlib status {out} says which; the same command goes on")
        rows = compare(published, normlib.read_results(out))
        print(f"{name}: {rows['same_sign'].sum()} of {len(rows)} differences keep their sign")
        if REPLICATION.exists():
            kept = pd.read_csv(REPLICATION, keep_default_na=False, na_values={"mean": "", "mean_again": ""})
            rows = pd.concat([kept[kept["study"] != name], rows])
        files.write_atomically(REPLICATION, rows.to_csv(index=False, float_format="%.4g"))


if __name__ == "__main__":
    main()

"""``python -m benchmarks``: measure, print the table and keep it."""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import click

from benchmarks import bookkeeping, measuring, runs, steps

BENCHMARKS = {
    "startup": bookkeeping.startup,
    "refusal": bookkeeping.refusal,
    "status": bookkeeping.status,
    "dry-run": bookkeeping.dry_run,
    "summary": bookkeeping.summary,
    "completion": bookkeeping.completion,
    "scale": bookkeeping.scale,
    "step": steps.step,
    "overhead": runs.overhead,
    "whole": runs.whole,
    "readings": runs.readings,
    "sweep": runs.sweep,
    "fit-only": runs.fit_only,
    "dask": runs.dask,
}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("names", nargs=-1, type=click.Choice(list(BENCHMARKS)))
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(min=1), help="Of each comparison.")
@click.option("--out", default="benchmarks/results.csv", show_default=True, type=click.Path(path_type=Path))
def main(names: tuple[str, ...], rounds: int, out: Path) -> None:
    """Measure all benchmarks, or those that are named; others that are in the table stay.

    Ratios are normlib's seconds over the other side's, measured in turn: below 1, normlib is faster. All of it takes
    about an hour and a half on two cores, most of it the two sweeps.

    \b
    python -m benchmarks
    python -m benchmarks startup scale --rounds 9
    """  # noqa: D301  (\b is click's mark for a paragraph that it must not wrap)
    for name in names or BENCHMARKS:
        print(f"{name}: {BENCHMARKS[name].__doc__.splitlines()[0]}", flush=True)
        table = measuring.keep(name, BENCHMARKS[name](rounds), out)
        print(table[table["benchmark"] == name].drop(columns=["benchmark", "machine"]).to_string(index=False))
    print(f"\nOn {measuring.machine()}:\n")
    print(table.drop(columns=["machine", "measured"]).to_string(index=False), f"\n\nkept in {out}")


if __name__ == "__main__":
    main()

"""The benchmarks' own bookkeeping: what they measure is no test's to say."""

import pandas as pd
import pytest

from benchmarks import measuring, steps
from benchmarks.__main__ import BENCHMARKS
from normlib.models.build import build_model
from normlib.models.instance import Instance


def test_sides_are_measured_in_turn():
    order = []
    sides = [lambda name=name: order.append(name) or len(order) for name in "ab"]
    assert measuring.alternate(sides, 3) == [(1, 2), (3, 4), (5, 6)]
    assert order == list("ababab")


def test_what_is_measured_again_takes_the_place_of_its_earlier_figures_and_the_rest_stays(tmp_path):
    path = tmp_path / "results.csv"
    measuring.keep("first", [measuring.Figure("ratio", [1.0, 2.0, 9.0], reach=3)], path)
    measuring.keep("second", [measuring.Figure("share", [0.5])], path)
    measuring.keep("first", [measuring.Figure("ratio", [4.0, 6.0], reach=3, aim=2)], path)
    kept = pd.read_csv(path).set_index("figure")
    assert list(kept.index) == ["share", "ratio"]
    assert kept.loc["ratio", ["median", "min", "max", "rounds", "reach", "aim"]].tolist() == [5, 4, 6, 2, 3, 2]
    assert "cores" in kept.loc["share", "machine"]


def test_the_floor_counts_the_weights_that_the_model_has():
    assert build_model(Instance("none")).count_params() == steps.WEIGHTS


def test_a_command_that_ends_before_its_work_is_told_with_what_it_said(tmp_path):
    with pytest.raises(RuntimeError, match="no such study"):
        measuring.time_command(measuring.python("-c", "raise SystemExit('no such study')"), tmp_path, files=1)


def test_all_benchmarks_are_kept_with_the_package():
    kept = pd.read_csv(measuring.ROOT / "benchmarks" / "results.csv")
    assert set(kept["benchmark"]) == set(BENCHMARKS)

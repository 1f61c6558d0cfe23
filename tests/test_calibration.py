import numpy as np
import pytest
import scipy.stats
import scripts

from normlib.analysis.verdicts import Contrast

calibration = scripts.load("calibration")


@pytest.mark.parametrize("noise", ["normal", "skewed"])
def test_verdicts_are_calibrated(noise):
    """400 simulated studies of ten pairs: at most 5 % false, within what so few studies leave open (p = 0.0005)."""
    table = calibration.calibrate(studies=400, noises=[noise])
    most = scipy.stats.binom.isf(0.0005, 400, 0.05) / 400
    assert table.loc[(noise, "no difference"), "false differs"] <= most
    assert table.loc[(noise, "twice the margin"), "false level"] <= most
    assert table.loc[(noise, "twice the margin"), "differs"] > 0.5


def test_what_an_ordering_weighs_in_a_contrast():
    contrast = Contrast("two", ("a", "b"), ("c",))
    assert calibration._weights(contrast, ["c", "a", "d", "b"]) == [-1, 0.5, 0, 0.5]


@pytest.mark.parametrize("noise", ["normal", "skewed"])
def test_noise_is_standard_and_as_skewed_as_it_says(noise):
    drawn = calibration._standard_noise(np.random.default_rng(0), noise, (200_000,))
    assert (drawn.mean(), drawn.std()) == pytest.approx((0, 1), abs=0.01)
    assert scipy.stats.skew(drawn) == pytest.approx({"normal": 0, "skewed": 2**0.5}[noise], abs=0.05)


def test_wrong_verdicts_are_counted_by_study():
    """Three studies of two contrasts; the second carries the truth."""
    said = np.array([["differs", "level"], ["level", "differs negligibly"], ["undecided", "differs"]])
    within, beyond = calibration._count(said, 1, 0.5), calibration._count(said, 1, 2.0)
    assert within["false differs"] == beyond["false differs"] == pytest.approx(1 / 3)
    assert np.isnan(within["false level"])
    assert beyond["false level"] == pytest.approx(2 / 3)
    assert calibration._count(said, 1, 0.0)["false differs"] == 1

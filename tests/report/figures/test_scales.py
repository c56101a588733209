import numpy as np
import pytest

from kernelregime.report import canvas
from kernelregime.report.figures.scales import log_axis, over_seeds, positive, step_axis

TABLE = np.array([[1.0, np.nan, np.nan], [3.0, 2.0, np.inf], [8.0, 5.0, np.nan]])


def test_the_spread_over_seeds_leaves_out_what_is_not_finite():
    middle, low, high = over_seeds(TABLE)
    np.testing.assert_array_equal(middle, [3.0, 3.5, np.nan])
    np.testing.assert_array_equal(low, [1.0, 2.0, np.nan])
    np.testing.assert_array_equal(high, [8.0, 5.0, np.nan])


def test_only_positive_finite_numbers_have_a_logarithm():
    np.testing.assert_array_equal(positive([1.0, 0.0, -1.0, np.inf, np.nan]), [1.0, np.nan, np.nan, np.nan, np.nan])


def test_numbers_that_no_axis_can_show_are_left_out():
    np.testing.assert_array_equal(positive([1e99, 1e-99, 1e299, 1e-299]), [1e99, 1e-99, np.nan, np.nan])


@pytest.mark.parametrize("limits", [(0.15, 0.9), (0.02, 1.5), (1e-9, 1e3), (3.0, 4e6)])
def test_a_logarithmic_axis_has_two_to_nine_named_ticks_at_their_values(limits):
    with canvas.style():
        _, axes = canvas.blank()
        axes.set_ylim(*limits)
        log_axis(axes, "y")
        ticks = [tick for tick in axes.get_yticks() if limits[0] <= tick <= limits[1]]
        names = [axes.yaxis.get_major_formatter()(tick, None) for tick in ticks]
    assert 2 <= len(ticks) <= 9
    assert [float(name.replace("−", "-")) for name in names] == pytest.approx(ticks)


@pytest.mark.parametrize("steps", [[0], [0, 1], [0, 7, 20, 60, 90], [0, 1, 2, 4, 8, 16, 32, 64], [5, 50, 500, 5000, 50000]])
def test_the_axis_of_steps_shows_all_of_them(steps):
    with canvas.style():
        _, axes = canvas.blank()
        axes.plot(steps, np.ones(len(steps)), marker="o")
        step_axis(axes, steps)
        low, high = axes.get_xlim()
    assert low <= steps[0]
    assert high >= steps[-1]

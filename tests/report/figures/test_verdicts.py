import math

import numpy as np
import pytest

from kernelregime.claims import Estimate
from kernelregime.report import figures


def spans(figure) -> list[tuple[float, float]]:
    return [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in figure.axes[0].patches]


def test_the_bands_of_every_row_meet_at_its_own_thresholds():
    rows = [("a", Estimate(0.05, 0.01, 5), 0.1, 0.3), ("b", Estimate(0.7, 0.1, 5), 0.2, 0.5)]
    edges = spans(figures.verdict_scale(rows))
    assert [right for _, right in edges[:2]] == pytest.approx([0.1, 0.3])
    assert [right for _, right in edges[3:5]] == pytest.approx([0.2, 0.5])


def test_a_row_without_a_second_threshold_ends_with_near():
    rows = [("a", Estimate(0.05, 0.01, 5), 0.1, 0.3), ("b", Estimate(0.7, 0.1, 5), 0.2, None)]
    edges = spans(figures.verdict_scale(rows))
    assert len(edges) == 5
    assert edges[-1][1] == pytest.approx(edges[2][1])


def test_a_dot_with_its_standard_error_stands_at_the_measured_number():
    axes = figures.verdict_scale([("a", Estimate(0.05, 0.01, 5), 0.1, 0.3)]).axes[0]
    assert axes.lines[0].get_xdata()[0] == 0.05
    np.testing.assert_allclose(axes.collections[0].get_segments()[0][:, 0], [0.04, 0.06])


@pytest.mark.parametrize("mean", [1e-6, 0.2, 50.0])
@pytest.mark.parametrize("near", [0.3, None])
def test_the_dot_and_all_thresholds_are_in_sight(mean, near):
    axes = figures.verdict_scale([("a", Estimate(mean, mean, 5), 0.1, near)]).axes[0]
    low, high = axes.get_xlim()
    assert low < min(mean, 0.1)
    assert high > max(mean, near or 0.1)


def test_a_number_that_is_zero_or_not_known_has_no_dot():
    for mean in (0.0, math.nan):
        assert len(figures.verdict_scale([("a", Estimate(mean, math.nan, 1), 0.1, 0.3)]).axes[0].lines) == 0

import numpy as np
import pytest

from kernelregime import report

VALUES = 100.0 / np.arange(1, 501) ** 2


def lines(figure):
    return {line.get_label(): line for line in figure.axes[0].lines}


def test_eigenvalues_stand_over_their_rank_from_the_first_to_the_last():
    rank, value = lines(report.spectrum_figure({"infinite": VALUES}))["infinite width"].get_data()
    assert (rank[0], rank[-1]) == (1, 500)
    np.testing.assert_array_equal(value, 100.0 / rank**2.0)


def test_seeds_are_drawn_as_median_and_range():
    figure = report.spectrum_figure({"initial": np.array([[4.0, 1.0], [6.0, 2.0], [5.0, 3.0]])})
    np.testing.assert_array_equal(lines(figure)["at initialization"].get_ydata(), [5.0, 2.0])
    corners = figure.axes[0].collections[0].get_paths()[0].vertices[:, 1]
    assert (corners.min(), corners.max()) == (1.0, 6.0)


def test_the_border_of_what_trains_is_a_line_in_sight():
    figure = report.spectrum_figure({"ntk": VALUES, "nngp": VALUES / 2, "mine": VALUES}, threshold=1e-9)
    assert set(lines(figure)) == {"NTK", "NNGP", "mine", "can train above this"}
    assert figure.axes[0].get_ylim()[0] < 1e-9
    assert set(lines(figure)["can train above this"].get_ydata()) == {1e-9}


@pytest.mark.parametrize("threshold", [None, 0.0, -1.0, float("nan")])
def test_a_border_that_is_not_positive_is_not_drawn(threshold):
    assert set(lines(report.spectrum_figure({"ntk": VALUES}, threshold=threshold))) == {"NTK"}


def test_eigenvalues_that_are_not_positive_leave_a_gap():
    _, value = lines(report.spectrum_figure({"ntk": [2.0, 0.0, -1.0, 1.0]}))["NTK"].get_data()
    np.testing.assert_array_equal(value, [2.0, np.nan, np.nan, 1.0])


@pytest.mark.parametrize("spectra", [{}, {"ntk": [1.0]}, {"ntk": [0.0, 0.0]}])
def test_small_and_empty_spectra_can_be_drawn(spectra):
    assert "eigenvalue" in report.svg(report.spectrum_figure(spectra), label="x")

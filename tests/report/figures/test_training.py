import numpy as np
import pytest

from kernelregime.report import figures

STEPS = np.array([0, 1, 3, 10, 30, 100, 300])
RNG = np.random.default_rng(0)
CURVES = np.exp(-np.linspace(0, 4, 7)) * (1 + 0.1 * RNG.random((5, 7)))


def lines(figure):
    return {line.get_label(): line for line in figure.axes[0].lines}


def test_every_seed_is_drawn_thin_and_their_median_thick():
    figure = figures.learning_curves(STEPS, train_loss=CURVES, ntk_train_loss=CURVES[0])
    thin = [line for line in figure.axes[0].lines if line.get_linewidth() < 1]
    np.testing.assert_array_equal([line.get_ydata() for line in thin], CURVES)
    median = lines(figure)["network"]
    np.testing.assert_array_equal(median.get_ydata(), np.sort(CURVES, axis=0)[2])
    assert median.get_linewidth() > 2 * thin[0].get_linewidth()


def test_the_curves_differ_in_dash_and_not_in_colour_alone():
    figure = figures.learning_curves(STEPS, train_loss=CURVES, linear_train_loss=CURVES, ntk_train_loss=CURVES[0], test_loss=CURVES)
    named = ["network", "linearized", "infinite width", "network, test points"]
    assert len({str(lines(figure)[name]._unscaled_dash_pattern) for name in named}) == 4


def test_rounding_noise_does_not_stretch_the_loss_axis():
    tiny = CURVES.copy()
    tiny[0, -1] = 1e-40
    low, high = figures.learning_curves(STEPS, train_loss=tiny).axes[0].get_ylim()
    assert low < CURVES[1:].min()
    assert high / low < 1e11


def test_the_band_over_seeds_spans_their_range_and_the_line_is_their_median():
    figure = figures.alignment_curves(STEPS, alignment=CURVES)
    [band] = figure.axes[0].collections
    corners = band.get_paths()[0].vertices
    assert corners[:, 1].min() == CURVES.min()
    assert corners[:, 1].max() == CURVES.max()
    np.testing.assert_array_equal(lines(figure)["plain"].get_ydata(), np.median(CURVES, axis=0))


@pytest.mark.parametrize("draw", [figures.error_curves, figures.drift_curves])
def test_the_bands_of_the_verdict_meet_at_its_thresholds(draw):
    figure = draw(STEPS, CURVES, bands=(0.1, 0.3))
    levels = [line.get_ydata()[0] for line in figure.axes[0].lines if len(set(line.get_ydata())) == 1]
    assert levels == [0.1, 0.3]
    assert [text.get_text().split("\n")[0] for text in figure.axes[0].texts] == ["kernel", "near", "feature"]


@pytest.mark.parametrize("kernel", [1e-3, 0.1, 10.0])
@pytest.mark.parametrize("ratio", [1.05, 3.0, 30.0])
def test_the_names_of_narrow_bands_keep_apart_and_in_order(kernel, ratio):
    figure = figures.drift_curves(STEPS, CURVES, bands=(kernel, ratio * kernel))
    heights = [text.get_position()[1] for text in figure.axes[0].texts]
    assert min(np.diff(heights)) >= 0.0899


def test_rounding_at_step_0_does_not_stretch_the_axis():
    moved = np.concatenate([np.full((5, 1), 1e-7), CURVES[:, 1:]], axis=1)
    figure = figures.drift_curves(STEPS, moved, bands=(0.1, 0.3))
    assert figure.axes[0].get_ylim()[0] > 1e-3
    assert np.isnan(figure.axes[0].lines[0].get_ydata()[0])


@pytest.mark.parametrize("draw", [figures.error_curves, figures.drift_curves])
@pytest.mark.parametrize("bands", [(0.1, 0.3), None])
@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
def test_every_measured_value_is_in_sight(draw, bands, size):
    values = np.concatenate([np.full((5, 1), np.nan), size * CURVES[:, 1:]], axis=1)
    low, high = draw(STEPS, values, bands=bands).axes[0].get_ylim()
    assert low < np.nanmin(values) < np.nanmax(values) < high


def test_a_change_of_exactly_zero_is_told():
    assert "0 throughout" in [text.get_text() for text in figures.drift_curves(STEPS, 0 * CURVES, bands=(0.1, 0.3)).axes[0].texts]


def test_steps_spaced_by_factors_are_drawn_on_a_logarithmic_axis_that_shows_0_and_others_on_a_linear_one():
    spaced = figures.alignment_curves(STEPS, alignment=CURVES).axes[0]
    assert spaced.get_xscale() == "symlog"
    assert list(spaced.get_xticks()) == [0, 1, 10, 100]
    assert spaced.get_xlim()[1] > STEPS[-1]
    assert figures.alignment_curves(np.arange(7), alignment=CURVES).axes[0].get_xscale() == "linear"

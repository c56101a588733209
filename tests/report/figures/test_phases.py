import numpy as np
import pytest

from kernelregime import report
from kernelregime._checks import InputError
from kernelregime.report import figures

SW2, SB2 = np.linspace(0.5, 4, 30), np.linspace(0, 1, 20)
CHI = SW2[:, None] / (1 + SB2)


def test_the_grid_shows_the_logarithm_of_chi_with_white_at_the_edge():
    mesh = report.phase_figure(SW2, SB2, CHI).axes[0].collections[0]
    np.testing.assert_allclose(mesh.get_array().reshape(20, 30), np.log2(CHI.T), rtol=1e-12)
    assert mesh.get_clim()[0] == -mesh.get_clim()[1]
    assert np.ptp(mesh.cmap(mesh.norm(0.0))[:3]) < 0.02


def test_places_without_a_fixed_point_stay_blank():
    chi = CHI.copy()
    chi[0, 0] = np.nan
    assert report.phase_figure(SW2, SB2, chi).axes[0].collections[0].get_array().mask.sum() == 1


def test_extreme_values_are_clipped_and_the_colour_bar_says_so():
    mesh = report.phase_figure(SW2, SB2, CHI**40).axes[0].collections[0]
    assert mesh.get_clim() == (-3, 3)
    assert mesh.colorbar.extend == "both"
    assert mesh.colorbar.ax.get_ylabel().startswith("χ₁")


def test_an_infinite_chi_is_drawn_as_chaotic_beyond_the_colour_bar():
    mesh = report.phase_figure(SW2, SB2, np.full(CHI.shape, np.inf)).axes[0].collections[0]
    assert not np.ma.getmaskarray(mesh.get_array()).any()
    np.testing.assert_allclose(mesh.get_array(), mesh.get_clim()[1])
    assert mesh.colorbar.extend == "both"


@pytest.mark.parametrize("power", [0.02, 0.3, 1, 4, 40])
def test_the_colour_bar_names_1_and_only_values_in_reach(power):
    mesh = report.phase_figure(SW2, SB2, CHI**power).axes[0].collections[0]
    names = [float(text.get_text()) for text in mesh.colorbar.ax.get_yticklabels()]
    assert 1.0 in names
    assert max(np.abs(np.log2(names))) <= mesh.get_clim()[1] + 1e-3


def star(figure) -> tuple[float, float]:
    [point] = [line for line in figure.axes[0].lines if line.get_marker() == "*"]
    return float(point.get_xdata()[0]), float(point.get_ydata()[0])


def test_the_network_is_marked_and_one_without_biases_on_the_axis():
    edge = (np.full(2, 2.0), np.array([0.0, 1.0]))
    assert star(figures.phase_diagram(edge, point=(1.5, 0.3))) == (1.5, 0.3)
    without = figures.phase_diagram(edge, point=(1.5, None))
    assert star(without) == (1.5, 0.0)
    assert "this network (no bias)" in without.axes[0].get_legend_handles_labels()[1]
    assert star(report.phase_figure(SW2, SB2, CHI, point=(2.0, 0.5))) == (2.0, 0.5)


@pytest.mark.parametrize("point", [(0.1, None), (9.0, 3.0), None])
def test_edge_and_network_are_in_sight(point):
    axes = figures.phase_diagram((1 + SB2, SB2), point=point).axes[0]
    (x0, x1), (y0, y1) = axes.get_xlim(), axes.get_ylim()
    assert x0 < 1 < 2 < x1
    assert y1 >= 1
    if point is not None:
        assert x0 < point[0] < x1
        assert y0 < (point[1] or 0) <= y1


def test_phases_are_shaded_where_the_edge_has_one_weight_variance_for_every_bias_variance():
    assert len(figures.phase_diagram((1 + SB2, SB2)).axes[0].collections) == 2
    folded = np.concatenate([SB2, SB2[::-1]])
    assert len(figures.phase_diagram((np.linspace(1, 2, 40), folded)).axes[0].collections) == 0


@pytest.mark.parametrize("chi", [CHI.T, CHI[0], np.ones((30, 1))])
def test_a_grid_of_another_shape_is_refused(chi):
    with pytest.raises(InputError):
        report.phase_figure(SW2, SB2, chi)


def test_the_edge_is_named_where_it_is_drawn_and_only_there():
    edge = (1 + SB2, SB2)
    for given, named in ((edge, True), (None, False), ((SW2[:0], SB2[:0]), False)):
        axes = report.phase_figure(SW2, SB2, CHI, edge=given, point=(2.0, 0.5)).axes[0]
        assert ("edge of chaos, χ₁ = 1" in axes.get_legend_handles_labels()[1]) == named
        assert len(axes.lines) == 1 + named

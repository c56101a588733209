import base64
import io
import re

import matplotlib
import numpy as np
import pytest
from matplotlib.image import imread

from kernelregime import report
from kernelregime._checks import InputError
from kernelregime.claims import Estimate
from kernelregime.report import figures

RNG = np.random.default_rng(0)


def rasters(figure) -> list[np.ndarray]:
    """The images in a figure's SVG, largest first."""
    found = re.findall(r"data:image/png;base64,([^\"]+)", report.svg(figure, label="x"))
    return sorted((imread(io.BytesIO(base64.b64decode(data))) for data in found), key=np.size, reverse=True)


def test_the_page_holds_every_entry_of_the_gram_as_one_pixel_of_its_colour():
    gram = RNG.random((30, 30))
    pixels = rasters(report.heat_map(gram))[0]
    colours = matplotlib.colormaps["viridis"]((gram - gram.min()) / (gram.max() - gram.min()))
    assert pixels.shape[:2] == gram.shape
    np.testing.assert_allclose(pixels[..., :3], colours[..., :3], atol=2 / 255)


def test_limits_fix_the_colours_whatever_the_entries():
    one, two = (rasters(report.heat_map(np.array([[0.5, top], [0.2, 0.1]]), limits=(0.0, 2.0)))[-1] for top in (0.6, 1.9))
    np.testing.assert_array_equal(one[0, 0], two[0, 0])
    assert not np.array_equal(one[0, 1], two[0, 1])


def test_lines_are_drawn_where_the_class_changes_and_classes_named_in_their_middle():
    axes = report.heat_map(RNG.random((6, 6)), np.array([3, 3, 3, 3, 7, 7])).axes[0]
    cuts = {tuple(line.get_ydata()) for line in axes.lines} | {tuple(line.get_xdata()) for line in axes.lines}
    assert (4, 4) in cuts
    assert len(axes.lines) == 2
    assert list(zip(axes.get_xticks(), [t.get_text() for t in axes.get_xticklabels()], strict=True)) == [(2.0, "3"), (5.0, "7")]


def test_class_names_that_have_no_room_are_left_out():
    names = [text.get_text() for text in report.heat_map(RNG.random((100, 100)), np.arange(100)).axes[0].get_xticklabels()]
    assert 5 <= len(names) <= 14


@pytest.mark.parametrize("shape", [(1201, 1201), (1300, 700), (50, 1801)])
def test_large_matrices_are_averaged_in_blocks(shape):
    gram = RNG.random(shape)
    pixels = report.heat_map(gram).axes[0].images[0].get_array()
    block = -(-max(shape) // 600)
    assert max(pixels.shape) <= 601
    np.testing.assert_allclose(pixels[1, 2], gram[block : 2 * block, 2 * block : 3 * block].mean(), rtol=1e-12)
    last = [(size - 1) // block * block for size in shape]
    np.testing.assert_allclose(pixels[-1, -1], gram[last[0] :, last[1] :].mean(), rtol=1e-12)
    assert f"{block} × {block}" in report.heat_map(gram).axes[0].get_xlabel()


@pytest.mark.parametrize(
    ("gram", "labels", "words"),
    [
        (np.zeros(3), None, "2-dimensional"),
        (np.full((2, 2), np.nan), None, "a finite entry"),
        (np.eye(3), np.zeros(2), "3 rows"),
        (np.array([["a"]]), None, "real numbers"),
    ],
)
def test_a_gram_that_cannot_be_drawn_is_refused(gram, labels, words):
    with pytest.raises(InputError, match=words):
        report.heat_map(gram, labels)


def test_a_constant_gram_has_a_colour_scale():
    axes = report.heat_map(np.ones((3, 3))).axes[0]
    assert axes.images[0].get_clim() == (0.5, 1.5)


def whiskers(figure) -> list[float]:
    return [float(np.ptp(segment[:, 0])) / 2 for bars in figure.axes[0].collections for segment in bars.get_segments()]


def test_dispersions_are_drawn_as_standard_deviations():
    draws = np.exp(0.2 * RNG.standard_normal(400))
    relative = draws / draws.mean()
    measured = np.mean(draws**2) / np.mean(draws) ** 2
    figure = figures.kernel_samples(draws, dispersion=Estimate(measured, 0.01, 400), exact=1.09)
    assert whiskers(figure) == pytest.approx([np.std(relative), 0.3], rel=1e-12)


def test_the_histogram_counts_every_draw():
    draws = np.concatenate([RNG.random(99), [1e6]])
    [patch] = figures.kernel_samples(draws).axes[0].patches
    assert patch.get_data().values.sum() == 100


def test_an_impossible_dispersion_is_not_drawn():
    assert whiskers(figures.kernel_samples(np.ones(5), dispersion=Estimate(0.9, 0.1, 5), exact=float("nan"))) == []

import math

import numpy as np
import pytest

from kernelregime.claims import Estimate
from kernelregime.report import figures


def test_the_histogram_of_z_scores_is_a_density_that_loses_no_value():
    scores = np.concatenate([np.random.default_rng(0).standard_normal(500), [40.0, -40.0, np.nan]])
    [patch] = figures.z_scores(scores).axes[0].patches
    counts, edges, _ = patch.get_data()
    assert np.sum(counts * np.diff(edges)) == pytest.approx(1, rel=1e-12)
    assert counts[0] * np.diff(edges)[0] == pytest.approx(1 / 502, rel=1e-12)


def test_the_reference_curve_is_the_standard_normal_density():
    [line] = figures.z_scores(np.zeros(3)).axes[0].lines
    x, y = line.get_data()
    assert y[np.argmin(np.abs(x))] == pytest.approx(0.3989422804014327, rel=1e-12)
    assert np.sum(y) * (x[1] - x[0]) == pytest.approx(math.erf(5 / math.sqrt(2)), rel=1e-6)


def test_bars_begin_at_zero_and_end_at_the_error_with_its_sem():
    errors = {"network": Estimate(0.08, 0.004, 5), "ntk": Estimate(0.07, math.nan, 1), "own": Estimate(math.nan, math.nan, 5)}
    axes = figures.predictor_errors(errors, label="test error").axes[0]
    assert [(bar.get_x(), bar.get_width()) for bar in axes.patches] == [(0, 0.08), (0, 0.07)]
    [whisker] = axes.collections[0].get_segments()
    np.testing.assert_allclose(whisker[:, 0], [0.076, 0.084])
    assert [text.get_text() for text in axes.get_yticklabels()] == ["network", "NTK", "own"]
    assert {"0.0800 ± 0.0040", "0.07", "  not known"} == {text.get_text() for text in axes.texts}

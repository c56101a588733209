import itertools
import math

import numpy as np
import pytest
from scipy import stats

from kernelregime._checks import InputError
from kernelregime.theory import ntk_moments, sample_ntk_matrix
from kernelregime.theory.sampler import sample_ntk

X = np.array([[1.0, 0.2, -0.3, 0.5], [0.4, -1.0, 0.7, 0.1], [2.0, 0.4, -0.6, 1.0]])  # the third depends on the first
FUNCTIONS = {
    "tanh": (np.tanh, lambda h: 1 - np.tanh(h) ** 2),
    "relu": (lambda h: np.maximum(h, 0), lambda h: np.heaviside(h, 0.5)),
    "sin": (np.sin, np.cos),
}
DRAWS = 20_000
FOUR_SEM = 6.3e-5


def dense(widths, activation, x, *, sigma_w2, sigma_b2, standard, draws, seed):
    """Θ and f of networks with weight matrices, by passes forwards and backwards."""
    rng, (phi, slope) = np.random.default_rng(seed), FUNCTIONS[activation]
    weights = [rng.standard_normal((draws, m, n)) * math.sqrt(sigma_w2 / n) for n, m in itertools.pairwise(widths)]
    biases = [rng.standard_normal((draws, m, 1)) * math.sqrt(sigma_b2 or 0) for m in widths[1:]]
    units, hidden = [np.broadcast_to(x.T, (draws, *x.T.shape))], []
    for w, b in zip(weights, biases, strict=True):
        hidden.append(w @ units[-1] + b)
        units.append(phi(hidden[-1]))
    delta, theta = np.ones((draws, 1, len(x))), 0.0
    for layer in range(len(weights) - 1, -1, -1):
        products = np.swapaxes(delta, 1, 2) @ delta
        scale = 1.0 if standard else sigma_w2 / widths[layer]
        bias = 0.0 if sigma_b2 is None else 1.0 if standard else sigma_b2
        theta = theta + products * (scale * np.swapaxes(units[layer], 1, 2) @ units[layer] + bias)
        if layer:
            delta = slope(hidden[layer - 1]) * (np.swapaxes(weights[layer], 1, 2) @ delta)
    return theta, hidden[-1][:, 0]


@pytest.mark.parametrize("standard", [False, True], ids=["ntk", "standard"])
@pytest.mark.parametrize(("activation", "sigma_b2"), [("tanh", 0.3), ("tanh", None), ("relu", 0.0), ("sin", 0.1)])
@pytest.mark.parametrize("widths", [(4, 5, 1), (4, 6, 3, 2, 1), (4, 2, 7, 1)])
def test_draws_have_the_law_of_networks_with_weights(widths, activation, sigma_b2, standard):
    found = sample_ntk_matrix(
        widths, activation, X, sigma_w2=1.7, sigma_b2=sigma_b2, parameterization="standard" if standard else "ntk", draws=DRAWS, seed=1
    )
    theta, outputs = dense(widths, activation, X, sigma_w2=1.7, sigma_b2=sigma_b2, standard=standard, draws=DRAWS, seed=2)
    for i, j in itertools.combinations_with_replacement(range(3), 2):
        one, other = theta[:, i, j], found.theta[:, i, j]
        assert stats.ks_2samp(np.round(one, 10), np.round(other, 10)).pvalue >= FOUR_SEM
        for a, b in (
            (one, other),
            (one * outputs[:, i] ** 2, other * found.outputs[:, i] ** 2),
            (one * theta[:, 0, 0], other * found.theta[:, 0, 0]),
        ):
            sem = math.hypot(a.std(ddof=1), b.std(ddof=1)) / math.sqrt(DRAWS)
            assert abs(a.mean() - b.mean()) <= 4 * sem


def test_on_one_input_of_relu_it_has_the_moments_and_the_law_of_the_chain():
    widths, options = (4, 30, 30, 30, 30, 1), {"sigma_w2": 2.0, "sigma_b2": 0.0, "parameterization": "standard", "draws": DRAWS}
    found = sample_ntk_matrix(widths, "relu", np.eye(1, 4), seed=3, **options).theta[:, 0, 0]
    chain = sample_ntk(widths, seed=4, **options).theta
    exact = ntk_moments(widths, sigma_w2=2.0, sigma_b2=0.0, parameterization="standard")
    assert stats.ks_2samp(found, chain).pvalue >= FOUR_SEM
    for power, log_moment in ((1, exact.log_mean), (2, exact.log_second)):
        values = found**power
        assert abs(values.mean() - math.exp(log_moment)) <= 4 * values.std(ddof=1) / math.sqrt(DRAWS)


def test_the_seed_and_the_number_of_draws_fix_the_draws():
    def drawn(seed):
        return sample_ntk_matrix((4, 5, 1), "tanh", X, sigma_w2=1.0, draws=5, seed=seed).theta

    np.testing.assert_array_equal(drawn(1), drawn(1))
    assert not np.array_equal(drawn(1), drawn(2))


def test_inputs_that_are_parallel_give_one_kernel_up_to_their_scale():
    found = sample_ntk_matrix((4, 8, 8, 1), "relu", X, sigma_w2=2.0, draws=50, seed=5)
    np.testing.assert_allclose(found.theta[:, 2], 2 * found.theta[:, 0], rtol=1e-10)
    np.testing.assert_allclose(found.outputs[:, 2], 2 * found.outputs[:, 0], rtol=1e-10)


def test_draws_are_made_in_blocks_that_hold_little(monkeypatch):
    monkeypatch.setattr("kernelregime.theory.matrix_sampler.NUMBERS", 100)
    assert sample_ntk_matrix((4, 8, 1), "tanh", X, sigma_w2=2.0, draws=11, seed=0).theta.shape == (11, 3, 3)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"widths": (4, 8, 2)}, "widths"),
        ({"widths": (4,)}, "widths"),
        ({"x": X[:, :3]}, r"shape \(k, 4\)"),
        ({"sigma_w2": 0.0}, "sigma_w2"),
        ({"sigma_b2": -1.0}, "sigma_b2"),
        ({"draws": 0}, "draws"),
        ({"parameterization": "mup"}, "parameterization"),
    ],
)
def test_bad_input_is_refused(changes, match):
    given = {"widths": (4, 8, 1), "activation": "tanh", "x": X, "sigma_w2": 1.0, "draws": 2, "seed": 0} | changes
    with pytest.raises(InputError, match=match):
        sample_ntk_matrix(given.pop("widths"), given.pop("activation"), given.pop("x"), **given)

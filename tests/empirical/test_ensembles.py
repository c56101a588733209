import math
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiling import quick
from scipy import stats

from kernelregime import empirical, networks
from kernelregime._checks import InputError
from kernelregime.empirical import ensembles, sample_fully_connected

KEY = jax.random.key(5)
X, Y = np.array([0.6, -0.3, 1.1]), np.array([-0.2, 0.9, 0.4])
FOUR_SEM = 6.3e-5  # probability beyond four standard deviations of a normal law
FULL = ensembles.MOST  # draws of one call: tests that ask for as many, or a multiple, share their programs

NETWORKS = {
    "relu without biases": networks.mlp(depth=4, width=[5, 5, 4]),
    "relu, zero biases, standard": networks.mlp(depth=4, width=5, sigma_b2=0, parameterization="standard"),
    "tanh with biases": networks.mlp(depth=4, width=6, activation="tanh", sigma_w2=1.7, sigma_b2=0.3),
    "any function, standard": networks.mlp(depth=3, width=[4, 3], activation=jnp.sin, sigma_b2=0.5, parameterization="standard"),
}
RELU = NETWORKS["relu without biases"]


@pytest.fixture(autouse=True, scope="module")
def quick_programs():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ensembles, "_draws", quick(ensembles._draws.__wrapped__, static_argnums=0))
        yield


def sample(network, x1=X, x2=Y, *, draws=FULL, key=KEY, **options):
    return sample_fully_connected(network, x1, x2, draws=draws, key=key, **options)


def parameters(network, key, inputs):
    """The parameters of one dense draw, as `network.apply` takes them."""
    spec, params = networks.describe(network), []
    widths, biases = (inputs, *spec.widths), int(spec.sigma_b2 is not None)
    for layer, (n, m) in enumerate(pairwise(widths)):
        drawn = jax.random.normal(jax.random.split(key, (spec.depth, 2))[layer, 0], (m, n + biases * (layer < spec.depth - 1)))
        scale_w, scale_b = (1, 1) if spec.parameterization == "ntk" else ((spec.sigma_w2 / n) ** 0.5, (spec.sigma_b2 or 0) ** 0.5)
        bias = jnp.sum(drawn[:, n:], axis=1)  # the output's does not matter
        params += [{"w": scale_w * drawn[:, :n].T} | ({"b": scale_b * bias} if biases else {}), ()]
    return tuple(params[:-1])


@pytest.mark.parametrize("name", NETWORKS)
def test_dense_draws_are_the_kernels_of_networks_with_these_weights(name):
    network = NETWORKS[name]
    found = sample(network).theta
    with jax.enable_x64(True):
        jacobian = quick(jax.jacobian(lambda params: network.apply(params, jnp.stack([X, Y]))[:, 0]))
        for s in (0, 1, 2, FULL - 1):
            derivative = jacobian(parameters(network, jax.random.fold_in(KEY, s), 3))
            kernel = sum(np.einsum("ni,mi->nm", *[leaf.reshape(2, -1)] * 2) for leaf in jax.tree.leaves(derivative))
            np.testing.assert_allclose(found[s], kernel[[0, 0, 1], [0, 1, 1]], rtol=1e-11, atol=1e-12)


def test_dense_draws_have_the_law_of_kernels_of_initialized_networks():
    network = NETWORKS["tanh with biases"]

    def first(params, x):
        return network.apply(params, x)[:, 0]

    ours = sample(network, draws=4 * FULL).theta
    points, key = np.stack([X, Y]), jax.random.key(6)
    theirs = empirical.sample_at_init(lambda k: network.init(k, (3,)), first, points, draws=2000, key=key, dtype="float64")
    for column, entry in zip(ours.T, (theirs[:, 0, 0], theirs[:, 0, 1], theirs[:, 1, 1]), strict=True):
        assert stats.ks_2samp(column, entry).pvalue >= FOUR_SEM


@pytest.mark.parametrize("other", [Y, -2.0 * X, X, 0 * X], ids=["any", "opposite", "equal", "zero"])
@pytest.mark.parametrize("name", NETWORKS)
def test_what_the_passes_see_of_the_weights_gives_the_law_of_all_weights(name, other):
    n = 20 * FULL
    dense, seen = (sample(NETWORKS[name], X, other, draws=n, method=method).theta for method in ensembles.METHODS)
    combinations = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, -2, 1], [1, 0, -1], [1, 1, 1]]).T
    for a, b in zip((dense @ combinations).T, (seen @ combinations).T, strict=True):
        rounded = [np.round(values, 9) for values in (a, b)]  # differences of equal kernels are rounding
        assert stats.ks_2samp(*rounded).pvalue >= FOUR_SEM
        for power in (1, 2):
            sem = math.hypot(np.std(a**power, ddof=1), np.std(b**power, ddof=1)) / math.sqrt(n)
            assert abs(np.mean(a**power) - np.mean(b**power)) <= 4 * sem + 1e-9


@pytest.mark.parametrize("method", ensembles.METHODS)
def test_a_draw_depends_on_the_key_and_its_number_not_on_the_number_of_draws_or_inputs(method):
    network, options = NETWORKS["tanh with biases"], {"method": method}
    full = sample(network, **options).theta
    np.testing.assert_allclose(sample(network, draws=2 * FULL, **options).theta[:FULL], full, rtol=1e-12)
    np.testing.assert_allclose(sample(network, draws=3, **options).theta, full[:3], rtol=1e-12)
    assert not np.allclose(sample(network, key=jax.random.key(9), **options).theta, full)
    if method == "dense":
        one = sample(network, X, None, draws=3).theta
        assert one.shape == (3,)
        np.testing.assert_allclose(one, full[:3, 0], rtol=1e-12)


def test_less_memory_first_draws_weights_again_then_takes_draws_one_by_one():
    setting, dtype = ensembles._Setting((3, 20, 20, 20), 2, True, "ntk", "dense", True), np.dtype("float64")
    again = setting._replace(kept=False)
    batch = ensembles._plan(setting, 600, dtype, 10**9).batch
    assert batch > 100
    budgets = [batch * setting.footprint(8), batch * again.footprint(8), setting.footprint(8), again.footprint(8)]
    plans = [ensembles._plan(setting, 600, dtype, budget) for budget in budgets]
    assert [(plan.setting.kept, plan.batch) for plan in plans] == [(True, batch), (False, batch), (True, 1), (False, 1)]


@pytest.mark.parametrize("size", [FULL, 1])
def test_draws_do_not_depend_on_memory(size):
    memory = size * ensembles._Setting((3, 6, 6, 6), 2, True, "ntk", "dense", False).footprint(8)
    network, draws = NETWORKS["tanh with biases"], max(size, 3)
    np.testing.assert_allclose(sample(network, draws=draws, memory=memory).theta, sample(network).theta[:draws], rtol=1e-12)


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("widths", [(100,) * 30, (200, *[80] * 10), (20, 20, 30, 40, 50)], ids=["deep", "wide inputs", "all different"])
def test_the_bytes_of_a_draw_cover_what_the_program_takes(widths, kept):
    setting, one = ensembles._Setting(widths, 1, True, "ntk", "dense", kept), np.float32(1)
    phi = networks.describe(RELU).activation
    lowered = ensembles._draws.lower(setting, phi, one, one, KEY, np.arange(16, dtype=np.uint32), np.ones((widths[0], 1), np.float32))
    taken = lowered.compile().memory_analysis().temp_size_in_bytes
    assert taken / 2 < 16 * setting.footprint(4)
    assert 16 * setting.footprint(4) < 3 * taken


def test_the_program_is_as_long_for_a_hundred_layers_as_for_five():
    def lines(depth):
        setting = ensembles._Setting((3, *[8] * depth), 2, True, "ntk", "dense", True)
        phi, one = networks.describe(NETWORKS["tanh with biases"]).activation, np.float32(1)
        program = jax.make_jaxpr(lambda key, x: ensembles._draw(setting, phi, one, one, key, x))(KEY, np.zeros((3, 2), np.float32))
        return len(str(program).splitlines())

    assert lines(100) == lines(5)


def test_other_variances_keys_and_points_do_not_compile_again():
    sample(RELU)
    compiled = ensembles._draws._cache_size()
    sample(networks.mlp(depth=4, width=[5, 5, 4], sigma_w2=0.7), Y, X, key=jax.random.key(1))
    assert ensembles._draws._cache_size() == compiled


def test_mean_and_standard_error_are_those_of_the_draws():
    draws = sample(RELU)
    np.testing.assert_allclose(draws.mean, draws.theta.mean(axis=0))
    np.testing.assert_allclose(draws.sem, draws.theta.std(axis=0, ddof=1) / FULL**0.5)
    assert draws.draws == FULL
    assert np.isnan(ensembles.NtkDraws(draws.theta[:1], "dense").sem).all()


def test_a_network_without_hidden_layers_has_the_kernel_of_its_inputs():
    draws = sample(networks.mlp(depth=1, width=1, sigma_w2=1.5, sigma_b2=0.2), draws=2)
    np.testing.assert_allclose(draws.theta, np.tile([X @ X / 2 + 0.2, X @ Y / 2 + 0.2, Y @ Y / 2 + 0.2], (2, 1)), rtol=1e-14)


def test_precision_follows_the_points_unless_given():
    linear = networks.mlp(depth=1, width=1)
    single = X.astype("float32")
    assert sample(linear, single, None, draws=2).theta.dtype == np.float32
    assert sample(linear, single, None, draws=2, dtype="float64").theta.dtype == np.float64


def test_progress_is_told_after_every_batch():
    told = []
    sample(RELU, draws=2 * FULL + 1, progress=lambda *counts: told.append(counts))
    assert told == [(FULL, 2 * FULL + 1), (2 * FULL, 2 * FULL + 1), (2 * FULL + 1, 2 * FULL + 1)]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"draws": 0}, "draws"),
        ({"key": 0}, "random key"),
        ({"memory": 100}, "one draw"),
        ({"method": "sparse"}, "method"),
        ({"x1": np.ones((2, 3))}, "x1 to be 1-dimensional"),
        ({"x2": np.ones(4)}, "one shape"),
        ({"network": RELU.layers[0]}, "fully-connected"),
        ({"network": networks.mlp(depth=4, width=[5, 5, 4], sigma_w2=1e200)}, "finite kernel"),
    ],
)
def test_arguments_that_cannot_be_used_are_refused(options, says):
    arguments = {"network": RELU} | options
    with pytest.raises(InputError, match=says):
        sample(arguments.pop("network"), **arguments)

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from kernelregime import _checks, empirical
from kernelregime._checks import InputError
from kernelregime.empirical import lanczos, spectrum

SHIFT = 0.3


def net(p, x):
    return jnp.tanh(x @ p["w"]) @ p["v"] / 4


@pytest.fixture(scope="module")
def operator():
    rng = np.random.default_rng(0)
    params = {"w": rng.standard_normal((5, 16)), "v": rng.standard_normal((16, 2))}
    return empirical.operator((net, params), rng.standard_normal((30, 5)))


@pytest.fixture(scope="module")
def eigenvalues(operator):
    return np.linalg.eigvalsh(operator.dense())


def test_top_eigenpairs_are_those_of_the_matrix(operator, eigenvalues):
    done = []
    found = operator.top(4, progress=done.append)
    np.testing.assert_allclose(found.values, eigenvalues[::-1][:4], rtol=1e-12)
    assert (found.residuals <= 1e-11 * eigenvalues[-1]).all()
    np.testing.assert_allclose(found.vectors.T @ found.vectors, np.eye(4), atol=1e-12)
    np.testing.assert_allclose(operator.matvec(found.vectors), found.vectors * found.values, atol=1e-11 * eigenvalues[-1])
    assert done == list(range(1, len(done) + 1))


def test_exact_trace_is_that_of_the_matrix_at_any_memory(operator, eigenvalues):
    model = operator.jacobian.f, operator.jacobian.params
    for memory in (None, 20_000):
        found = empirical.operator(model, operator.x1, memory=memory).trace()
        np.testing.assert_allclose(found.mean, eigenvalues.sum(), rtol=1e-13)
        assert (found.sem, found.samples) == (0.0, 0)


def by_matrix(operator, samples, steps=60, seed=0):
    """The arguments of the estimates for the operator as a matrix, with which many probes take no time."""
    matrix = operator.dense()
    options = {"samples": samples, "steps": steps, "seed": seed, "memory": 10**9, "progress": None}
    return (lambda v: matrix @ v, len(matrix), matrix.dtype), options


def trace_by_matrix(operator, **options):
    (apply, *rest), options = by_matrix(operator, **options)
    del options["steps"], options["memory"]
    return spectrum.trace(lambda v: v @ apply(v), *rest, **options)


def logdet_by_matrix(operator, **options):
    args, options = by_matrix(operator, **options)
    return spectrum.logdet(*args, SHIFT, **options)


def test_estimates_of_the_operator_are_those_of_its_matrix(operator):
    one, two = operator.logdet(shift=SHIFT, samples=3, steps=10, seed=1), logdet_by_matrix(operator, samples=3, steps=10, seed=1)
    np.testing.assert_allclose([one.mean, one.sem, one.truncation], [two.mean, two.sem, two.truncation], rtol=1e-9)
    one, two = operator.trace(method="hutchinson", samples=3, seed=1), trace_by_matrix(operator, samples=3, seed=1)
    np.testing.assert_allclose([one.mean, one.sem], [two.mean, two.sem], rtol=1e-12)
    one = operator.spectral_density(samples=3, steps=10, width=0.5)
    args, options = by_matrix(operator, 3, 10)
    two = spectrum.density(*args, grid=None, width=0.5, **options)
    np.testing.assert_allclose([one.mean, one.sem], [two.mean, two.sem], atol=1e-9)


def test_estimates_are_within_their_errors_which_fall_as_the_root_of_the_samples(operator, eigenvalues):
    exact = {trace_by_matrix: eigenvalues.sum(), logdet_by_matrix: np.log(eigenvalues + SHIFT).sum()}
    for estimate, value in exact.items():
        few, many = (estimate(operator, samples=samples, seed=2) for samples in (40, 640))
        for found in (few, many):
            assert abs(found.mean - value) <= 4 * found.sem + found.truncation
        assert (few.samples, many.samples) == (40, 640)
        assert abs(few.sem / many.sem / 4 - 1) <= 4 / 80**0.5  # the standard error of a standard deviation of 40 numbers


def test_bound_on_truncation_holds_for_every_number_of_steps(operator):
    full = logdet_by_matrix(operator, samples=8)
    bounds = []
    for steps in (2, 5, 10, 20, 40):
        found = logdet_by_matrix(operator, samples=8, steps=steps)  # the same probes
        assert found.mean - found.truncation <= full.mean + 1e-9 <= found.mean + 2e-9
        bounds.append(found.truncation)
    assert bounds == sorted(bounds, reverse=True)
    assert full.truncation <= 1e-9


def test_density_is_that_of_the_eigenvalues_within_its_errors(operator, eigenvalues):
    def estimate(samples, grid=None):
        args, options = by_matrix(operator, samples)
        return spectrum.density(*args, grid=grid, width=0.5, **options)

    found = estimate(40)
    exact = np.exp(-(((found.grid[:, None] - eigenvalues) / 0.5) ** 2) / 2).mean(1) / (0.5 * np.sqrt(2 * np.pi))
    assert (np.abs(found.mean - exact) <= 4 * found.sem + 1e-9).all()
    assert abs(np.trapezoid(found.mean, found.grid) - 1) <= 1e-4
    assert (found.samples, found.width, found.steps) == (40, 0.5, 60)
    more = estimate(640, found.grid)
    high = found.mean > 1e-3
    assert abs(np.median(found.sem[high] / more.sem[high]) / 4 - 1) <= 4 / 80**0.5


def test_default_width_is_a_hundredth_of_the_largest_eigenvalue(operator, eigenvalues):
    found = operator.spectral_density(samples=2, steps=30)
    np.testing.assert_allclose(found.width, eigenvalues[-1] / 100, rtol=1e-6)
    assert found.grid[0] < eigenvalues[0] - 3 * found.width
    assert found.grid[-1] > eigenvalues[-1] + 3 * found.width


def test_estimates_do_not_depend_on_memory_but_on_the_seed(operator):
    small = empirical.operator((operator.jacobian.f, operator.jacobian.params), operator.x1, memory=40_000)
    for estimate in ("trace", "logdet"):
        options = {"samples": 4, **({"method": "hutchinson"} if estimate == "trace" else {"shift": SHIFT, "steps": 20})}
        one, two, other = (getattr(kernel, estimate)(seed=seed, **options) for kernel, seed in ((operator, 0), (small, 0), (operator, 1)))
        np.testing.assert_allclose([one.mean, one.sem], [two.mean, two.sem], rtol=1e-10)
        assert one.mean != other.mean


def test_progress_is_told_of_every_probe(operator):
    done = []
    operator.trace(method="hutchinson", samples=3, progress=lambda *count: done.append(count))
    assert done == [(1, 3), (2, 3), (3, 3)]


def test_kernel_with_few_distinct_eigenvalues_ends_the_krylov_space_early():
    identity = empirical.operator((lambda p, x: x @ p, np.ones((4, 2))), np.eye(4))
    zero = empirical.operator((lambda p, x: 0 * (x @ p), np.ones((4, 2))), np.eye(4))
    for kernel, eigenvalue in ((identity, 1.0), (zero, 0.0)):
        found = kernel.logdet(shift=SHIFT, samples=3)
        np.testing.assert_allclose(found.mean, 8 * np.log(eigenvalue + SHIFT), rtol=1e-12)
        assert found.truncation <= 1e-12
    assert identity.spectral_density(width=0.1, samples=2).steps == 1


def test_kernel_of_low_rank_has_the_right_determinant():
    rng = np.random.default_rng(1)
    kernel = empirical.operator((lambda p, x: jnp.tanh(x @ p), rng.standard_normal((3, 1))), rng.standard_normal((40, 3)))
    exact = np.log(np.linalg.eigvalsh(kernel.dense()) + SHIFT).sum()
    found = logdet_by_matrix(kernel, samples=200)
    assert abs(found.mean - exact) <= 4 * found.sem + 1e-9
    assert found.truncation <= 1e-6


def test_quadrature_is_exact_for_polynomials_below_twice_its_steps():
    rng = np.random.default_rng(0)
    root = rng.standard_normal((30, 30))
    matrix, start = root @ root.T / 30, rng.standard_normal(30)
    found = lanczos.quadrature(lambda v: matrix @ v, start, 6)
    added = lanczos.radau(found, -0.1)
    np.testing.assert_allclose(added.nodes[0], -0.1, atol=1e-13)
    for degree in range(13):
        exact = start @ np.linalg.matrix_power(matrix, degree) @ start / (start @ start)
        if degree < 12:
            np.testing.assert_allclose(found.weights @ found.nodes**degree, exact, rtol=1e-11)
        np.testing.assert_allclose(added.weights @ added.nodes**degree, exact, rtol=1e-11)


def test_many_steps_give_back_the_eigenvalues():
    rng = np.random.default_rng(0)
    matrix = scipy.linalg.hilbert(12)  # eigenvalues from 1e-17 to 1.8, which lose their places without reorthogonalization
    found = lanczos.quadrature(lambda v: matrix @ v, rng.standard_normal(12), 12)
    exact = np.linalg.eigvalsh(matrix)
    np.testing.assert_allclose(found.nodes, exact[-found.nodes.size :], atol=1e-14)
    assert abs(found.weights.sum() - 1) <= 1e-14


def test_float32_is_good_to_its_rounding(operator, eigenvalues):
    single = empirical.operator((operator.jacobian.f, operator.jacobian.params), operator.x1, dtype="float32")
    np.testing.assert_allclose(single.top(3).values, eigenvalues[::-1][:3], rtol=1e-5)
    np.testing.assert_allclose(single.trace().mean, eigenvalues.sum(), rtol=1e-5)
    one, two = (kernel.logdet(shift=SHIFT, samples=4, steps=30) for kernel in (single, operator))
    np.testing.assert_allclose(one.mean, two.mean, rtol=1e-4)


def test_what_cannot_be_computed_is_refused(operator):
    oblong = empirical.operator((net, operator.jacobian.params), operator.x1, operator.x1[:3])
    for call in (lambda k: k.trace(), lambda k: k.top(1), lambda k: k.logdet(shift=1.0), lambda k: k.spectral_density()):
        with pytest.raises(InputError, match="one set of points"):
            call(oblong)
    for options, words in (({"shift": 0}, "shift"), ({"shift": 1, "samples": 1}, "samples"), ({"shift": 1, "steps": 0}, "steps")):
        with pytest.raises(InputError, match=words):
            operator.logdet(**options)
    with pytest.raises(InputError, match="k below the 60 rows"):
        operator.top(60)
    with pytest.raises(InputError, match="hutchinson"):
        operator.trace(method="hutch")
    model = operator.jacobian.f, operator.jacobian.params
    with pytest.raises(InputError, match="or method='hutchinson'"):
        empirical.operator((lambda p, x: x @ p**2, np.ones((5, 40))), operator.x1, memory=40_000).trace()
    with pytest.raises(InputError, match="vectors of Lanczos"):
        empirical.operator(model, operator.x1, memory=10_000).logdet(shift=1.0)
    with pytest.raises(InputError, match="not zero"):
        empirical.operator((lambda p, x: 0 * (x @ p), np.ones((4, 2))), np.eye(4)).spectral_density()


def test_eigenpairs_that_do_not_converge_are_an_error(operator, monkeypatch):
    solve = spectrum.scipy.sparse.linalg.eigsh
    monkeypatch.setattr(spectrum.scipy.sparse.linalg, "eigsh", lambda *args, **options: solve(*args, maxiter=1, ncv=6, **options))
    with pytest.raises(_checks.RunError, match="of 5 eigenpairs have converged"):
        operator.top(5)


def test_jax_is_left_as_it_was(operator):
    operator.logdet(shift=1.0, samples=2, steps=3)
    assert not jax.config.jax_enable_x64

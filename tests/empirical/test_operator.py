import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse.linalg
from hidden_layer import net, params_of, points

from kernelregime import empirical
from kernelregime._checks import InputError
from kernelregime.empirical import products
from kernelregime.empirical.operators import NtkOperator

ROUNDING = 1e-12
SMALL = 20_000  # bytes: some points at a time
# Models that derivatives go through in ways of their own.
WAYS = ["weights on the left, column points", "convolution", "scan", "branches", "one-hot tokens", "embedding", "custom vjp", "custom jvp"]
WAYS += ["nested jit and checkpoint", "stopped gradient", "output without parameters", "one number a point", "scalar product"]


def close(a, b, rounding=ROUNDING):
    return a.shape == b.shape and a.dtype == b.dtype and np.abs(a - b).max() <= rounding * np.abs(b).max()


def chunk(operator, kind="backward"):
    return operator.jacobian.program(kind, operator.x1)[1]


@pytest.mark.parametrize(("n1", "n2"), [(23, None), (7, 5), (5, 17), (1, 1)])
@pytest.mark.parametrize("memory", [None, 6_000, SMALL])
def test_products_are_those_with_the_matrix_for_any_points_and_memory(n1, n2, memory):
    x1, x2 = points(n1), None if n2 is None else points(n2, 2)
    operator = empirical.operator((net, params_of()), x1, x2, memory=memory)
    matrix = empirical.ntk((net, params_of()), x1, x2, output="full").transpose(0, 2, 1, 3).reshape(operator.shape)
    rng = np.random.default_rng(3)
    v, u = rng.standard_normal(operator.shape[1]), rng.standard_normal(operator.shape[0])
    assert close(operator.matvec(v), matrix @ v)
    assert close(operator.rmatvec(u), matrix.T @ u)
    assert close(operator.dense(memory=None), matrix)


def test_memory_decides_how_many_points_go_through_the_model_at_one_time():
    sizes = [chunk(empirical.operator((net, params_of()), points(100), memory=memory)) for memory in (4_000, SMALL, 10**7)]
    assert sizes[0] < sizes[1] < sizes[2] == 100


@pytest.mark.parametrize("name", WAYS)
def test_products_of_other_models_are_those_with_their_matrix(models, name, jit, monkeypatch):
    model = models[name]
    monkeypatch.setattr(products, "_compiled", lambda reference, kind: jit(products._function(reference(), kind)))
    x1, x2, params = model.points(5), model.points(4, 2), model.params()
    operator = empirical.operator((model.f, params), x1, x2)
    with jax.enable_x64(True):
        full = jit(empirical.ntk_function(model.f, output="full", method="jacobian"))(params, x1, x2)
    matrix = np.asarray(full).transpose(0, 2, 1, 3).reshape(operator.shape)
    v = np.random.default_rng(3).standard_normal(operator.shape[1])
    assert np.abs(operator.matvec(v) - matrix @ v).max() <= ROUNDING * max(np.abs(matrix).max() * np.abs(v).sum(), 1)


@pytest.mark.parametrize("kind", ["forward", "backward", "squares"])
@pytest.mark.parametrize("name", ["mlp", "convolution", "scan", "custom vjp", "updates of low rank"])
def test_estimate_covers_what_the_compiler_reserves(models, name, kind):
    model, rows = models[name].scaled(8), 64
    params = model.params(dtype="float32")
    x = model.points(rows, dtype="float32")
    with jax.enable_x64(False):
        f, outputs = model.f, jax.eval_shape(model.f, params, x).size // rows
        jacobian = products.Jacobian(f, params, outputs, np.dtype("float32"), 0)
        leaves = jax.tree.leaves(params)
        operands = {"forward": [leaves], "backward": [np.zeros((rows, outputs), "float32"), leaves]}
        compiled = products._compiled(lambda: f, kind).lower(params, x, *operands.get(kind, [])).compile().memory_analysis()
        size = products.cost(jacobian, kind, x)
    assert compiled.temp_size_in_bytes + compiled.output_size_in_bytes <= size.bytes_once + rows * size.bytes_per_point


def test_vectors_come_back_in_the_form_they_are_given_in():
    operator = empirical.operator((net, params_of()), points(7), points(5, 2))
    flat = np.random.default_rng(3).standard_normal((15, 4))
    expected = operator.dense() @ flat
    assert close(operator.matvec(flat[:, 0]), expected[:, 0])
    assert close(operator.matvec(flat[:, 0].reshape(5, 3)), expected[:, 0].reshape(7, 3))
    assert close(operator.matvec(flat), expected)
    assert close(operator.matvec(flat.reshape(5, 3, 4)), expected.reshape(7, 3, 4))


def test_vectors_of_one_output_may_be_rows_or_columns():
    params = {**params_of(), "v": np.ones((6, 1))}
    operator = empirical.operator((net, params), points(7), points(5, 2))
    v = np.random.default_rng(3).standard_normal((5, 4))
    assert close(operator.matvec(v), operator.dense() @ v)
    assert close(operator.matvec(v[:, :1]), operator.dense() @ v[:, :1])
    assert close(operator.matvec(v[:, None]), (operator.dense() @ v)[:, None])


def test_derivative_along_a_tangent_is_that_of_finite_differences():
    params, tangent, step = params_of(), params_of(4), 1e-5
    operator = empirical.operator((net, params), points(9), memory=SMALL)
    with jax.enable_x64(True):
        ahead, behind = (net({k: params[k] + s * tangent[k] for k in params}, points(9)) for s in (step, -step))
        expected = (ahead - behind) / (2 * step)
    np.testing.assert_allclose(operator.jvp(tangent), expected, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(operator.values(), empirical.operator((net, params), points(9)).values(), rtol=1e-14)


def test_products_with_the_jacobian_and_its_transpose_are_adjoint():
    operator = empirical.operator((net, params_of()), points(9), memory=SMALL)
    tangent, cotangent = params_of(4), np.random.default_rng(5).standard_normal((9, 3))
    gradient = operator.vjp(cotangent)
    assert {name: leaf.dtype for name, leaf in gradient.items()} == dict.fromkeys(tangent, np.dtype("float64"))
    np.testing.assert_allclose(
        sum(np.vdot(gradient[k], tangent[k]) for k in tangent), np.vdot(operator.jvp(tangent), cotangent), rtol=1e-13
    )
    assert close(operator.jvp(gradient), operator.matvec(cotangent))


def test_operator_of_scipy_is_its_own_adjoint_for_one_set_of_points():
    square = empirical.operator((net, params_of()), points(6)).to_scipy()
    oblong = empirical.operator((net, params_of()), points(6), points(4, 2)).to_scipy()
    rng = np.random.default_rng(3)
    u, v, w = rng.standard_normal(18), rng.standard_normal(18), rng.standard_normal((12, 2))
    assert isinstance(square, scipy.sparse.linalg.LinearOperator)
    np.testing.assert_allclose(u @ (square @ v), v @ (square @ u), rtol=1e-13)
    assert np.array_equal(square.H @ v, square @ v)
    np.testing.assert_allclose(u @ (oblong @ w), (oblong.H @ u) @ w, rtol=1e-12)
    solution, status = scipy.sparse.linalg.cg(square + 1e-1 * scipy.sparse.linalg.aslinearoperator(np.eye(18)), v, rtol=1e-12)
    assert status == 0
    np.testing.assert_allclose(square @ solution + 1e-1 * solution, v, atol=1e-9)


def test_float32_is_computed_and_returned_as_such():
    exact = empirical.operator((net, params_of()), points(6))
    single = empirical.operator((net, params_of()), points(6), dtype="float32", memory=SMALL)
    default = empirical.operator((net, params_of(dtype="float32")), points(6))
    v = np.random.default_rng(3).standard_normal(18)
    for operator in (single, default):
        found = operator.matvec(v)
        assert found.dtype == operator.dtype == operator.to_scipy().dtype == np.float32
        np.testing.assert_allclose(found, exact.matvec(v), rtol=1e-4, atol=1e-4)
        assert operator.vjp(v)["w"].dtype == operator.jvp(params_of()).dtype == np.float32


def test_parameters_that_are_not_trained_have_no_gradient_and_do_not_move():
    params = {"w": np.ones((4, 2)), "shift": empirical.Frozen(np.ones(2)), "power": 2}
    operator = empirical.operator((lambda p, x: (x @ p["w"] + p["shift"].value) ** p["power"], params), points(5))
    gradient = operator.vjp(np.ones((5, 2)))
    assert not gradient["shift"].value.any()
    assert gradient["power"] == 0
    moved = {**gradient, "shift": empirical.Frozen(np.ones(2)), "power": 7}
    assert np.array_equal(operator.jvp(moved), operator.jvp(gradient))
    assert close(operator.matvec(np.ones(10)), operator.dense() @ np.ones(10))


def test_one_program_serves_all_chunks_and_further_operators():
    traced = []

    def counted(p, x):
        traced.append(len(x))
        return net(p, x)

    operator = empirical.operator((counted, params_of()), points(100), memory=SMALL)
    operator.matvec(np.ones(300))
    rows, before = chunk(operator), len(traced)
    assert rows < 100
    assert traced.count(rows) == 3  # the backward program; the forward one, and whether there may be one
    empirical.operator((counted, params_of(3)), points(100, 4), memory=SMALL).matvec(np.ones(300))
    assert len(traced) == before


def test_what_does_not_fit_is_refused():
    model = (net, params_of())
    operator = empirical.operator(model, points(5))
    for wrong in (np.ones(14), np.ones((3, 5)), np.ones((5, 3, 2, 2)), 1.0):
        with pytest.raises(InputError, match=r"v of shape \(5, 3\) or \(15,\)"):
            operator.matvec(wrong)
    with pytest.raises(InputError, match="v to be finite"):
        operator.matvec(np.full(15, np.nan))
    with pytest.raises(InputError, match="one cotangent; got 2"):
        operator.vjp(np.ones((15, 2)))
    with pytest.raises(InputError, match="the tangent of the structure and shapes of params; got another structure"):
        operator.jvp({"w": np.ones((4, 6))})
    with pytest.raises(InputError, match="the tangent of the structure and shapes of params; got shapes"):
        operator.jvp({**params_of(), "b": np.ones(5)})
    with pytest.raises(InputError, match="memory budget of at least"):
        empirical.operator(model, points(5), memory=100)
    with pytest.raises(InputError, match="points of one shape"):
        empirical.operator(model, points(5), np.ones((3, 2)))
    with pytest.raises(InputError, match="each row of x on its own"):
        empirical.operator((lambda p, x: net(p, x - x.mean(0)), params_of()), points(5))
    with pytest.raises(InputError, match="a finite kernel"):
        empirical.operator((lambda p, x: jnp.sqrt(x @ p), np.ones((4, 1))), np.zeros((2, 4))).matvec(np.ones(2))


def test_operator_is_of_the_public_type():
    operator = empirical.operator((net, params_of()), points(5))
    assert isinstance(operator, NtkOperator)
    assert operator.shape == (15, 15)
    assert operator.symmetric
    assert not empirical.operator((net, params_of()), points(5), points(5)).symmetric

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kernelregime import empirical, networks
from kernelregime._checks import InputError
from kernelregime.empirical import gram, kernel, ntk_function, plan

ROUNDING = 1e-12


def agree(a, b):
    return np.abs(np.asarray(a) - np.asarray(b)).max() <= ROUNDING * max(1, np.abs(np.asarray(b)).max())


def test_structured_kernel_is_the_sum_over_all_parameters(model, by_definition, jit):
    with jax.enable_x64(True):
        params, x = model.params(), model.points(5)
        fast = ntk_function(model.f, output="full", method="structured")
        ours, reference = jit(lambda p: (fast(p, x), by_definition(model.f, p, x[:2], x[2:])))(params)
        assert ours.dtype == np.float64
        assert ours.shape == (5, 5, *reference.shape[2:])
        assert agree(ours[:2, 2:], reference)
        assert agree(ours, ours.transpose(1, 0, 3, 2))


@pytest.mark.parametrize("name", ["mlp", "layer norm", "convolution", "embedding", "one number a point"])
def test_jacobian_kernel_is_the_sum_over_all_parameters(models, name, by_definition, jit):
    model = models[name]
    with jax.enable_x64(True):
        params, x = model.params(), model.points(5)
        slow = ntk_function(model.f, output="full", method="jacobian")
        ours, reference = jit(lambda p: (slow(p, x), by_definition(model.f, p, x[:2], x[2:])))(params)
        assert agree(ours[:2, 2:], reference)


@pytest.mark.parametrize("method", ["jacobian", "structured"])
def test_trace_is_the_mean_and_diagonal_the_diagonal_of_the_full_kernel(models, method, jit):
    model = models["mlp"]
    with jax.enable_x64(True):
        x1, x2 = model.points(4), model.points(3, seed=2)

        def kernels(params):
            return [ntk_function(model.f, output=output, method=method)(params, x1, x2) for output in ("trace", "diagonal", "full")]

        trace, diagonal, full = jit(kernels)(model.params())
        assert trace.shape == (4, 3)
        assert diagonal.shape == (4, 3, 3)
        assert agree(diagonal, jnp.einsum("ijoo->ijo", full))
        assert agree(trace, diagonal.mean(-1))


def test_kernel_is_the_product_of_finite_differences(jit):
    # With a cubic activation f is a cubic in every single parameter: the five-point difference quotient is exact for any step.
    def f(p, x):
        return ((x @ p["w"] + p["b"]) ** 3) @ p["v"]

    rng = np.random.default_rng(0)
    params = {"w": rng.standard_normal((2, 3)), "b": rng.standard_normal(3), "v": rng.standard_normal((3, 2))}
    x = rng.standard_normal((3, 2))
    columns = []
    for name, value in params.items():
        for index in np.ndindex(value.shape):
            shift = np.zeros_like(value)
            shift[index] = 0.5
            at = {k: f(params | {name: value + k * shift}, x) for k in (-2, -1, 1, 2)}
            columns.append((at[-2] - 8 * at[-1] + 8 * at[1] - at[2]) / (12 * 0.5))
    jacobian = np.stack(columns, -1)
    with jax.enable_x64(True):
        assert agree(jit(ntk_function(f, output="full"))(params, x), np.einsum("iop,jqp->ijoq", jacobian, jacobian))


def test_second_argument_left_out_stands_for_the_first(models, jit):
    model = models["mlp"]
    with jax.enable_x64(True):
        params, x = model.params(), model.points(5)
        kernel = jit(ntk_function(model.f, output="full"))
        assert agree(kernel(params, x), kernel(params, x, x))


def test_structured_kernel_forms_no_jacobian_of_a_matrix(models):
    def sizes(jaxpr):
        for equation in jaxpr.eqns:
            yield from (v.aval.size for v in equation.outvars)
            for inner in equation.params.values():
                yield from sizes(inner.jaxpr) if hasattr(inner, "eqns") or hasattr(inner, "jaxpr") else ()

    def largest(method):
        traced = jax.make_jaxpr(ntk_function(f, method=method))(params, x)
        return max(sizes(traced.jaxpr))

    def f(p, x):
        return jnp.tanh(x @ p["a"] + p["c"]) @ p["b"]

    n, width = 3, 50
    params, x = {"a": jnp.ones((width, width)), "b": jnp.ones((width, 2)), "c": jnp.ones(width)}, jnp.ones((n, width))
    assert largest("jacobian") >= n * 2 * width * width
    assert largest("structured") < width * width
    assert largest("auto") < width * width


def test_kernel_of_a_function_without_products_uses_its_jacobian(models):
    model = models["scalar product"]
    params, x = model.params(dtype="float32"), model.points(2, dtype="float32")
    auto, jacobian = (str(jax.make_jaxpr(ntk_function(model.f, method=method))(params, x)) for method in ("auto", "jacobian"))
    assert auto == jacobian


@pytest.mark.parametrize("form", ["gram", "jacobian"])
@pytest.mark.parametrize("name", ["convolutions", "stacked layers", "loop in a loop", "attention", "language model", "unrolled loop"])
def test_both_forms_of_a_product_with_several_positions_give_the_sum_over_all_parameters(models, name, form, by_definition, jit):
    model = models[name]
    with jax.enable_x64(True):
        params, x = model.params(), model.points(5)
        found = gram.analysed(model.f, params, x, "full")
        forms = tuple(form if form in [one.form for one in plan.ways(group)] else plan.ways(group)[0].form for group in found.groups)
        assert form in forms

        def kernels(p):
            options = {output: kernel.Options(output, "structured", forms=forms) for output in ("full", "diagonal", "trace")}
            return {output: kernel.parts(model.f, p, x[:2], x[2:], chosen)[0] for output, chosen in options.items()}

        ours, reference = jit(lambda p: (kernels(p), by_definition(model.f, p, x[:2], x[2:])))(params)
        assert agree(ours["full"], reference)
        assert agree(ours["diagonal"], jnp.einsum("ijoo->ijo", reference))
        assert agree(ours["trace"], jnp.einsum("ijoo->ij", reference) / reference.shape[-1])


@pytest.mark.parametrize("name", ["mlp", "custom vjp", "rule of a weight alone", "embedding", "stacked layers", "branches"])
def test_products_along_gradients_give_the_sum_over_all_parameters(models, name, by_definition, jit):
    model = models[name]
    with jax.enable_x64(True):
        params, x = model.params(), model.points(5)

        def kernels(p):
            return {output: ntk_function(model.f, output=output, method="products")(p, x[:2], x[2:]) for output in kernel.OUTPUTS}

        ours, reference = jit(lambda p: (kernels(p), by_definition(model.f, p, x[:2], x[2:])))(params)
        assert agree(ours["full"], reference)
        assert agree(ours["diagonal"], jnp.einsum("ijoo->ijo", reference))
        assert agree(ours["trace"], jnp.einsum("ijoo->ij", reference) / reference.shape[-1])
        assert agree(ours["pseudo"], reference.sum((2, 3)) / reference.shape[-1])


@pytest.mark.parametrize("method", ["auto", "jacobian"])
def test_parts_of_all_leaves_add_up_and_are_the_kernels_of_each_alone(models, method, by_definition, jit):
    for name in ("slices of one array", "layer norm", "language model", "unused branch"):
        model = models[name]
        with jax.enable_x64(True):
            params, x = model.params(), model.points(4)

            def parts(p, model=model, x=x):
                return kernel.parts(model.f, p, x[:2], x[2:], kernel.Options("full", method, apart=True))

            def alone(p, model=model, x=x):
                leaves = sorted(p)
                return [by_definition(lambda q, x, leaf=leaf: model.f(p | q, x), {leaf: p[leaf]}, x[:2], x[2:]) for leaf in leaves]

            ours, reference = jit(lambda p: (parts(p), alone(p)))(params)
            assert len(ours) == len(params)
            for one, other in zip(ours, reference, strict=True):
                assert agree(one, other)


def test_batching_over_seeds_gives_the_kernel_of_every_seed(models, jit):
    model = models["layer norm"]
    with jax.enable_x64(True):
        seeds = [model.params(seed) for seed in range(3)]
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *seeds)
        x1, x2 = model.points(4), model.points(3, seed=2)
        kernel = ntk_function(model.f)
        batched = jit(jax.vmap(kernel, (0, None, None)))(stacked, x1, x2)
        single = jit(kernel)
        assert agree(batched, np.stack([single(params, x1, x2) for params in seeds]))


def test_gradient_of_the_kernel_is_its_difference_quotient(jit):
    def f(p, x):
        return (x @ p["w"] + p["b"]) ** 2 @ p["v"]

    rng = np.random.default_rng(1)
    params = {"w": rng.standard_normal((2, 3)), "b": rng.standard_normal(3), "v": rng.standard_normal((3, 1))}
    along = {name: rng.standard_normal(value.shape) for name, value in params.items()}
    x = rng.standard_normal((2, 2))
    with jax.enable_x64(True):

        def total(s):
            return ntk_function(f)({k: v + s * along[k] for k, v in params.items()}, x).sum()

        # Gradients are of degree 2 in the parameters, so the kernel is of degree 4 and the five-point quotient exact.
        at = dict(zip((-2, -1, 1, 2), jit(jax.vmap(total))(np.array([-2.0, -1.0, 1.0, 2.0])), strict=True))
        assert agree(jit(jax.grad(total))(0.0), (at[-2] - 8 * at[-1] + 8 * at[1] - at[2]) / 12)


def test_leaves_of_lower_precision_do_not_lower_that_of_the_kernel(jit):
    def f(p, x):
        return jnp.tanh(x @ p["w"].astype(x.dtype)) @ p["v"]

    params = {"w": jnp.ones((3, 4), "bfloat16") / 3, "v": jnp.ones((4, 1)) / 7}
    kernel = jax.eval_shape(ntk_function(f, method="structured"), params, jnp.ones((2, 3)))
    assert kernel.dtype == np.float32


def test_integer_leaves_are_not_differentiated(by_definition, jit):
    def f(p, x):
        return p["power"] * jnp.tanh(x @ p["w"])[:, p["columns"]]

    w = np.random.default_rng(0).standard_normal((3, 4))
    params = {"w": w, "power": 2, "columns": np.array([0, 2])}
    x = np.random.default_rng(1).standard_normal((3, 3))
    with jax.enable_x64(True):
        reference = jit(lambda w: by_definition(lambda p, x: f(params | p, x), {"w": w}, x, x))(w)
        for method in ("jacobian", "structured"):
            assert agree(jit(ntk_function(f, output="full", method=method))(params, x), reference)


@pytest.mark.parametrize(
    ("f", "says"),
    [
        (lambda p, x: (x @ p["w"])[:, None], r"shape \(N,\) or \(N, O\)"),
        (lambda p, x: (x @ p["w"]).sum(0), r"shape \(N,\) or \(N, O\)"),
        (lambda p, x: {"outputs": x @ p["w"]}, "one array"),
        (lambda p, x: jnp.argmax(x @ p["w"], -1), "floating-point outputs"),
        (lambda p, x: x @ p["w"].T, "to accept x of shape"),
        (lambda x, p: x @ p["w"], r"got a function that works as f\(x, params\) alone; give params before x, or write lambda params, x"),
        ("mlp", r"f to be a function f\(params, x\) or a network; got a str"),
    ],
)
def test_function_of_another_kind_is_refused(f, says):
    with pytest.raises(InputError, match=says):
        ntk_function(f)({"w": jnp.ones((3, 2))}, jnp.ones((4, 3)))


def test_an_error_inside_the_function_is_its_own():
    with pytest.raises(KeyError, match="bias"):
        ntk_function(lambda p, x: x @ p["w"] + p["bias"])({"w": jnp.ones((3, 2))}, jnp.ones((4, 3)))


def test_a_network_stands_for_its_apply():
    network = networks.mlp(depth=2, width=4, activation="tanh")
    params, x = network.init(jax.random.key(0), (3,)), jnp.ones((2, 3))
    np.testing.assert_array_equal(ntk_function(network)(params, x), ntk_function(network.apply)(params, x))
    np.testing.assert_array_equal(empirical.ntk((network, params), x), empirical.ntk((network.apply, params), x))
    np.testing.assert_array_equal(empirical.linearize((network, params))(params, x), network.apply(params, x))
    drawn = [
        empirical.sample_at_init(lambda key: network.init(key, (3,)), f, x, draws=1, key=jax.random.key(1))
        for f in (network, network.apply)
    ]
    np.testing.assert_array_equal(*drawn)


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"w": jnp.ones((3, 2), int)}, "floating-point arrays"),
        ({}, "floating-point arrays"),
        ({"w": jnp.ones((3, 2)), "activation": jnp.tanh}, "arrays only"),
        ({"w": jnp.ones((3, 2), complex)}, "real params"),
    ],
)
def test_params_of_another_kind_are_refused(params, says):
    with pytest.raises(InputError, match=says):
        ntk_function(lambda p, x: x @ p["w"])(params, jnp.ones((4, 3)))


def test_unknown_options_and_unlike_points_are_refused():
    with pytest.raises(InputError, match="'trace'"):
        ntk_function(jnp.dot, output="traced")
    with pytest.raises(InputError, match="'structured'"):
        ntk_function(jnp.dot, method="structure")
    with pytest.raises(InputError, match="points of one shape"):
        ntk_function(lambda p, x: x @ p)(jnp.ones((3, 2)), jnp.ones((4, 3)), jnp.ones((4, 2)))

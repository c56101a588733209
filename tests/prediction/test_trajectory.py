import numpy as np
import pytest
import scipy.integrate
import scipy.linalg

from kernelregime._checks import InputError
from kernelregime.prediction import eigen, train

TIGHT = {"method": "DOP853", "rtol": 1e-12, "atol": 1e-13}


def close(ours, reference, rtol=1e-10):
    return np.abs(ours - reference).max() <= rtol * np.abs(reference).max()


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("time", [0.0, 0.3, 4.0])
def test_flow_is_the_matrix_exponential(linear_model, time, reduction):
    model = linear_model()
    out = train(
        model.gram, model.targets, times=time, learning_rate=0.7, reduction=reduction,
        cross=model.cross, initial=model.initial, initial_test=model.initial_test,
    )  # fmt: skip
    scale = 0.7 / (model.targets.size if reduction == "mean" else 1)
    moved = np.eye(8) - scipy.linalg.expm(-scale * time * model.gram)
    gap = model.targets - model.initial
    assert close(out.train[0], model.initial + moved @ gap)
    assert close(out.test[0], model.initial_test + model.cross @ np.linalg.solve(model.gram, moved @ gap))


@pytest.mark.parametrize("ridge", [0.0, 0.3])
def test_flow_is_gradient_flow_of_the_penalized_loss_over_the_parameters(linear_model, ridge):
    model = linear_model()

    def slope(_, flat):
        shift = flat.reshape(20, 3)
        gap = model.initial + model.jacobian @ shift - model.targets
        return -0.5 * (model.jacobian.T @ gap + ridge * shift).ravel() / 24

    times = [1.0, 30.0, 200.0]
    solved = scipy.integrate.solve_ivp(slope, (0, 200), np.zeros(60), t_eval=times, **TIGHT).y.T.reshape(3, 20, 3)
    out = train(
        model.gram, model.targets, times=times, learning_rate=0.5, reduction="mean", ridge=ridge,
        cross=model.cross, initial=model.initial, initial_test=model.initial_test,
    )  # fmt: skip
    assert close(out.train, model.initial + model.jacobian @ solved)
    assert close(out.test, model.initial_test + model.jacobian_test @ solved)


@pytest.mark.parametrize("ridge", [0.0, 0.3])
@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_descent_is_a_loop_of_gradient_steps_over_the_parameters(linear_model, reduction, ridge):
    model = linear_model()
    size = 24 if reduction == "mean" else 1
    shift = np.zeros((20, 3))
    trained, tested = [model.initial], [model.initial_test]
    for _ in range(50):
        gap = model.initial + model.jacobian @ shift - model.targets
        shift = shift - 0.4 * (model.jacobian.T @ gap + ridge * shift) / size
        trained.append(model.initial + model.jacobian @ shift)
        tested.append(model.initial_test + model.jacobian_test @ shift)
    out = train(
        model.gram, model.targets, times=np.arange(51), dynamics="descent", learning_rate=0.4, reduction=reduction, ridge=ridge,
        cross=model.cross, initial=model.initial, initial_test=model.initial_test,
    )  # fmt: skip
    assert close(out.train, np.array(trained), 1e-13)
    assert close(out.test, np.array(tested), 1e-13)


def test_penalized_outputs_follow_the_regularized_kernel_to_the_targets(linear_model):
    model = linear_model()
    out = train(model.gram, model.targets, times=[0.5, 6.0, np.inf], ridge=0.2, initial=model.initial)
    for k, time in enumerate([0.5, 6.0]):
        left = scipy.linalg.expm(-time * (model.gram + 0.2 * np.eye(8)))
        assert close(out.penalized[k], model.targets + left @ (model.initial - model.targets))
    assert close(out.penalized[2], model.targets)
    assert not close(out.train[2], model.targets, 1e-3)


@pytest.mark.parametrize("dynamics", ["flow", "descent"])
@pytest.mark.parametrize("ridge", [0.0, 0.3])
def test_training_for_ever_is_kernel_regression(linear_model, dynamics, ridge):
    model = linear_model()
    out = train(
        model.gram, model.targets, times=np.inf, dynamics=dynamics, learning_rate=0.3, ridge=ridge,
        cross=model.cross, initial=model.initial, initial_test=model.initial_test,
    )  # fmt: skip
    solved = np.linalg.solve(model.gram + ridge * np.eye(8), model.targets - model.initial)
    assert close(out.test[0], model.initial_test + model.cross @ solved)
    assert close(out.train[0], model.initial + model.gram @ solved)


def test_a_relative_ridge_is_in_units_of_the_mean_eigenvalue(linear_model):
    model = linear_model()
    relative = train(model.gram, model.targets, times=2.0, ridge=0.1, ridge_relative=True)
    assert np.abs(relative.ridge - 0.1 * np.trace(model.gram) / 8) < 1e-15
    assert close(relative.train, train(model.gram, model.targets, times=2.0, ridge=relative.ridge).train, 1e-14)


@pytest.mark.parametrize("dynamics", ["flow", "descent"])
def test_a_kernel_of_few_features_leaves_its_null_space_where_it_was(linear_model, dynamics):
    model = linear_model(features=4)
    out = train(
        model.gram, model.targets, times=[5.0, 1e4, 1e300, np.inf], dynamics=dynamics, learning_rate=0.2,
        cross=model.cross, initial=model.initial, initial_test=model.initial_test,
    )  # fmt: skip
    assert "numerical rank 4 of 8" in out.status
    gap = model.targets - model.initial
    left = np.linalg.matrix_power(np.eye(8) - 0.2 * model.gram, 5) if dynamics == "descent" else scipy.linalg.expm(-model.gram)
    assert close(out.train[0], model.targets - left @ gap)
    best = np.linalg.lstsq(model.jacobian, gap, rcond=1e-10)[0]
    for k in (1, 2, 3):
        assert close(out.train[k], model.initial + model.jacobian @ best)
        assert close(out.test[k], model.initial_test + model.jacobian_test @ best)


def test_duplicated_points_with_contradicting_targets_meet_in_the_middle(linear_model):
    model = linear_model(outputs=1)
    rows = [0, 1, 2, 2, 3, 3, 3]
    gram, cross = model.gram[np.ix_(rows, rows)], model.cross[:, rows]
    targets = np.array([0.5, -1.0, 1.0, 3.0, 0.0, 1.0, 5.0])
    out = train(gram, targets, times=[1e12, np.inf], cross=cross)
    merged = train(model.gram[:4, :4], [0.5, -1.0, 2.0, 2.0], times=np.inf, cross=model.cross[:, :4])
    for k in (0, 1):
        assert np.abs(out.train[k, :, 0] - [0.5, -1, 2, 2, 2, 2, 2]).max() < 1e-12
        assert close(out.test[k], merged.test[0])


def test_a_cross_kernel_that_sees_the_null_space_is_reported():
    gram = np.ones((2, 2))
    out = train(gram, [1.0, -1.0], times=[0.0, 3.0, np.inf], cross=[[1.0, 0.0]])
    assert "test points have weight on 1 modes of zero eigenvalue" in out.status
    assert np.abs(out.test[:, 0, 0] - [0.0, 3.0, 0.0]).max() < 1e-14  # df/dt = -k(x, X)(f - y) = 1 for ever


def test_too_large_a_step_diverges_as_the_loop_does_and_says_so(linear_model):
    model = linear_model(outputs=1)
    rate = 2.2 / np.linalg.eigvalsh(model.gram)[-1]
    out = train(model.gram, model.targets, times=[20, 21, 1e6, 1e300, np.inf], dynamics="descent", learning_rate=rate, cross=model.cross)
    f = np.zeros((8, 1))
    for step in range(21):
        f = f - rate * model.gram @ (f - model.targets)
        if step >= 19:
            assert close(out.train[step - 19], f)
    assert np.isinf(out.train[2:]).all()
    assert np.isinf(out.test[2:]).all()
    assert out.status.startswith("diverges: step size times largest eigenvalue is 2.2 > 2; 0.909 times this learning rate is stable")


def test_only_the_outputs_that_a_diverging_mode_reaches_diverge():
    out = train(np.diag([1.0, 3.0]), [1.0, 1.0], times=10**5, dynamics="descent")
    assert out.train[0, 0, 0] == 1.0
    assert np.isinf(out.train[0, 1, 0])


def test_the_largest_stable_step_oscillates_and_says_so():
    out = train(np.diag([1.0, 2.0]), [1.0, 1.0], times=[10**6, 10**6 + 1, np.inf], dynamics="descent")
    assert out.train[:2, 1, 0].tolist() == [0.0, 2.0]
    assert np.isnan(out.train[2, 1, 0])
    assert "oscillates" in out.status


def test_an_indefinite_kernel_grows_as_its_exponential_and_says_so():
    gram = np.array([[1.0, 2.0], [2.0, 1.0]])
    out = train(gram, [1.0, 0.0], times=[2.0, np.inf])
    assert close(out.train[0], (np.eye(2) - scipy.linalg.expm(-2 * gram)) @ [[1.0], [0.0]])
    assert np.isinf(out.train[1]).all()
    assert out.status.startswith("diverges: least eigenvalue -1 ")
    assert "indefinite" in out.status


def coupled(seed=3):
    jacobian = np.random.default_rng(seed).normal(size=(6 + 4, 2, 30)) / np.sqrt(30)
    kernel = np.einsum("iap,jbp->ijab", jacobian, jacobian)
    return jacobian, kernel[:6, :6], kernel[6:, :6]


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_a_kernel_that_couples_the_outputs_is_gradient_descent_over_shared_parameters(linear_model, reduction):
    jacobian, gram, cross = coupled()
    model = linear_model(points=6, tests=4, outputs=2)
    shift = np.zeros(30)
    for _ in range(25):
        gap = model.initial + jacobian[:6] @ shift - model.targets
        shift = shift - 0.3 * np.einsum("iap,ia->p", jacobian[:6], gap) / (12 if reduction == "mean" else 1)
    spectrum = eigen(gram.transpose(0, 2, 1, 3).reshape(12, 12))
    for kernel in (gram, spectrum):
        out = train(
            kernel, model.targets, times=25, dynamics="descent", learning_rate=0.3, reduction=reduction,
            cross=cross, initial=model.initial, initial_test=model.initial_test,
        )  # fmt: skip
        assert out.train.shape == (1, 6, 2)
        assert close(out.train[0], model.initial + jacobian[:6] @ shift, 1e-13)
        assert close(out.test[0], model.initial_test + jacobian[6:] @ shift, 1e-13)


def test_independent_outputs_need_no_coupled_kernel(linear_model):
    model = linear_model()
    times = [1.0, np.inf]
    lone = train(model.gram, model.targets, times=times, cross=model.cross)
    gram, cross = (np.einsum("ij,ab->ijab", kernel, np.eye(3)) for kernel in (model.gram, model.cross))
    full = train(gram, model.targets, times=times, cross=cross)
    assert close(full.train, lone.train)
    assert close(full.test, lone.test)


def test_a_spectrum_computed_once_gives_the_same_as_its_gram(linear_model):
    model = linear_model()
    spectrum = eigen(model.gram)
    for time in (0.3, np.inf):
        a = train(model.gram, model.targets, times=time, cross=model.cross)
        b = train(spectrum, model.targets, times=time, cross=model.cross)
        assert (a.train == b.train).all()
        assert (a.test == b.test).all()


def test_float32_stays_float32_and_float64_is_a_request_away(linear_model):
    model = linear_model()
    small = {k: getattr(model, k).astype(np.float32) for k in ("gram", "cross", "targets")}
    low = train(small["gram"], small["targets"], times=[0.0, 2.0, 1e30, np.inf], cross=small["cross"], ridge=0.1)
    high = train(small["gram"], small["targets"], times=[0.0, 2.0, 1e30, np.inf], cross=small["cross"], ridge=0.1, dtype="float64")
    assert {low.train.dtype, low.test.dtype, low.penalized.dtype} == {np.dtype(np.float32)}
    assert {high.train.dtype, high.test.dtype, high.penalized.dtype} == {np.dtype(np.float64)}
    assert close(low.test, high.test, 8 * 2.0**-23 * 40)  # N·ε·condition number of Θ + R


def test_targets_of_one_dimension_are_one_output(linear_model):
    model = linear_model(outputs=1)
    flat = train(model.gram, model.targets[:, 0], times=1.0, cross=model.cross)
    assert flat.train.shape == (1, 8, 1)
    assert flat.test.shape == (1, 5, 1)
    assert (flat.train == train(model.gram, model.targets, times=1.0).train).all()


def test_integer_and_list_inputs_are_float64():
    out = train([[2, 1], [1, 2]], [1, 0], times=[0, 1])
    assert out.train.dtype == np.float64
    assert out.times.tolist() == [0.0, 1.0]


def test_one_hundred_times_cost_one_decomposition(linear_model, monkeypatch):
    calls = []
    decompose = scipy.linalg.eigh
    monkeypatch.setattr(scipy.linalg, "eigh", lambda *a, **k: calls.append(1) or decompose(*a, **k))
    model = linear_model()
    train(model.gram, model.targets, times=np.linspace(0, 9, 100), cross=model.cross)
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"targets": np.zeros((7, 3))}, "targets for a gram of 8 rows"),
        ({"targets": np.full((8, 3), np.nan)}, "targets to be finite"),
        ({"initial": np.zeros((8, 2)), "initial_test": np.zeros((5, 3))}, "initial of the shape of targets"),
        ({"initial": np.zeros((8, 3))}, "both initial and initial_test"),
        ({"initial_test": np.zeros((5, 3))}, "both initial and initial_test"),
        ({"initial_test": np.zeros((5, 3)), "cross": None}, "cross with initial_test"),
        ({"initial": np.zeros((8, 3)), "initial_test": np.zeros((4, 3))}, r"initial_test of shape \(5, 3\)"),
        ({"cross": np.zeros((8, 5))}, r"cross to be K\(test, train\) with 8 columns"),
        ({"ridge": -0.1}, "ridge to be a finite number, at least 0"),
        ({"dynamics": "decent"}, "did you mean 'descent'"),
        ({"gram": np.zeros((8, 8, 2, 3))}, r"gram of shape \(N1, N2, O, O\)"),
        ({"gram": eigen(np.eye(8)), "dtype": "float32"}, "pass dtype to eigen"),
        ({"gram": np.einsum("ij,ab->ijab", np.eye(8), np.eye(3))}, r"cross of shape \(M, N, O, O\)|with 24 columns"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(linear_model, change, message):
    model = linear_model()
    given = {"gram": model.gram, "targets": model.targets, "cross": model.cross, "times": 1.0, **change}
    with pytest.raises(InputError, match=message):
        train(given.pop("gram"), given.pop("targets"), **given)


def test_a_flat_gram_of_all_outputs_is_not_guessed_to_be_coupled():
    with pytest.raises(InputError, match="targets for a gram of 6 rows"):
        train(np.eye(6), np.zeros((3, 2)), times=1.0)

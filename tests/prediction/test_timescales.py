import numpy as np
import pytest
import scipy.integrate

from kernelregime._checks import InputError
from kernelregime.prediction import eigen, max_learning_rate, time_to_fraction, train, trainable_modes


def heavy_ball(model, rate, momentum, reduction, steps):
    """|f - y| after heavy-ball steps on the parameters of a linear model."""
    size = model.targets.size if reduction == "mean" else 1
    now = before = np.zeros((20, 3))
    for _ in range(steps):
        gradient = model.jacobian.T @ (model.jacobian @ now - model.targets) / size
        now, before = now - rate * gradient + momentum * (now - before), now
    return np.linalg.norm(model.jacobian @ now - model.targets)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_the_largest_rate_separates_convergence_from_divergence(linear_model, momentum, reduction):
    model = linear_model(features=20)
    rate = max_learning_rate(model.gram, momentum=momentum, reduction=reduction, outputs=3)
    start = np.linalg.norm(model.targets)
    assert heavy_ball(model, 0.99 * rate, momentum, reduction, 300) < 1e-2 * start
    assert heavy_ball(model, 1.01 * rate, momentum, reduction, 300) > 1e2 * start


def test_grams_spectra_and_coupled_kernels_have_one_largest_rate(linear_model):
    gram = linear_model().gram
    rate = max_learning_rate(gram, reduction="mean", outputs=3)
    assert abs(rate - 2 * 24 / np.linalg.eigvalsh(gram)[-1]) < 1e-12 * rate
    full = np.einsum("ij,ab->ijab", gram, np.eye(3))
    for other in (max_learning_rate(eigen(gram), reduction="mean", outputs=3), max_learning_rate(full, reduction="mean")):
        assert abs(other - rate) < 1e-12 * rate


def test_a_zero_kernel_has_no_largest_rate():
    assert max_learning_rate(np.zeros((3, 3))) == np.inf


@pytest.mark.parametrize("options", [{"momentum": 1.0}, {"momentum": -0.1}, {"outputs": 0}, {"reduction": "total"}])
def test_rates_of_impossible_descents_are_refused(options):
    with pytest.raises(InputError):
        max_learning_rate(np.eye(2), **options)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("fraction", [0.999, 0.5, 1e-3, 1e-9])
def test_at_the_time_to_a_fraction_the_flow_has_that_loss(linear_model, fraction, reduction):
    model = linear_model()
    options = {"learning_rate": 0.4, "reduction": reduction, "initial": model.initial}
    time = time_to_fraction(model.gram, model.targets, fraction, **options)
    gap = train(model.gram, model.targets, times=time, **options).train[0] - model.targets
    assert abs(np.sum(gap**2) / np.sum((model.initial - model.targets) ** 2) / fraction - 1) < 1e-9


def test_the_time_to_a_fraction_is_where_an_ode_solver_crosses_it(linear_model):
    model = linear_model(outputs=1)
    start = np.sum(model.targets**2)

    def crossed(_, f):
        return np.sum((f - model.targets[:, 0]) ** 2) - 0.05 * start

    crossed.terminal = True
    solved = scipy.integrate.solve_ivp(
        lambda _, f: -model.gram @ (f - model.targets[:, 0]), (0, 1e4), np.zeros(8), events=crossed, method="DOP853", rtol=1e-12, atol=1e-13
    )
    time = time_to_fraction(model.gram, model.targets, 0.05)
    assert abs(time / solved.t_events[0][0] - 1) < 1e-9


def test_a_loss_that_the_null_space_holds_up_is_never_reached():
    gram, targets = np.ones((2, 2)), [3.0, 1.0]  # mean 2 can be fitted, half the difference, 1, cannot: the floor is 1/5
    assert time_to_fraction(gram, targets, 0.19) == np.inf
    assert abs(time_to_fraction(gram, targets, 0.21) - np.log(0.8 / 0.01) / 4) < 1e-12
    assert time_to_fraction(gram, [1.0, -1.0], 0.5) == np.inf


@pytest.mark.parametrize(
    ("gram", "targets", "fraction", "message"),
    [
        (np.eye(2), [1.0, 1.0], 0.0, "fraction"),
        (np.eye(2), [1.0, 1.0], 1.0, "fraction below 1"),
        (np.eye(2), [0.0, 0.0], 0.5, "targets that differ from the initial outputs"),
        (np.diag([1.0, -1.0]), [1.0, 1.0], 0.5, "positive semidefinite gram; got indefinite"),
        (np.eye(2), [1.0, 1.0, 1.0], 0.5, "targets for a gram of 2 rows"),
    ],
)
def test_fractions_that_have_no_time_are_refused(gram, targets, fraction, message):
    with pytest.raises(InputError, match=message):
        time_to_fraction(gram, targets, fraction)


def test_modes_count_once_their_time_constant_has_passed():
    gram, targets = np.diag([0.0, 0.1, 1.0, 10.0]), [5.0, 1.0, 3.0, 1.0]
    for time, count, energy in ((0.0, 0, 0), (0.11, 1, 1), (1.01, 2, 10), (10.1, 3, 11), (np.inf, 3, 11)):
        out = trainable_modes(gram, time, targets=targets)
        assert (out.count, out.size) == (count, 4)
        assert abs(out.energy - energy / 36) < 1e-15


def test_modes_obey_rate_reduction_and_fraction():
    gram = np.diag([1.0, 2.0, 4.0])
    assert trainable_modes(gram, 1.0, fraction=0.1).count == 1
    assert trainable_modes(gram, 1.0, fraction=0.1, learning_rate=2.4).count == 3
    assert trainable_modes(gram, 1.0, fraction=0.1, learning_rate=2.4 * 6, reduction="mean", outputs=2).count == 3
    assert trainable_modes(gram, 1.0, fraction=0.1, learning_rate=2.2 * 6, reduction="mean", outputs=2).count == 2
    assert trainable_modes(gram, 1.0, fraction=0.1, learning_rate=2.2 * 6, reduction="mean", targets=np.ones((3, 2))).count == 2


def test_modes_of_descent_decay_in_steps_and_unstable_ones_never():
    out = trainable_modes(np.diag([0.5, 1.0, 3.0]), 2, dynamics="descent", fraction=0.25, targets=[1.0, 1.0, 1.0], initial=[0.0, 0.0, 0.0])
    assert out.count == 2
    assert "diverges" in out.status
    assert np.isnan(trainable_modes(np.eye(2), 1).energy)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"time": [1.0, 2.0]}, "one time"), ({"fraction": 1.0}, "fraction"), ({"initial": [0.0, 0.0]}, "targets with initial")],
)
def test_questions_without_one_answer_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        trainable_modes(np.eye(2), **{"time": 1.0, **options})

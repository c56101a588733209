import mpmath
import numpy as np
import pytest

from kernelregime._checks import InputError
from kernelregime.prediction.dynamics import rate_of, relax, times_of


def factors(value, time, *, dynamics, rate=1.0, ridge=0.0):
    out = relax(np.array([value]), np.array([time]), rate=rate, dynamics=dynamics, ridge=ridge)
    return out.decay[0, 0], out.weight[0, 0]


@pytest.mark.parametrize("value", [1e-300, 1e-12, 1e-3, 1.0, 50.0])
@pytest.mark.parametrize("time", [0.0, 1e-3, 1.0, 1e6])
def test_flow_factors_have_all_digits(value, time):
    decay, weight = factors(value, time, dynamics="flow", rate=0.7)
    with mpmath.workdps(400):
        mu, t = mpmath.mpf(value), mpmath.mpf(0.7) * mpmath.mpf(time)
        exact = mpmath.exp(-mu * t)
        lag = (1 - exact) / mu
    # exp multiplies the rounding of its exponent, μt(1 ± ε), by μt
    assert abs(decay - float(exact)) <= 4e-16 * max(1, value * 0.7 * time) * float(exact) + 1e-300
    assert abs(weight - float(lag)) <= 1e-15 * float(lag)


@pytest.mark.parametrize("value", [1e-300, 1e-12, 1e-3, 0.3, 0.5, 0.9, 1.0, 1.3, 1.999, 2.0, 2.1])
@pytest.mark.parametrize("steps", [0, 1, 2, 3, 1000])
def test_descent_factors_have_all_digits(value, steps):
    decay, weight = factors(value, float(steps), dynamics="descent")
    with mpmath.workdps(400):
        exact = (1 - mpmath.mpf(value)) ** steps
        lag = (1 - exact) / mpmath.mpf(value)
    assert abs(decay - float(exact)) <= 1e-15 * max(1, steps) * abs(float(exact)) * max(1.0, abs(np.log(abs(1 - value) or 1)))
    assert abs(weight - float(lag)) <= 1e-15 * max(1, steps) * max(abs(float(lag)), 1e-300) * 2


def test_a_billion_steps_are_not_counted_one_by_one():
    decay, weight = factors(1e-9, 1e9, dynamics="descent")
    with mpmath.workdps(50):
        exact = (1 - mpmath.mpf(1e-9)) ** 10**9
        assert abs(decay - float(exact)) < 1e-15
        assert abs(weight / float((1 - exact) / mpmath.mpf(1e-9)) - 1) < 1e-15


@pytest.mark.parametrize("dynamics", ["flow", "descent"])
def test_a_mode_of_zero_eigenvalue_weighs_its_time_and_has_not_moved_at_infinity(dynamics):
    assert factors(0.0, 7.0, dynamics=dynamics, rate=0.5) == (1.0, 3.5)
    assert factors(0.0, np.inf, dynamics=dynamics, rate=0.5) == (1.0, 0.0)


@pytest.mark.parametrize("dynamics", ["flow", "descent"])
def test_a_stable_mode_is_done_at_infinity(dynamics):
    assert factors(0.8, np.inf, dynamics=dynamics) == (0.0, 1.25)
    assert factors(0.0, np.inf, dynamics=dynamics, ridge=0.5) == (0.0, 2.0)


@pytest.mark.parametrize("time", [3.0, 1e9, np.inf])
@pytest.mark.parametrize(("dynamics", "value"), [("flow", -0.5), ("descent", 2.5), ("descent", -0.5)])
def test_unstable_modes_stay_numbers_and_are_marked(dynamics, value, time):
    out = relax(np.array([value]), np.array([time]), rate=1.0, dynamics=dynamics, ridge=0.0)
    assert np.isfinite(out.decay).all()
    assert np.isfinite(out.weight).all()
    assert out.diverged[0] == (time > 3)
    assert "diverges" in out.notes[0]


def test_a_mode_at_the_limit_of_stability_has_no_limit():
    out = relax(np.array([1.0, 2.0]), np.array([4.0, 5.0, np.inf]), rate=1 + 1e-16, dynamics="descent", ridge=0.0)
    assert out.decay[:2, 1].tolist() == [1.0, -1.0]
    assert np.isnan(out.decay[2]).tolist() == [False, True]
    assert "oscillates" in out.notes[0]


def test_the_largest_stable_rate_is_recognized_in_spite_of_rounding():
    for value in np.random.default_rng(0).uniform(0.1, 10, 200):
        for dtype in (np.float32, np.float64):
            mode = np.array([value], dtype)
            out = relax(mode, np.array([np.inf]), rate=2 / float(mode[0]), dynamics="descent", ridge=0.0)
            assert "oscillates" in out.notes[0]
            nearby = relax(mode, np.array([np.inf]), rate=2.0 / value, dynamics="descent", ridge=0.0)
            assert "oscillates" in nearby.notes[0]


def test_kept_and_moved_sum_to_one():
    values = np.array([0.0, 1e-9, 0.3, 4.0])
    for ridge in (0.0, 0.2):
        out = relax(values, np.array([0.0, 0.5, 9.0, np.inf]), rate=0.4, dynamics="flow", ridge=ridge)
        assert np.abs(out.kept + out.moved - 1).max() < 1e-15
        assert np.abs(out.decay + out.moved_penalized - 1).max() < 1e-15


def test_factors_have_the_dtype_of_the_eigenvalues():
    out = relax(np.ones(2, np.float32), np.array([1.0, 1e60, np.inf]), rate=1.0, dynamics="flow", ridge=0.1)
    assert {a.dtype for a in (out.decay, out.weight, out.kept, out.moved, out.moved_penalized)} == {np.dtype(np.float32)}


def test_the_mean_loss_divides_the_rate():
    assert rate_of(0.3, "mean", 21) == 0.3 / 21
    assert rate_of(0.3, "sum", 21) == 0.3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: times_of([-1.0], "flow"), "non-negative"),
        (lambda: times_of([np.nan], "flow"), "non-negative"),
        (lambda: times_of([1.5], "descent"), "whole numbers of steps"),
        (lambda: times_of([[1.0]], "flow"), "0-dimensional or 1-dimensional"),
        (lambda: times_of([], "flow"), "at least one value"),
        (lambda: times_of(1.0, "flows"), "did you mean 'flow'"),
        (lambda: rate_of(0.0, "sum", 1), "learning_rate"),
        (lambda: rate_of(1.0, "men", 1), "did you mean 'mean'"),
    ],
)
def test_times_and_rates_out_of_range_are_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()

"""The rules of the verdict, on evidence made up for them."""

import dataclasses
import math

import numpy as np
import pytest

from kernelregime.claims import Estimate
from kernelregime.diagnosis import Thresholds, verdict
from kernelregime.diagnosis.course import Course, Goal
from kernelregime.results import Evidence

THRESHOLDS = Thresholds()
SEEDS = 5
GROUPS = {"linearization_error": "function space", "drift": "drift", "ntk_relative_std": "randomness"}


def evidence(linearization_error=0.01, drift=0.01, ntk_relative_std=0.01, *, sem=0.001, unexplained=0.1, predicted=None):
    values = {"linearization_error": linearization_error, "drift": drift, "ntk_relative_std": ntk_relative_std}
    sems = sem if isinstance(sem, dict) else dict.fromkeys(values, sem)
    found = [Evidence(key, GROUPS[key], key, Estimate(value, sems[key], SEEDS), role="regime") for key, value in values.items()]
    left = Evidence("unexplained", "conditioning", "left", Estimate(unexplained, 0.01, SEEDS), predicted, "", "trainable")
    return (*found, left)


def goal(reached=True, linear=False, steps=math.nan, limit=math.nan):
    """The same for every seed, or one value for each."""
    return Goal(*(np.broadcast_to(value, SEEDS).copy() for value in (reached, linear, float(steps), limit)))


def course(**changes):
    """Five seeds that stopped after 100 steps at the fastest mode's own rate."""
    plain = Course(
        status=("stopped",) * SEEDS,
        interrupted=False,
        budget=1000,
        taken=np.full(SEEDS, 100),
        time_constants=np.full(SEEDS, 100.0),
        stability=("stable",) * SEEDS,
        excess=np.full(SEEDS, 0.5),
        linear_diverged=np.zeros(SEEDS, bool),
        stop=goal(),
        trained=goal(),
        bound=0.5,
        described=np.ones(SEEDS, bool),
        optimizer="gd",
    )
    return dataclasses.replace(plain, **changes)


def unfinished(**goals):
    return course(status=("finished",) * SEEDS, **{"stop": goal(False), "trained": goal(False)} | goals)


def regime(found=None, went=None):
    return verdict.regime(found or evidence(), went or course(), THRESHOLDS)


def trainable(went, **options):
    return verdict.trainable(evidence(**options), went, THRESHOLDS)


@pytest.mark.parametrize(("key", "bounds"), [("linearization_error", (0.1, 0.3)), ("drift", (0.2, 0.5))])
def test_each_measure_of_change_decides_alone_by_its_two_bounds(key, bounds):
    inside, between, beyond = (regime(evidence(**{key: value}))[0] for value in (0.9 * bounds[0], 0.6 * bounds[1], 1.2 * bounds[1]))
    assert (inside, between, beyond) == ("kernel regime", "near kernel regime", "feature learning")


@pytest.mark.parametrize("size", [0.4, 1.5, 100.0])
@pytest.mark.parametrize("sem", [0.001, math.nan])
def test_randomness_alone_never_argues_for_more_than_near_the_kernel_regime(size, sem):
    name, reasons = regime(evidence(ntk_relative_std=size, sem={"linearization_error": 0.001, "drift": 0.001, "ntk_relative_std": sem}))
    assert name == "near kernel regime"
    assert not any("could also be" in words for words in reasons)


def test_the_worst_criterion_is_named_first():
    name, reasons = regime(evidence(drift=0.9, ntk_relative_std=0.4))
    assert name == "feature learning"
    assert reasons[0].startswith("its NTK changes during training")


@pytest.mark.parametrize(
    ("drift", "expected", "other"),
    [(0.19, "kernel regime", "near kernel regime"), (0.21, "near kernel regime", "kernel regime"), (0.49, "near kernel regime", "feature")],
)
def test_an_interval_that_reaches_one_neighbour_leaves_the_verdict_to_the_mean_and_says_so(drift, expected, other):
    name, reasons = regime(evidence(drift=drift, sem=0.02))
    assert name == expected
    assert reasons[-1].startswith(f"within two standard errors the verdict could also be '{other}")
    assert not any("could also be" in words for words in regime(evidence(drift=drift, sem=0.004))[1])


def test_an_interval_from_the_kernel_regime_to_feature_learning_is_inconclusive():
    name, reasons = regime(evidence(drift=0.35, sem={"linearization_error": 0.001, "drift": 0.1, "ntk_relative_std": 0.001}))
    assert name == "inconclusive"
    assert "more seeds" in reasons[0]


def test_a_seed_that_diverges_at_a_stable_rate_argues_for_feature_learning_and_does_not_train():
    went = course(status=("diverged", *["stopped"] * 4), stop=goal([False, *[True] * 4]), trained=goal([False, *[True] * 4]))
    name, reasons = regime(went=went)
    assert name == "feature learning"
    assert "1 of 5 seeds diverged at a learning rate that is stable while the NTK is constant" in reasons
    assert trainable(dataclasses.replace(went, trained=goal(False), status=("diverged",) * SEEDS))[0] == "untrainable"


def test_a_seed_that_diverges_where_stability_is_not_known_decides_nothing():
    went = course(status=("diverged",) * SEEDS, stability=("unknown",) * SEEDS, excess=np.full(SEEDS, np.nan), optimizer="adam")
    went = dataclasses.replace(went, stop=goal(False), trained=goal(False))
    name, reasons = regime(evidence(drift=5.0), went)
    assert name == "inconclusive"
    assert "not known for adam" in reasons[0]
    assert trainable(went)[0] == "inconclusive"


@pytest.mark.parametrize("linear", [True, False])
def test_a_rate_above_the_stable_one_is_said_even_if_the_networks_did_not_diverge(linear):
    went = course(stability=("beyond",) * SEEDS, excess=np.full(SEEDS, 1.3), linear_diverged=np.full(SEEDS, linear))
    name, reasons = regime(evidence(linearization_error=664.0), went)
    assert name == "inconclusive"
    assert "1.3 times the largest that is stable while the NTK is constant" in reasons[0]
    assert not any("664" in words for words in reasons)
    assert trainable(went)[0] == "trainable"
    assert trainable(dataclasses.replace(went, trained=goal(False)))[0] == "inconclusive"


def test_a_linearization_that_diverges_under_another_optimizer_is_nothing_to_compare_with():
    went = course(stability=("unknown",) * SEEDS, excess=np.full(SEEDS, np.nan), linear_diverged=np.ones(SEEDS, bool), optimizer="adam")
    name, reasons = regime(evidence(linearization_error=9.0), went)
    assert name == "inconclusive"
    assert "linearization of 5 of 5 seeds diverged" in reasons[0]


def test_interrupts_and_too_few_seeds_are_inconclusive():
    assert regime(went=course(interrupted=True))[1][0] == "training was interrupted at step 100 of 1000"
    strict = Thresholds(least_seeds=6)
    assert verdict.regime(evidence(), course(), strict)[0] == "inconclusive"
    assert trainable(dataclasses.replace(unfinished(), interrupted=True))[0] == "inconclusive"


def test_steps_that_the_kernel_calls_too_few_are_inconclusive_with_the_number_it_predicts():
    went = unfinished(stop=goal(False, steps=702), trained=goal(False, steps=120))
    name, reasons = regime(went=went)
    assert name == "inconclusive"
    assert reasons[0].startswith("not enough training: the stop fraction was not reached in 100 steps by 5 of 5 seeds")
    assert "the kernel at initialization predicts about 702 steps" in reasons[0]
    name, reasons = trainable(went)
    assert name == "inconclusive"
    assert "about 120 steps" in reasons[0]


def test_without_a_kernel_that_predicts_the_steps_the_linearization_must_have_arrived():
    name, reasons = regime(went=unfinished())
    assert name == "inconclusive"
    assert "does not say" in reasons[0]
    arrived = unfinished(stop=goal(False, linear=True), trained=goal(False, linear=True))
    assert regime(went=arrived)[0] == "kernel regime"
    assert trainable(arrived)[0] == "untrainable"
    assert "their linearizations do train in these steps" in trainable(arrived)[1]


def test_most_seeds_must_wait_before_the_regime_does():
    three = unfinished(stop=goal([True, True, False, False, False], steps=702))
    assert regime(went=three)[0] == "inconclusive"
    assert regime(went=dataclasses.replace(three, stop=goal([True, True, True, False, False], steps=702)))[0] == "kernel regime"


def test_a_kernel_that_has_changed_for_certain_is_feature_learning_however_few_the_steps():
    waiting = unfinished(stop=goal(False, steps=702))
    assert regime(evidence(drift=0.7, sem=0.05), waiting)[0] == "feature learning"
    assert regime(evidence(drift=0.7, sem=0.11), waiting)[0] == "inconclusive"
    assert regime(evidence(linearization_error=0.7), waiting)[0] == "inconclusive"


def test_many_times_the_steps_of_the_infinite_width_kernel_are_enough():
    assert trainable(unfinished(trained=goal(False, steps=5000, limit=10)))[0] == "untrainable"
    assert trainable(unfinished(trained=goal(False, steps=5000, limit=11)))[0] == "inconclusive"
    assert regime(went=unfinished(stop=goal(False, steps=5000, limit=10)))[0] == "kernel regime"


def test_a_kernel_without_hope_is_untrainable_if_it_describes_the_network_and_training_has_begun():
    hopeless = unfinished(stop=goal(False, steps=1e6), trained=goal(False, steps=1e5))
    assert regime(went=hopeless)[0] == "kernel regime"
    name, reasons = trainable(hopeless)
    assert name == "untrainable"
    assert "the kernel at initialization predicts about 100,000 steps for it" in reasons
    sooner = dataclasses.replace(hopeless, trained=goal(False, steps=0.99e5))
    # learning rate × λ_max is 1 a step; at a tenth of it, ten times the steps are as many time constants
    slower = dataclasses.replace(hopeless, time_constants=np.full(SEEDS, 10.0))
    for went in (sooner, slower, dataclasses.replace(hopeless, described=np.zeros(SEEDS, bool))):
        assert trainable(went)[0] == "inconclusive"
    nearly = dataclasses.replace(hopeless, taken=np.full(SEEDS, 20_000), time_constants=np.full(SEEDS, 20_000.0))
    assert trainable(nearly)[0] == "inconclusive"
    assert trainable(dataclasses.replace(hopeless, trained=goal(False, steps=math.inf)))[0] == "untrainable"


@pytest.mark.parametrize(
    ("passed", "expected"), [(5, "trainable"), (4, "trainable"), (3, "inconclusive"), (2, "inconclusive"), (1, "un"), (0, "un")]
)
def test_four_in_five_seeds_make_a_network_trainable_and_one_in_five_does_not(passed, expected):
    reached = np.arange(SEEDS) < passed
    name, reasons = trainable(unfinished(trained=goal(reached, linear=True)))
    assert name.startswith(expected)
    assert ("it depends on the seed" in reasons) == (name == "inconclusive")


def test_seeds_that_more_steps_may_bring_there_are_counted_neither_way():
    one = np.array([True, False, False, False, False])
    assert trainable(unfinished(trained=goal(False, linear=~one)))[0] == "untrainable"
    two = np.array([True, True, False, False, False])
    name, reasons = trainable(unfinished(trained=goal(False, linear=~two, steps=300)))
    assert name == "inconclusive"
    assert "2 of 5 seeds" in reasons[0]


def test_the_infinite_width_prediction_stands_in_the_reasons_where_seeds_failed():
    went = unfinished(trained=goal(False, linear=True))
    assert any("also predicts this: 0.9" in words for words in trainable(went, unexplained=0.95, predicted=0.9)[1])
    assert any("does not predict this: 0.2" in words for words in trainable(went, unexplained=0.95, predicted=0.2)[1])


def test_the_reasons_name_the_infinite_width_prediction_where_some_seeds_ended_by_the_rule():
    limit = Evidence("unexplained_limit", "conditioning", "left at infinite width", Estimate(0.2, 0.0, 0))
    left = evidence(unexplained=0.95)
    reasons = verdict.trainable((*left, limit), unfinished(trained=goal(False, linear=True)), THRESHOLDS)[1]
    assert any("does not predict this: 0.2" in words for words in reasons)


@pytest.mark.parametrize("sem", [math.nan, 0.001])
def test_a_number_that_is_not_finite_decides_nothing(sem):
    name, reasons = regime(evidence(drift=math.nan, sem=sem))
    assert name == "inconclusive"
    assert "no finite value" in reasons[0]

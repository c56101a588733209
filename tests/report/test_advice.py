import pytest

from kernelregime.report.advice import met, parted

EDGE = "σ_w² = 2 is at the edge of chaos (2)"
STEPS = "steps in which the infinite-width NTK brings the loss on the targets to 0.1: {} at learning rate 0.0016 (used: 60)"
RATE = "largest stable learning rate for Θ_0: {} (median of 5 seeds, 0.00291 to 0.0038); used: 0.00156"
DISPERSION = "width for an NTK dispersion of 1.09 at depth 5: {} (exact; this network has 512)"
ERROR = "width for a linearization error of 0.1 at this depth: about {} (falling like width^-1/2; this network has 512)"


@pytest.mark.parametrize(
    ("sentence", "already"),
    [
        (EDGE, True),
        ("σ_w² at the edge of chaos is 1.761 for tanh with σ_b² = 0.05; this network is above it at 2", False),
        ("no edge of chaos with a stable variance exists for exp at σ_b² = 0", False),
        (DISPERSION.format(154), True),
        (DISPERSION.format(1540), False),
        (ERROR.format(2146), False),
        (RATE.format("0.00313"), True),
        (RATE.format("5e-05"), False),
        (STEPS.format(41), True),
        (STEPS.format(123456), False),
        ("the infinite-width NTK never brings the loss on these targets to 0.1 of its start", False),
        ("something new: 3 (exact; this network has 512)", False),
        ("", False),
    ],
)
def test_a_goal_that_is_reached_is_told_from_one_that_is_not(sentence, already):
    assert met(sentence) is already


def test_all_advice_is_kept_in_its_order():
    todo, already = parted((ERROR.format(2146), EDGE, STEPS.format(99), RATE.format("0.003")))
    assert todo == (ERROR.format(2146), STEPS.format(99))
    assert already == (EDGE, RATE.format("0.003"))

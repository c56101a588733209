import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernelregime.claims import Estimate
from kernelregime.report.quantities import counted, number, percent, power_of_ten, sample, share, with_error

LOWERED = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹−", "-0123456789-")
finite = st.floats(allow_nan=False, allow_infinity=False, min_value=-1e300, max_value=1e300).filter(lambda v: v == 0 or abs(v) > 1e-300)


def parsed(text: str) -> float:
    """The number a reader takes from the text."""
    digits, _, exponent = text.partition(" × 10")
    return float(digits.translate(LOWERED)) * 10.0 ** int(exponent.translate(LOWERED) or 0)


@given(value=finite, digits=st.integers(1, 7))
def test_a_number_is_read_back_to_its_digits(value, digits):
    assert parsed(number(value, digits)) == pytest.approx(value, rel=0.5000001 * 10.0 ** (1 - digits), abs=0)


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (0.0, 3, "0"),
        (12.0, 3, "12"),
        (-0.5, 3, "−0.5"),
        (0.0999999, 3, "0.1"),
        (99999.0, 3, "1 × 10⁵"),
        (1.2345e-7, 3, "1.23 × 10⁻⁷"),
        (math.inf, 3, "∞"),
        (-math.inf, 3, "−∞"),
        (math.nan, 3, "not known"),
    ],
)
def test_numbers_look_as_a_reader_writes_them(value, digits, text):
    assert number(value, digits) == text


@given(mean=finite.filter(lambda v: 1e-200 < abs(v) < 1e200), ratio=st.floats(1e-5, 1e3))
def test_a_mean_is_rounded_where_its_error_is(mean, ratio):
    sem = abs(mean) * ratio
    text = with_error(Estimate(mean, sem, 5))
    inside, _, exponent = text.removeprefix("(").partition(") × 10")
    scale = 10.0 ** int(exponent.translate(LOWERED) or 0)
    shown_mean, shown_sem = (float(part.translate(LOWERED)) * scale for part in inside.split(" ± "))
    assert shown_sem == pytest.approx(sem, rel=0.051)  # two digits
    assert abs(shown_mean - mean) <= 0.0501 * 10.0 ** (math.floor(math.log10(sem * 1.0001)) + 1)


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        (Estimate(0.08341, 0.00123, 5), "0.0834 ± 0.0012"),
        (Estimate(1234.4, 56.7, 5), "1234 ± 57"),
        (Estimate(12344.0, 567.0, 5), "12340 ± 570"),
        (Estimate(1.32e-4, 6.8e-6, 5), "(1.320 ± 0.068) × 10⁻⁴"),
        (Estimate(-0.5, 0.25, 5), "−0.50 ± 0.25"),
        (Estimate(0.0, 0.25, 5), "0.00 ± 0.25"),
        (Estimate(1.0, 1e-9, 5), "1 ± 1 × 10⁻⁹"),
        (Estimate(0.5, math.nan, 1), "0.5"),
        (Estimate(0.5, 0.0, 0), "0.5"),
        (Estimate(math.nan, math.nan, 5), "not known"),
    ],
)
def test_estimates_look_as_a_reader_writes_them(estimate, text):
    assert with_error(estimate) == text


def test_a_computed_number_has_no_sample_and_a_measured_one_says_its_size():
    assert [sample(Estimate(1.0, 0.0, n)) for n in (0, 1)] == ["computed", "computed"]
    assert re.sub(r"\s", " ", sample(Estimate(1.0, math.nan, 1))) == "n = 1"
    assert re.sub(r"\s", " ", sample(Estimate(1.0, 0.0, 5))) == "n = 5"


@pytest.mark.parametrize("exponent", range(-12, 13))
def test_powers_of_ten_on_axes_are_read_back(exponent):
    assert float(power_of_ten(exponent).replace("−", "-")) == pytest.approx(10.0**exponent, rel=1e-12)


def test_per_cent_do_not_break_from_their_number():
    assert percent(0.0871) == "8.7\u00a0%"


def test_counts_have_their_plural():
    assert [counted(n, "class", "classes") for n in (1, 2)] == ["1 class", "2 classes"]
    assert [counted(n, "seed") for n in (0, 1)] == ["0 seeds", "1 seed"]


@pytest.mark.parametrize(
    ("value", "text"), [(0.5, "50\u00a0% of it"), (9.9, "990\u00a0% of it"), (12.0, "12 times it"), (1e9, "more than 10,000 times it")]
)
def test_large_shares_are_multiples(value, text):
    assert share(value, "it") == text

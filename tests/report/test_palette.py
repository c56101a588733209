import itertools

import pytest

from kernelregime.report.palette import COLOURS, DARK, LIGHT, themed, variables


def luminance(colour: str) -> float:
    """Relative luminance of WCAG 2.2."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, two: str) -> float:
    high, low = sorted((luminance(one), luminance(two)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("ground", ["surface", "paper", "sunken"])
def test_text_and_curves_stand_out_from_every_ground(theme, ground):
    weak = {name: contrast(theme[name], theme[ground]) for name in COLOURS if name not in ("paper", "surface", "sunken", "grid")}
    assert {name: value for name, value in weak.items() if value < 4.5} == {}


def test_no_two_light_colours_are_equal_so_that_each_names_its_variable():
    assert all(one != two for one, two in itertools.combinations(LIGHT.values(), 2))


def test_light_colours_become_variables_and_others_stay():
    style = f"fill: {LIGHT['ink'].upper()}; stroke: #123456"
    assert themed(style) == f"fill: var(--ink, {LIGHT['ink']}); stroke: #123456"


def test_both_themes_define_the_same_variables():
    names = [[part.split(":")[0].strip() for part in variables(theme).split(";")] for theme in (LIGHT, DARK)]
    assert names[0] == names[1]

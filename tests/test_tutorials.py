import runpy
from pathlib import Path

import pytest

TUTORIALS = sorted((Path(__file__).parents[1] / "tutorials").glob("*.py"))


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_a_tutorial_is_short_and_runs(path):
    assert len(path.read_text().splitlines()) < 100
    result = runpy.run_path(str(path))["main"]()
    assert result.verdict.regime in ("kernel regime", "near kernel regime", "feature learning")


def test_there_are_tutorials():
    assert TUTORIALS

import re
import shlex
from pathlib import Path

import pytest

from kernelregime import diagnosis
from kernelregime.data import Dataset

QUICKSTART = (Path(__file__).parents[2] / "docs" / "quickstart.md").read_text(encoding="utf-8")


class Asked(BaseException):
    """What a diagnosis is asked for, instead of a diagnosis."""


def test_the_quick_start_asks_for_the_same_diagnosis_in_python_and_on_the_command_line(monkeypatch, answer, tmp_path):
    def ask(network, data, **options):
        raise Asked(network, data if isinstance(data, Dataset) else diagnosis.load(data))

    monkeypatch.setattr(diagnosis, "diagnose", ask)
    code = re.search(r"```python\n(import kernelregime.*?)```", QUICKSTART, re.DOTALL)[1]
    with pytest.raises(Asked) as python:
        exec(code, {})
    line = re.search(r"^kernelregime (diagnose .*) --out ", QUICKSTART, re.MULTILINE)[1]
    with pytest.raises(Asked) as shell:
        answer(*shlex.split(line), "--out", str(tmp_path / "out"))
    assert python.value.args[0] == shell.value.args[0]
    assert python.value.args[1].fingerprint == shell.value.args[1].fingerprint

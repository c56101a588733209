import json
import math

import numpy as np
import pytest

from kernelregime._checks import InputError
from kernelregime.claims import Estimate
from kernelregime.results import SCHEMA, Advice, Diagnosis, Evidence, Verdict


def diagnosis(**changes):
    evidence = (
        Evidence("drift", "drift", "relative change of the NTK", Estimate(0.1, 0.01, 5), 0.12, "source", "regime"),
        Evidence("gap", "function space", "distance to the linearization", Estimate(0.2, math.nan, 1), comment="no theory is known"),
    )
    fields = {
        "verdict": Verdict("kernel regime", "trainable", ("wide",), (Advice("train longer"), Advice("keep σ_w²", satisfied=True))),
        "evidence": evidence,
        "config": {"network": {"depth": 3, "sigma_w2": np.float64(2.0)}, "seeds": (0, 1)},
        "thresholds": {"drift": 0.1},
        "arrays": {"drift": np.arange(6.0).reshape(2, 3), "steps": np.arange(3)},
        "missing": ("no spec",),
        "notes": ("regression",),
        "environment": {"python": "3.11"},
        "seconds": {"train": 1.5},
    }
    return Diagnosis(**{**fields, **changes})


def test_json_and_arrays_hold_all_of_a_diagnosis():
    start = diagnosis()
    text = json.dumps(start.to_json(), allow_nan=False)
    again = Diagnosis.from_json(json.loads(text), start.arrays)
    for name in ("verdict", "thresholds", "missing", "notes", "environment", "seconds"):
        assert getattr(again, name) == getattr(start, name)
    assert again.evidence[0] == start.evidence[0]
    assert again.config == {"network": {"depth": 3, "sigma_w2": 2.0}, "seeds": [0, 1]}
    assert again.to_json() == json.loads(text)


def test_an_unknown_standard_error_stays_unknown():
    again = Diagnosis.from_json(diagnosis().to_json(), {})
    assert math.isnan(again["gap"].measured.sem)
    assert again["gap"].measured.mean == 0.2


def test_numbers_that_are_not_finite_are_null_in_json():
    plain = diagnosis(config={"a": math.inf, "b": [np.float32("nan"), np.int64(3)], "c": np.array([1.0, math.nan])}).to_json()
    assert plain["config"] == {"a": None, "b": [None, 3], "c": [1.0, None]}
    assert plain["arrays"] == {"drift": [2, 3], "steps": [3]}
    assert plain["schema"] == SCHEMA


@pytest.mark.parametrize("schema", [None, "kernelregime.diagnosis/1", "kernelregime.diagnosis/3", "other"])
def test_another_schema_is_refused(schema):
    data = diagnosis().to_json() | {"schema": schema}
    with pytest.raises(InputError, match=f"expected a result with schema {SCHEMA}; got "):
        Diagnosis.from_json(data, {})


def test_evidence_is_found_by_its_key():
    assert diagnosis()["drift"].measured.mean == 0.1
    with pytest.raises(KeyError, match=r"no evidence named 'drif'; there are: drift, gap"):
        diagnosis()["drif"]


def test_evidence_with_a_prediction_is_a_claim():
    found = diagnosis()
    claim = found["drift"].claim
    assert claim is not None
    assert (claim.predicted, claim.measured.mean, claim.verdict) == (0.12, 0.1, "holds")
    assert found["gap"].claim is None

"""Stored results, without JAX: the schema of a diagnosis, its writer and reader, and the record of the environment."""

from kernelregime.results.environment import environment
from kernelregime.results.marks import MAKER, ours
from kernelregime.results.schema import SCHEMA, Advice, Diagnosis, Evidence, Verdict
from kernelregime.results.store import (
    ARRAYS,
    CHECKPOINT,
    REPORT,
    RESULT,
    created,
    folder_for,
    plain_json,
    read,
    save_arrays,
    staged,
    write,
)

__all__ = [
    "ARRAYS",
    "CHECKPOINT",
    "MAKER",
    "REPORT",
    "RESULT",
    "SCHEMA",
    "Advice",
    "Diagnosis",
    "Evidence",
    "Verdict",
    "created",
    "environment",
    "folder_for",
    "ours",
    "plain_json",
    "read",
    "save_arrays",
    "staged",
    "write",
]

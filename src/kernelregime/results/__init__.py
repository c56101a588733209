"""Stored results, without JAX: the schema of a diagnosis, its writer and reader, and the record of the environment."""

from kernelregime.results.environment import environment
from kernelregime.results.schema import SCHEMA, Diagnosis, Evidence, Verdict
from kernelregime.results.store import ARRAYS, CHECKPOINT, REPORT, RESULT, create, folder_for, plain_json, read, write

__all__ = [
    "ARRAYS",
    "CHECKPOINT",
    "REPORT",
    "RESULT",
    "SCHEMA",
    "Diagnosis",
    "Evidence",
    "Verdict",
    "create",
    "environment",
    "folder_for",
    "plain_json",
    "read",
    "write",
]

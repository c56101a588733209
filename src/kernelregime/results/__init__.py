"""Stored results, without JAX: the schema of a diagnosis, its writer and reader, and the record of the environment."""

from kernelregime.results.environment import environment
from kernelregime.results.marks import MAKER, ours
from kernelregime.results.reproduction import REPRODUCTION, Cell, Paper, Reproduction
from kernelregime.results.reproduction import load as load_reproduction
from kernelregime.results.reproduction import store as store_reproduction
from kernelregime.results.schema import SCHEMA, Advice, Diagnosis, Evidence, Verdict, plain
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
    "REPRODUCTION",
    "RESULT",
    "SCHEMA",
    "Advice",
    "Cell",
    "Diagnosis",
    "Evidence",
    "Paper",
    "Reproduction",
    "Verdict",
    "created",
    "environment",
    "folder_for",
    "load_reproduction",
    "ours",
    "plain",
    "plain_json",
    "read",
    "save_arrays",
    "staged",
    "store_reproduction",
    "write",
]

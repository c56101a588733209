"""One writer at a time: a lock file beside a store, held by the operating system for as long as its process lives."""

import fcntl
import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kernelregime._checks import fail


def file_for(store: Path) -> Path:
    """The lock file of a store."""
    return store.with_name(f"{store.name}.lock")


@contextmanager
def held(store: Path) -> Iterator[None]:
    """A context in which no one else writes to `store`; `InputError` if someone does.

    The lock of a process that was killed is free again. Of a process on another machine that cannot be known: it is refused too.
    """
    path = file_for(store)
    descriptor = _taken(path)
    try:
        here = platform.node()
        owner = _owner(descriptor)
        if owner.get("host", here) != here:
            got = f"{path}, held by process {owner.get('pid')} on {owner['host']}"
            raise fail("a store that no one is writing to", got, "wait for it; if that process is gone, remove the lock file")
        _write(descriptor, json.dumps({"pid": os.getpid(), "host": here}))
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def _taken(path: Path) -> int:
    """A descriptor that holds the lock on the file that stands at `path`."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(descriptor).st_ino == path.stat().st_ino:
                return descriptor
        except FileNotFoundError:
            pass  # its last owner has just removed it
        except OSError as error:
            owner = _owner(descriptor)
            os.close(descriptor)
            got = f"{path.with_suffix('')}, written to by process {owner.get('pid', '?')} on {owner.get('host', 'this machine')}"
            raise fail("a store that no one is writing to", got, "wait for it, or name another store") from error
        os.close(descriptor)


def _owner(descriptor: int) -> dict[str, str]:
    try:
        found = json.loads(os.pread(descriptor, 4096, 0) or b"{}")
        return found if isinstance(found, dict) else {}
    except ValueError:
        return {}


def _write(descriptor: int, text: str) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, text.encode(), 0)

"""Ctrl-C: never lost, and the process leaves at once and in order."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any, NoReturn

CODE = 130  # 128 + SIGINT, as shells say it

_seen = threading.Event()  # SIGINT belongs to the process, and so does this


class Interrupted(Exception):  # noqa: N818
    """A command was interrupted; the message says what is kept."""


def _note(number: int, frame: FrameType | None) -> NoReturn:
    _seen.set()
    raise KeyboardInterrupt


@contextlib.contextmanager
def watched() -> Iterator[None]:
    """A context in which an interrupt is remembered even where its exception is lost, as in a callback of the garbage collector."""
    _seen.clear()
    before, hook = signal.getsignal(signal.SIGINT), sys.unraisablehook
    if before is not signal.default_int_handler or threading.current_thread() is not threading.main_thread():
        yield  # ignored, or someone else's
        return

    def quiet(lost: Any) -> None:
        if lost.exc_type is not KeyboardInterrupt:
            hook(lost)

    signal.signal(signal.SIGINT, _note)
    sys.unraisablehook = quiet
    try:
        yield
    finally:
        sys.unraisablehook = hook
        signal.signal(signal.SIGINT, before)


def seen() -> bool:
    """Whether there was an interrupt."""
    return _seen.is_set()


def check() -> None:
    """Raise an interrupt whose exception was lost."""
    if _seen.is_set():
        raise KeyboardInterrupt


def leave() -> NoReturn:
    """End the process now: threads of JAX that still compile would crash an interpreter that shuts down under them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(CODE)

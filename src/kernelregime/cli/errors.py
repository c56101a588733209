"""Every error as one line: what was expected, what came, what to do."""

import difflib
import re
import sys
from typing import Any

import typer

from kernelregime._checks import ALIKE, InputError, RunError, fail

UsageError: type[Any] = typer.BadParameter.__mro__[1]  # of the parser, which typer does not name
_KINDS = (("integer", "an integer"), ("float", "a number"), ("number", "a number"))  # a word of the parser's message, and ours
_ELSEWHERE = {"lr": "learning-rate", "epochs": "steps"}  # what other programs call our options


def usage(error: Any) -> str:
    """An error of the parser in the words of this package."""
    command = error.ctx.command_path if error.ctx is not None else "kernelregime"
    message = " ".join(error.format_message().split())
    told = (
        _unknown_option(error, command)
        or _unknown_command(error, message)
        or _bad_value(error, message)
        or _stray(message, command)
        or _without_value(error, message)
    )
    return told or str(fail(f"arguments as {command} takes them", message.rstrip("."), f"see {command} --help"))


def failure(error: BaseException) -> str | None:
    """What to tell of an error that is not ours to debug; None for one that is."""
    if isinstance(error, (InputError, RunError)):
        return " ".join(str(error).split())
    if isinstance(error, OSError):
        got = f"{error.strerror or error} ({error.filename})" if error.filename else str(error)
        return str(fail("files that can be read and written", got, "check the path, its permissions and the disk"))
    text = " ".join(str(error).split())
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "RESOURCE_EXHAUSTED" in text):
        got = text.removeprefix("RESOURCE_EXHAUSTED: ")[:120] or "none left"
        return str(fail("a run that fits into the memory", got.replace(";", ","), "ask for fewer points, a smaller network or fewer seeds"))
    return None


def _nearest(name: str, choices: list[str], otherwise: str) -> str:
    bare = {choice.lstrip("-"): choice for choice in choices}  # hyphens make all options alike
    wanted = name.lstrip("-").lower()
    near = difflib.get_close_matches(_ELSEWHERE.get(wanted, wanted), bare, n=1, cutoff=ALIKE)
    return f"did you mean {bare[near[0]]}?" if near else otherwise


def _unknown_option(error: Any, command: str) -> str | None:
    if type(error).__name__ != "NoSuchOption":
        return None
    known = [name for param in error.ctx.command.params for name in param.opts if name.startswith("--")]
    return str(fail(f"an option of {command}", error.option_name, _nearest(error.option_name, known, f"see {command} --help")))


def _unknown_command(error: Any, message: str) -> str | None:
    found = re.search(r"No such command '(.*?)'", message)
    if found is None:
        return None
    known = sorted(error.ctx.command.commands)
    return str(fail(f"one of the commands {', '.join(known)}", repr(found[1]), _nearest(found[1], known, "see kernelregime --help")))


def _bad_value(error: Any, message: str) -> str | None:
    param = getattr(error, "param", None)
    kind = next((ours for theirs, ours in _KINDS if theirs in message), None)
    if param is None or kind is None:
        return None
    return str(fail(f"{param.opts[0]} to be {kind}", repr(_given(param.opts[0])), f"give {kind}"))


def _given(option: str) -> str:
    """The last value given to an option on the command line."""
    found = ""
    for word, following in zip(sys.argv, [*sys.argv[1:], ""], strict=True):
        if word == option:
            found = following
        elif word.startswith(f"{option}="):
            found = word.partition("=")[2]
    return found


def _stray(message: str, command: str) -> str | None:
    found = re.search(r"unexpected extra argument(?:s|\(s\))? \((.*)\)", message)
    return None if found is None else str(fail(f"only options after {command}", repr(found[1]), f"see {command} --help"))


def _without_value(error: Any, message: str) -> str | None:
    option = getattr(error, "option_name", None)
    if option is None:
        return None
    if "does not take a value" in message:
        return str(fail(f"{option} without a value", "one", f"write {option} alone"))
    return str(fail(f"a value after {option}", "none", "give one"))

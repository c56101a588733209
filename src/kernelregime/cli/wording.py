"""The library's messages in the words of the command line: options by their flags, and no advice that only Python can follow."""

import re
from collections.abc import Iterable, Mapping

# what a message offers beyond the options of the command line, and what it says there
_CLAUSES = (
    (", or None for full-batch steps", ", or leave --batch-size out"),
    ("got None;", "got none;"),
    (", or leave the class out with classes=", ""),
    ("drop classes=, or ", ""),
    ("folder=..., or the environment", "the environment"),
    (", or use data.from_arrays", ""),
    ("use infinite.kernel or infinite.gram", "use `kernelregime kernel`, or another --activation"),
    ("declare its kinks, or use", "use"),
    ("check the params and the scale of the data", "lower --sigma-w2, or check the scale of the data"),
    ("look for overflow in f, or a point where f has no derivative (a norm or root at 0)", "lower --sigma-w2 or --depth"),
    ("overwrite=True", "--overwrite"),
    ("resume=True", "--resume"),
    ('use target coding "one-hot"', "use --target-coding one-hot"),
)
_OVERFLOW = re.compile(r"expected gram to be finite; (.*); remove or impute them")
# names with an underscore are options wherever they stand alone; other words only where a message begins with them, or with a value
_ALONE = r"(?<![\w./'\"-]){name}(?![\w./'\"=])"
_FIRST = r"(?<=expected ){name}(?= (?:to be|of at|below|\())"
_GIVEN = r"(?<![\w./'\"-]){name}=(?:(['\"])([^'\"]*)\1|(\w[\w.-]*)|(?=[\s;,)]|$))"


def in_flags(message: str, options: Mapping[str, str]) -> str:
    """`message` on one line, with the names of `options` (Python's name: flag) replaced by flags."""
    text = " ".join(message.split())
    for clause, instead in _CLAUSES:
        text = text.replace(clause, instead)
    text = _OVERFLOW.sub(r"expected a finite kernel; \1; lower --sigma-w2 or --depth, or choose another --activation", text)
    for name, written in options.items():
        for found in reversed(list(re.finditer(_GIVEN.format(name=name), text))):
            value = found[2] or found[3]
            text = text[: found.start()] + (f"{written} {value}" if value else written) + text[found.end() :]
        text = re.sub((_ALONE if "_" in name else _FIRST).format(name=name), written, text)
    return text


def flag(name: str) -> str:
    """The flag of an option: its name with hyphens."""
    return f"--{name.replace('_', '-')}"


def flags(names: Iterable[str]) -> dict[str, str]:
    """The flags of options by their names."""
    return {name: flag(name) for name in names}

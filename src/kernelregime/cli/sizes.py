"""Bytes as a user writes them."""

import re

from kernelregime._checks import fail

UNITS = {"": 1, "b": 1} | {
    f"{letter}{middle}b": base**k for k, letter in enumerate("kmgt", 1) for middle, base in (("", 1000), ("i", 1024))
}


def parsed(text: str | None) -> int | None:
    """A number of bytes written as 2000000000, 2GB or 512MiB; None stays None."""
    if text is None:
        return None
    match = re.fullmatch(r"\s*(\d+\.?\d*|\.\d+)\s*([a-z]*)\s*", text, re.IGNORECASE)
    size = None if match is None or match[2].lower() not in UNITS else float(match[1]) * UNITS[match[2].lower()]
    if size is None or not 1 <= size < 2**63:
        raise fail("--memory as a number of bytes, at least 1", repr(text), "write it as 2000000000, 2GB or 512MiB")
    return int(size)

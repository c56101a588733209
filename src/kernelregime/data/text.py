"""Text as words: integer tokens over a vocabulary ordered by frequency."""

import itertools
import os
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Int32, Int64

from kernelregime._checks import fail, integer, one_of, real
from kernelregime.data.dataset import fingerprint
from kernelregime.data.download import obtain
from kernelregime.data.payload import BROKEN, named_folder, plain
from kernelregime.data.published import TEXTS, spelled

HELD_OUT = 0.1
UNKNOWN = ("drop", "mark")
MARK = "<unk>"


@dataclass(frozen=True)
class Words:
    """Words as positions in a vocabulary.

    `train` (N,), `test` (M,): tokens in the order of the text, test after train. `vocabulary` (V words) and `counts` (V,), the number of
    times each occurs in train: falling, so that token 0 is the most frequent word. `fingerprint`: SHA-256 of tokens and vocabulary.
    """

    train: Int32[np.ndarray, "N"] = field(repr=False)
    test: Int32[np.ndarray, "M"] = field(repr=False)
    vocabulary: tuple[str, ...] = field(repr=False)
    counts: Int64[np.ndarray, "V"] = field(repr=False)
    name: str
    fingerprint: str


def words(
    name_or_path: str | os.PathLike[str],
    *,
    vocabulary: int | None = None,
    length: int | None = None,
    held_out: float = HELD_OUT,
    unknown: str = "drop",
    folder: str | os.PathLike[str] | None = None,
) -> Words:
    """A text as integer tokens, its vocabulary ordered by frequency, the last part held out.

    `name_or_path`: "text8" (10⁸ letters of Wikipedia; Mahoney 2006), from `folder`, from the folder that the environment variable
    KERNELREGIME_DATA names, or downloaded as in `load`; or the path of a text file in UTF-8 (plain, .gz, or alone in a .zip), or the
    name of one in the folder, without .txt. A word is a run of letters, in lower case; all else separates words.

    `vocabulary`: keep the most frequent words of the train part, so many (None: all of them; ties by the alphabet). `unknown`: what
    becomes of other words: "drop" (the words around become neighbours, as in the code of word2vec; Mikolov et al. 2013), or "mark":
    they become one more word, `<unk>`, the last of the vocabulary. `length`: use only the first so many words of the text. `held_out`:
    the part of the words, at the end of the text, that makes the test tokens.

    Returns: `Words`. Raises: `InputError` for an unknown name (with the nearest), a text that is not UTF-8 or too short, and more words
    asked for than there are.
    """
    one_of("unknown", unknown, UNKNOWN)
    fraction = real("held_out", held_out, above=0, most=0.9)
    name, text = _text(os.fspath(name_or_path), folder)
    ids, found = _numbered(text, None if length is None else integer("length", length, least=2))
    if length is not None and len(ids) < length:
        raise fail(f"length of at most {len(ids)}, the words of {name}", length, "ask for fewer, or drop length=")
    cut = len(ids) - max(1, int(fraction * len(ids)))
    if cut < 1:
        raise fail("a text of at least two words", f"{len(ids)} in {name}", "give a longer text")
    return _ranked(name, ids, found, cut, vocabulary, unknown == "mark")


def _numbered(text: str, length: int | None) -> tuple[np.ndarray, list[str]]:
    """Words as numbers by first appearance, and the words in that order; one at a time, since text8 has 17 million."""
    letters = r"[a-z]+" if text.isascii() else r"[^\W\d_]+"
    found: defaultdict[str, int] = defaultdict()
    found.default_factory = found.__len__
    each: Iterator[str] = (match.group() for match in re.finditer(letters, text.lower()))
    ids = np.fromiter(map(found.__getitem__, itertools.islice(each, length)), np.int32)
    return ids, list(found)


def _ranked(name: str, ids: np.ndarray, found: list[str], cut: int, vocabulary: int | None, mark: bool) -> Words:
    """Tokens by frequency in `ids[:cut]`."""
    counts = np.bincount(ids[:cut], minlength=len(found))
    distinct = int((counts > 0).sum())
    size = distinct if vocabulary is None else integer("vocabulary", vocabulary)
    if size > distinct:
        raise fail(f"vocabulary of at most {distinct}, the different words of {name}'s train part", size, "ask for fewer")
    order = np.lexsort((np.asarray(found), -counts))[:size]
    token = np.full(len(found), size if mark else -1, dtype=np.int32)
    token[order] = np.arange(size)
    tokens = token[ids]
    train, test = (part[part >= 0] for part in (tokens[:cut], tokens[cut:]))
    if not len(test):
        do = "ask for a larger vocabulary, or unknown='mark'"
        raise fail("held-out words that are in the vocabulary", f"none of {len(ids) - cut} in {name}", do)
    kept = (*(found[i] for i in order), *([MARK] if mark else []))
    times = np.bincount(train, minlength=len(kept)).astype(np.int64)
    return Words(train, test, kept, times, name, fingerprint(train=train, test=test, vocabulary=np.asarray(kept)))


def _text(name: str, folder: str | os.PathLike[str] | None) -> tuple[str, str]:
    """The name of a text, and the text."""
    known = spelled(name)
    if known in TEXTS:
        found = obtain(TEXTS[known], folder)
        return (found.stem, _decoded(found)) if isinstance(found, Path) else (known, found[known].decode("ascii"))
    place = named_folder(folder)
    inside = [place / name, place / f"{name}.txt"] if place else []
    for path in [*inside, Path(name)] if folder is not None else [Path(name), *inside]:
        if path.is_file():
            return path.stem, _decoded(path)
    if Path(name).suffix or os.path.dirname(name):
        raise fail("an existing text file", name, "check the path")
    one_of("text", name, [*TEXTS, *(path.stem for path in (place.glob("*.txt") if place else []))])
    raise AssertionError(name)  # one_of raised, or the name was found above


def _decoded(path: Path) -> str:
    try:
        return plain(path).decode("utf-8-sig")
    except (*BROKEN, UnicodeDecodeError) as error:
        raise fail("a readable text file in UTF-8", f"{path} ({type(error).__name__})", "save it as UTF-8") from None

"""The files of a published data set: out of the folder that the user names, or out of the cache."""

import gzip
import hashlib
import os
import tarfile
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from kernelregime._checks import fail
from kernelregime.data.published import IMAGES, Archive, Published

VARIABLE = "KERNELREGIME_DATA"
LARGEST = 2**28  # bytes of a file when uncompressed, against archives that blow up; text8 has 10^8
BROKEN = (OSError, EOFError, zlib.error, tarfile.TarError, zipfile.BadZipFile, RuntimeError, ValueError)


class DamagedError(Exception):
    """A file that is not what it should be; the message says what it is instead."""


def named_folder(folder: str | os.PathLike[str] | None) -> Path | None:
    """The folder that the user names: by the argument, else by the environment variable KERNELREGIME_DATA, else None."""
    named = os.fspath(folder) if folder is not None else os.environ.get(VARIABLE)
    if not named and folder is None:
        return None
    path = Path(named or "").expanduser()
    if not named or not path.is_dir():
        what, do = ("folder", "name an existing folder") if folder is not None else (VARIABLE, "correct or unset it")
        raise fail(f"{what} to be a folder", repr(named), do)
    return path


def in_folder(published: Published, folder: Path) -> Mapping[str, bytes] | Path | None:
    """The files of a data set by name, or the path of a file that stands for it, or None where the folder has neither.

    Raises: `InputError` if some of the files are missing, and if one is damaged or another data set's.
    """
    some: tuple[Path, set[str]] | None = None
    for place in (folder / inner for inner in published.folders):
        held = [(path, archive) for archive in published.archives for path in _sources(place, archive)]
        missing = set(published.payload) - {name for path, archive in held for name in _offered(path, archive)}
        if not missing:
            return _read(published, held)
        some = some or ((place, missing) if held else None)
    if some is not None:
        place, missing = some
        got = f"no {', '.join(sorted(missing))}"
        raise fail(f"all {len(published.payload)} files of {published.name} in {place}", got, "add what is missing")
    return next((folder / name for name in published.stand_ins if (folder / name).is_file()), None)


def _sources(place: Path, archive: Archive) -> list[Path]:
    """Where the files of an archive are in a folder: one by one, plain or .gz, else in the archive."""
    found = [path for name in archive.payload for path in [_first(place, _spellings(name))] if path]
    whole = _first(place, [archive.name])
    return found if len(found) == len(archive.payload) or whole is None else [whole]


def _spellings(name: str) -> list[str]:
    names = dict.fromkeys([name, name.replace("-idx", ".idx")])
    return [f"{each}{ending}" for each in names for ending in ("", ".gz")]


def _first(place: Path, names: list[str]) -> Path | None:
    return next((place / name for name in names if (place / name).is_file()), None)


def _offered(path: Path, archive: Archive) -> list[str]:
    """The files of `archive` that `path` gives: one of them, or all if it is the archive itself."""
    one = [name for name in archive.payload if path.name in _spellings(name)]
    return one or list(archive.payload)


def _read(published: Published, held: list[tuple[Path, Archive]]) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for path, archive in held:
        names = _offered(path, archive)
        try:
            files |= unpacked(path, {name: archive.payload[name] for name in names})
        except DamagedError as error:
            do = f"replace it by the official file, or put {published.name} into {path.parent / published.folders[0]}"
            raise fail(f"the official {published.name} in {path}", error, do) from None
    return files


def unpacked(path: Path, payload: Mapping[str, str]) -> dict[str, bytes]:
    """The files in an archive (or the one file that is gzipped or plain), each with the SHA-256 that `payload` states.

    Raises: `DamagedError` for an archive that breaks off or is none, and for files of another hash.
    """
    try:
        files = _tarred(path, payload) if path.name.endswith(".tar.gz") else {name: plain(path) for name in payload}
    except BROKEN as error:
        raise DamagedError(f"a file that breaks off or is no archive ({_reason(error)})") from None
    for name, content in files.items():
        _verify(name, content, payload[name])
    return files


def plain(path: Path) -> bytes:
    """The contents of one file: of a .zip the only file in it; uncompressed if gzipped, whatever its name (servers may unpack)."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            (name,) = archive.namelist()
            with archive.open(name) as file:
                return _bounded(file)
    with path.open("rb") as raw:
        gzipped = raw.read(2) == b"\x1f\x8b"
    with gzip.open(path) if gzipped else path.open("rb") as opened:
        return _bounded(opened)


def _tarred(path: Path, names: Mapping[str, str]) -> dict[str, bytes]:
    """Regular members by the last part of their name; nothing is written to disk."""
    found: dict[str, bytes] = {}
    with tarfile.open(path, "r:*") as archive:
        for member in archive:
            name = member.name.rsplit("/", 1)[-1]
            if member.isreg() and name in names:
                file = archive.extractfile(member)
                assert file is not None
                found[name] = _bounded(file)
    absent = sorted(set(names) - set(found))
    if absent:
        raise OSError(f"no {absent[0]} in it")
    return found


def _bounded(file: IO[bytes] | gzip.GzipFile) -> bytes:
    content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise OSError(f"more than {LARGEST} bytes")
    return content


def _verify(name: str, content: bytes, digest: str) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found == digest:
        return
    owner = [other for other, images in IMAGES.items() if images.published.payload.get(name) == found]
    whose = f" (it is {owner[0]}'s)" if owner else ""
    raise DamagedError(f"{name} of {len(content)} bytes with SHA-256 {found[:12]}… where {digest[:12]}… is the official one's{whose}")


def _reason(error: BaseException) -> str:
    text = str(error.args[0] if error.args else "").split("\n")[0][:100]
    return text or type(error).__name__

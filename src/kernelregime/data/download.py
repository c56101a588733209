"""Published data sets from their sites, kept uncompressed in the user's cache folder and checked by hash each time they are read."""

import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from kernelregime._checks import fail
from kernelregime.data.payload import VARIABLE, DamagedError, in_folder, named_folder, unpacked
from kernelregime.data.published import Archive, Published

PATIENCE = 30  # seconds without an answer, pooch's own default


def obtain(published: Published, folder: str | os.PathLike[str] | None) -> Mapping[str, bytes] | Path:
    """The files of a data set by name, or the path of a file that stands for it.

    From `folder` and nowhere else; without it, from the folder that KERNELREGIME_DATA names, from the cache, or from its site.
    Raises: `InputError` if they are in none of these.
    """
    place = named_folder(folder)
    found = in_folder(published, place) if place is not None else None
    if found is None and folder is not None:
        do = f"put {_archives(published)} there, or one of {', '.join(published.stand_ins)}, or drop folder= to download"
        raise fail(f"{published.name} in {place}", "none of its files", do)
    return cached(published) if found is None else found


def cached(published: Published) -> dict[str, bytes]:
    """The files of a data set, out of the cache; those that are not there, or damaged, are downloaded first.

    Raises: `InputError` if they cannot be had.
    """
    folder = cache_folder() / published.name
    files: dict[str, bytes] = {}
    for archive in published.archives:
        files |= _kept(folder, archive) or _downloaded(folder, archive, published)
    return files


def cache_folder() -> Path:
    """Where downloads are kept: the user's cache folder on this system ($XDG_CACHE_HOME/kernelregime or ~/.cache/kernelregime on Linux)."""
    import pooch  # here and below: most users never download

    return Path(pooch.os_cache("kernelregime"))


def _kept(folder: Path, archive: Archive) -> dict[str, bytes] | None:
    try:
        return {name: unpacked(folder / name, {name: digest})[name] for name, digest in archive.payload.items()}
    except DamagedError:  # or absent
        return None


def _downloaded(folder: Path, archive: Archive, published: Published) -> dict[str, bytes]:
    """The files of one archive: from the first address that gives them whole, and into the cache, each in one step."""
    failures: list[str] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="partial-", dir=folder) as scratch:
            for url in archive.urls:
                files = _attempt(url, Path(scratch) / archive.name, archive, failures)
                if files is not None:
                    _keep(folder, Path(scratch), files)
                    return files
    except OSError as error:
        do = "set XDG_CACHE_HOME to a folder with space that can be written to"
        raise fail(f"a cache folder for {published.name}", f"{folder} ({error.strerror or error})", do) from None
    do = f"name a folder that holds {_archives(published)}: folder=..., or the environment variable {VARIABLE}"
    raise fail(f"{published.name} from a folder or its site", ", ".join(failures), do)


def _archives(published: Published) -> str:
    return f"{', '.join(archive.name for archive in published.archives)} (or what is in it)"


def _attempt(url: str, path: Path, archive: Archive, failures: list[str]) -> dict[str, bytes] | None:
    host = urlsplit(url).netloc
    failure = transfer(url, path)
    if failure is None:
        try:
            return unpacked(path, archive.payload)
        except DamagedError as error:
            failure = f"{error} from"
    failures.append(f"{failure} {host}")
    return None


def _keep(folder: Path, scratch: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        whole = scratch / f"{name}.whole"
        whole.write_bytes(content)
        os.replace(whole, folder / name)


def transfer(url: str, path: Path) -> str | None:
    """Writes what is at `url` to `path`; says what went wrong, or returns None. On a terminal a bar shows how far it is."""
    import pooch
    import requests

    try:
        with _bar(path.name) as bar:
            pooch.HTTPDownloader(progressbar=bar, chunk_size=2**16, timeout=PATIENCE)(url, str(path), None)
    except requests.HTTPError as error:
        return f"HTTP {getattr(error.response, 'status_code', 'error')} from"
    except requests.Timeout:
        return "no answer from"
    except requests.ConnectionError:
        return "no connection to"
    except requests.RequestException:
        return "a transfer that broke off from"
    return None


@contextmanager
def _bar(what: str) -> Iterator[Any]:
    """A progress bar for pooch on standard error if that is a terminal, else False."""
    if not sys.stderr.isatty():
        yield False
        return
    from rich import progress
    from rich.console import Console

    columns = progress.TextColumn("{task.description}"), progress.BarColumn(), progress.DownloadColumn(), progress.TimeRemainingColumn()
    with progress.Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        yield _Bar(shown, shown.add_task(what, total=None))


class _Bar:
    """What pooch calls on a progress bar, passed on to rich."""

    def __init__(self, shown: Any, task: Any) -> None:
        self.total = 0  # pooch sets it
        self._shown: Final = shown
        self._task: Final = task

    def update(self, count: int) -> None:
        """`count` more bytes have come."""
        self._shown.update(self._task, total=self.total or None, advance=count)

    def reset(self) -> None:
        """Back to none."""
        self._shown.reset(self._task)

    def close(self) -> None:
        """The bar goes when the transfer ends."""

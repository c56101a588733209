"""Small made data sets in the official formats, a server on this machine that offers them, and an empty cache."""

import gzip
import hashlib
import io
import pickle
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import numpy as np
import pytest

from kernelregime.data import download, images, published


def idx(values):
    return bytes([0, 0, 8, values.ndim]) + np.asarray(values.shape, ">u4").tobytes() + values.tobytes()


class Python2Pickler(pickle._Pickler):
    """Writes text, byte strings and truth values as Python 2 and NumPy 1 wrote them: strings are bytes, and 0 and 1 are flags."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_string(self, value):
        raw = value.encode() if isinstance(value, str) else value
        self.write((b"U" + bytes([len(raw)]) if len(raw) < 256 else b"T" + len(raw).to_bytes(4, "little")) + raw)

    def save_bool(self, value):
        self.write(b"K" + bytes([value]))

    dispatch |= {bytes: save_string, str: save_string, bool: save_bool}


def batch(data, labels):
    """A CIFAR-10 batch in the form of the official ones."""
    out = io.BytesIO()
    Python2Pickler(out, protocol=2).dump(
        {b"data": data, b"labels": labels, b"batch_label": b"made", b"filenames": [b"a.png"] * len(labels)}
    )
    return out.getvalue().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


def tarred(files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return out.getvalue()


def digests(files):
    return {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}


class Site(ThreadingHTTPServer):
    """Offers `files` (path → contents); `asked` lists what was fetched; a path in `cut` breaks off half way, one in `unpacks` is sent
    as servers do that call gzip an encoding.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answer)
        self.files, self.asked, self.cut, self.unpacks = {}, [], set(), set()
        self.url = f"http://127.0.0.1:{self.server_port}/"


class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        path, site = self.path[1:], self.server
        site.asked.append(path)
        if path not in site.files:
            self.send_error(404)
            return
        content = site.files[path]
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        if path in site.unpacks:
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if path in site.cut else content)

    def log_message(self, *args):
        pass


@pytest.fixture
def site():
    with Site() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache folder in the place of the user's."""
    folder = tmp_path / "cache"
    monkeypatch.setattr(download, "cache_folder", lambda: folder)
    return folder


@pytest.fixture
def unnamed(monkeypatch):
    monkeypatch.delenv("KERNELREGIME_DATA", raising=False)


class Made:
    """A made data set in the place of a published one: its files, and the images (height, width, channels) and labels in them."""

    def __init__(self, files, x, labels, train):
        self.files, self.x, self.labels, self.train = files, x, labels, train


@pytest.fixture
def mnist(site, monkeypatch, unnamed):
    """30 train and 20 test images of 3 x 2 pixels in IDX files, three of every class in train."""
    rng = np.random.default_rng(5)
    x = rng.integers(0, 256, (50, 3, 2), dtype=np.uint8)
    labels = (np.arange(50) % 10).astype(np.uint8)
    files = {
        "train-images-idx3-ubyte": idx(x[:30]),
        "train-labels-idx1-ubyte": idx(labels[:30]),
        "t10k-images-idx3-ubyte": idx(x[30:]),
        "t10k-labels-idx1-ubyte": idx(labels[30:]),
    }
    site.files |= {f"{folder}{name}.gz": gzip.compress(content) for name, content in files.items() for folder in ("one/", "two/")}
    archives = published._one_by_one([f"{site.url}one/", f"{site.url}two/"], digests(files))
    record = published.Published("mnist", archives, published.MNIST.folders, published.MNIST.stand_ins)
    monkeypatch.setitem(published.IMAGES, "mnist", published.Images(record, (3, 2, 1), images.read_idx))
    return Made(files, x[..., None], labels, 30)


@pytest.fixture
def cifar10(site, monkeypatch, unnamed):
    """Ten train images a batch and ten test images of 32 x 32 pixels in pickled batches."""
    rng = np.random.default_rng(6)
    x = rng.integers(0, 256, (60, 32, 32, 3), dtype=np.uint8)
    labels = np.arange(60) % 10
    rows = np.ascontiguousarray(x.transpose(0, 3, 1, 2)).reshape(60, 3072)
    names = [*published.CIFAR10.payload]
    files = {name: batch(rows[i : i + 10], labels[i : i + 10].tolist()) for name, i in zip(names, range(0, 60, 10))}
    site.files["cifar-10-python.tar.gz"] = tarred(files)
    archive = published.Archive("cifar-10-python.tar.gz", (f"{site.url}cifar-10-python.tar.gz",), digests(files))
    record = published.Published("cifar10", (archive,), published.CIFAR10.folders, published.CIFAR10.stand_ins)
    monkeypatch.setitem(published.IMAGES, "cifar10", published.Images(record, (32, 32, 3), images.read_cifar))
    return Made(files, x, labels, 50)

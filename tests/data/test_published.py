"""Published data sets out of a folder, a cache or a site."""

import gzip
import io
import os
import re
import socket
import sys
from pathlib import Path

import numpy as np
import pytest

from kernelregime import data
from kernelregime._checks import InputError
from kernelregime.data import download, published

SHARED = os.environ.get("KERNELREGIME_DATA", "")
shared = pytest.mark.skipif(not Path(SHARED or "/nowhere").is_dir(), reason="KERNELREGIME_DATA names no folder with the image data sets")
FASHION = Path("/usr/share/datasets/fashion-mnist")  # where Debian's dataset-fashion-mnist puts the official files


def place(folder, files, *, packed=False, spell=str):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / (spell(name) + ".gz" * packed)).write_bytes(gzip.compress(content) if packed else content)


def same_images(found, made):
    """Every image of `found` is in `made`, in its part and with its label; test is whole and in order."""
    x = made.x / 255
    np.testing.assert_array_equal(found.x_test, x[made.train :])
    np.testing.assert_array_equal(found.labels_test, made.labels[made.train :])
    index = [int(np.flatnonzero((x == row).all((1, 2, 3)))[0]) for row in found.x_train]
    assert sorted(index) == list(range(made.train))
    np.testing.assert_array_equal(found.labels_train, made.labels[index])


def refused(call, *patterns):
    with pytest.raises(InputError) as caught:
        call()
    message = str(caught.value)
    assert re.fullmatch(r"expected [^\n]+; got [^\n]+; [^\n]+", message)
    for pattern in patterns:
        assert re.search(pattern, message), message


@pytest.mark.parametrize("inner", published.MNIST.folders)
@pytest.mark.parametrize("packed", [False, True])
def test_official_files_are_found_in_every_documented_place_packed_or_not(mnist, tmp_path, inner, packed):
    place(tmp_path / "mine" / inner, mnist.files, packed=packed)
    found = data.load("mnist", folder=tmp_path / "mine", scaling="none", flat=False)
    assert (found.name, found.classes) == ("mnist", tuple(range(10)))
    same_images(found, mnist)


def test_official_files_are_found_with_a_dot_in_their_names(mnist, tmp_path):
    place(tmp_path / "mine", mnist.files, spell=lambda name: name.replace("-idx", ".idx"))
    same_images(data.load("mnist", folder=tmp_path / "mine", scaling="none", flat=False), mnist)


def test_images_are_rows_unless_asked_for_in_their_shape(mnist, tmp_path):
    place(tmp_path / "mine", mnist.files)
    rows, shaped = (data.load("mnist", folder=tmp_path / "mine", flat=flat, points_train=20) for flat in (True, False))
    assert rows.x_train.shape == (20, 6)
    assert shaped.x_train.shape == (20, 3, 2, 1)
    np.testing.assert_array_equal(shaped.x_train.reshape(20, 6), rows.x_train)
    np.testing.assert_array_equal(shaped.x_test.reshape(20, 6), rows.x_test)


def test_classes_and_points_are_chosen_as_for_any_data_set(mnist, tmp_path):
    place(tmp_path / "mine", mnist.files)
    found = data.load("mnist", folder=tmp_path / "mine", classes=[2, 7], points_train=4, points_test=2)
    assert found.classes == (2, 7)
    np.testing.assert_array_equal(np.bincount(found.labels_train), [2, 2])
    np.testing.assert_array_equal(np.bincount(found.labels_test), [1, 1])


def test_the_folder_may_be_named_by_the_environment_and_the_argument_goes_first(mnist, site, tmp_path, monkeypatch):
    place(tmp_path / "mine", mnist.files)
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("KERNELREGIME_DATA", str(tmp_path / "mine"))
    same_images(data.load("mnist", scaling="none", flat=False), mnist)
    refused(
        lambda: data.load("mnist", folder=tmp_path / "empty"), "mnist in .*empty; got none of its files", r"train-images-idx3-ubyte\.gz"
    )
    assert not site.asked


def test_a_file_stands_for_the_data_set_and_says_so_but_official_files_go_first(mnist, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    np.savez(folder / "mnist_subset.npz", images=mnist.x[..., 0], labels=mnist.labels, train_idx=np.arange(30), test_idx=np.arange(30, 50))
    found = data.load("mnist", folder=folder, scaling="none", flat=False)
    assert found.name == "mnist_subset"
    same_images(found, mnist)
    place(folder, mnist.files)
    assert data.load("mnist", folder=folder).name == "mnist"


@pytest.mark.parametrize(
    ("spoil", "patterns"),
    [
        (lambda content: content[:-1] + b"\0", ["with SHA-256 .* is the official one's", "replace it"]),
        (lambda content: gzip.compress(content)[:-9], ["breaks off"]),
        (lambda content: b"\x1f\x8b" + content, ["breaks off or is no archive"]),
        (lambda content: b"", ["0 bytes"]),
    ],
)
def test_a_damaged_file_in_the_folder_is_refused(mnist, tmp_path, spoil, patterns):
    place(tmp_path / "mine", {**mnist.files, "t10k-images-idx3-ubyte": spoil(mnist.files["t10k-images-idx3-ubyte"])})
    refused(lambda: data.load("mnist", folder=tmp_path / "mine"), "official mnist in .*t10k-images-idx3-ubyte", *patterns)


def test_a_folder_with_some_of_the_files_is_refused_with_those_that_are_missing(mnist, tmp_path):
    place(tmp_path / "mine", {name: content for name, content in mnist.files.items() if "labels" not in name})
    refused(lambda: data.load("mnist", folder=tmp_path / "mine"), "all 4 files", "no t10k-labels-idx1-ubyte, train-labels-idx1-ubyte")


def test_files_of_another_data_set_under_the_same_names_are_told_apart(mnist, tmp_path):
    place(tmp_path / "mine", mnist.files)
    refused(lambda: data.load("fashion-mnist", folder=tmp_path / "mine"), "it is mnist's", "put fashion-mnist into .*mine/fashion-mnist")
    place(tmp_path / "mine" / "mnist", mnist.files)
    place(tmp_path / "mine", {"train-images-idx3-ubyte": b""})
    same_images(data.load("mnist", folder=tmp_path / "mine", scaling="none", flat=False), mnist)


def test_a_folder_that_is_none_is_refused(mnist, monkeypatch):
    refused(lambda: data.load("mnist", folder="/nowhere/at/all"), "folder to be a folder")
    monkeypatch.setenv("KERNELREGIME_DATA", "/nowhere/at/all")
    refused(lambda: data.load("mnist"), "KERNELREGIME_DATA to be a folder", "unset it")


def test_a_download_is_made_once(mnist, site, cache, capfd):
    same_images(data.load("mnist", scaling="none", flat=False), mnist)
    assert sorted(site.asked) == sorted(f"one/{name}.gz" for name in mnist.files)
    assert {path.name: path.read_bytes() for path in (cache / "mnist").iterdir()} == mnist.files
    same_images(data.load("mnist", scaling="none", flat=False), mnist)
    assert len(site.asked) == 4
    assert capfd.readouterr() == ("", "")


def test_a_damaged_file_in_the_cache_is_downloaded_again_alone(mnist, site, cache):
    data.load("mnist")
    site.asked.clear()
    (cache / "mnist" / "train-labels-idx1-ubyte").write_bytes(b"damaged")
    same_images(data.load("mnist", scaling="none", flat=False), mnist)
    assert site.asked == ["one/train-labels-idx1-ubyte.gz"]


def test_the_cache_is_used_where_the_named_folder_has_no_such_data(mnist, site, tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("KERNELREGIME_DATA", str(tmp_path / "empty"))
    same_images(data.load("mnist", scaling="none", flat=False), mnist)
    assert len(site.asked) == 4


NAME = "one/train-images-idx3-ubyte.gz"


def _garble(site):
    site.files[NAME] = gzip.compress(b"not the images")


def _page(site):
    site.files[NAME] = b"<html>log in to the hotel's network</html>"


def _cut(site):
    site.cut.add(NAME)


def _short(site):
    site.files[NAME] = site.files[NAME][:-20]


def _absent(site):
    del site.files[NAME]


@pytest.mark.parametrize("harm", [_garble, _page, _cut, _short, _absent])
def test_a_transfer_that_fails_is_made_up_for_by_the_next_address(mnist, site, harm):
    harm(site)
    same_images(data.load("mnist", scaling="none", flat=False), mnist)
    assert site.asked[:2] == [NAME, NAME.replace("one", "two")]


@pytest.mark.parametrize(
    ("harm", "pattern"),
    [(_garble, "SHA-256"), (_page, "SHA-256"), (_cut, "broke off"), (_short, "breaks off"), (_absent, "HTTP 404 from 127.0.0.1")],
)
def test_a_transfer_that_fails_everywhere_is_one_line_and_leaves_nothing_behind(mnist, site, cache, harm, pattern):
    for name in [name for name in site.files if name.startswith("two/")]:
        del site.files[name]
    harm(site)
    refused(lambda: data.load("mnist"), pattern, "KERNELREGIME_DATA", r"train-images-idx3-ubyte\.gz")
    assert list((cache / "mnist").iterdir()) == []


def test_a_server_that_unpacks_on_the_way_is_understood(mnist, site):
    site.unpacks |= set(site.files)
    same_images(data.load("mnist", scaling="none", flat=False), mnist)


def test_without_a_network_one_line_says_what_to_do(mnist, site, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{free.getsockname()[1]}/"
    archives = published._one_by_one([closed], published.IMAGES["mnist"].published.payload)
    record = published.Published("mnist", archives, ("",), ())
    monkeypatch.setitem(published.IMAGES, "mnist", published.Images(record, (3, 2, 1), published.read_idx))
    refused(lambda: data.load("mnist"), "got no connection to 127.0.0.1", "name a folder that holds .*: folder=..., or .*KERNELREGIME_DATA")


def test_a_cache_that_cannot_be_written_is_one_line(mnist, cache):
    cache.write_text("a file in its place")
    refused(lambda: data.load("mnist"), "a cache folder for mnist", "XDG_CACHE_HOME")


def test_a_bar_is_shown_on_a_terminal_only(mnist, monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    data.load("mnist")
    assert "train-images-idx3-ubyte.gz" in terminal.getvalue()


def test_the_cache_lies_in_the_users_cache_folder(monkeypatch, tmp_path):
    monkeypatch.undo()  # of the cache that the other tests see
    assert download.cache_folder().name == "kernelregime"


@pytest.mark.parametrize("inner", published.CIFAR10.folders)
def test_cifar10_is_read_from_its_batches(cifar10, tmp_path, inner):
    place(tmp_path / "mine" / inner, cifar10.files)
    same_images(data.load("cifar10", folder=tmp_path / "mine", scaling="none", flat=False), cifar10)


@pytest.mark.parametrize("inner", ["", "cifar10"])
def test_cifar10_is_read_from_its_archive_even_beside_some_of_its_batches(cifar10, site, tmp_path, inner):
    place(tmp_path / "mine" / inner, {"cifar-10-python.tar.gz": site.files["cifar-10-python.tar.gz"], "data_batch_1": b""})
    same_images(data.load("CIFAR-10", folder=tmp_path / "mine", scaling="none", flat=False), cifar10)


def test_cifar10_is_downloaded_once_and_rows_are_in_the_order_of_its_images(cifar10, site, cache):
    shaped, rows = (data.load("cifar10", scaling="none", flat=flat) for flat in (False, True))
    same_images(shaped, cifar10)
    np.testing.assert_array_equal(rows.x_train, shaped.x_train.reshape(50, 3072))
    assert site.asked == ["cifar-10-python.tar.gz"]
    assert sorted(path.name for path in (cache / "cifar10").iterdir()) == sorted(cifar10.files)


@pytest.mark.parametrize("harm", [lambda content: content[: len(content) // 2], lambda content: b"no archive"])
def test_a_damaged_archive_is_refused(cifar10, site, tmp_path, harm):
    place(tmp_path / "mine", {"cifar-10-python.tar.gz": harm(site.files["cifar-10-python.tar.gz"])})
    refused(lambda: data.load("cifar10", folder=tmp_path / "mine"), "breaks off or is no archive")


@pytest.mark.parametrize("name", ["MNIST", "Mnist", "fashion_mnist", "FashionMNIST", "cifar-10", "CIFAR10"])
def test_names_are_understood_in_their_usual_spellings(name, tmp_path):
    refused(lambda: data.load(name, folder=tmp_path), "(mnist|fashion-mnist|cifar10) in ")


def test_every_published_file_has_a_hash_and_an_address():
    for record in [*(images.published for images in published.IMAGES.values()), *published.TEXTS.values()]:
        assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in record.payload.values())
        assert all(url.endswith(f"/{archive.name}") for archive in record.archives for url in archive.urls)
    assert set(published.MNIST.payload) == set(published.FASHION_MNIST.payload)


@shared
@pytest.mark.parametrize(("name", "shape"), [("mnist", (28, 28, 1)), ("fashion-mnist", (28, 28, 1)), ("cifar10", (32, 32, 3))])
def test_a_subset_stands_for_its_data_set(name, shape):
    whole = data.load(name, folder=SHARED, points_train=20, points_test=10, scaling="none", flat=False)
    part = data.load(f"{name.replace('-', '_')}_subset", folder=SHARED, points_train=20, points_test=10, scaling="none")
    assert whole.x_train.shape == (20, *shape)
    np.testing.assert_array_equal(whole.x_train.reshape(20, -1), part.x_train)


@pytest.mark.skipif(not FASHION.is_dir(), reason=f"no official Fashion-MNIST in {FASHION}")
def test_the_official_fashion_mnist_is_read_whole():
    found = data.load("fashion-mnist", folder=FASHION, scaling="none")
    np.testing.assert_array_equal(np.bincount(found.labels_train), np.full(10, 6000))
    np.testing.assert_array_equal(np.bincount(found.labels_test), np.full(10, 1000))


@shared
@pytest.mark.skipif(not FASHION.is_dir(), reason=f"no official Fashion-MNIST in {FASHION}")
def test_the_fashion_mnist_subset_is_part_of_the_official_one():
    whole = data.load("fashion-mnist", folder=FASHION, scaling="none")
    part = data.load("fashion_mnist_subset", folder=SHARED, scaling="none")
    for side in ("train", "test"):
        known = {row.tobytes(): label for row, label in zip(getattr(whole, f"x_{side}"), getattr(whole, f"labels_{side}"))}
        assert [known[row.tobytes()] for row in getattr(part, f"x_{side}")] == getattr(part, f"labels_{side}").tolist()

"""Data sets that others publish: the files of each, where their site offers them, and the SHA-256 of every file, uncompressed.

The hashes are of the uncompressed files because mirrors compress anew. docs/data.md says how each was checked.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from kernelregime.data.images import read_cifar, read_idx


@dataclass(frozen=True)
class Archive:
    """One file as its site offers it: its name, its addresses (tried in turn), and what is in it (file name → SHA-256)."""

    name: str
    urls: tuple[str, ...]
    payload: Mapping[str, str]


@dataclass(frozen=True)
class Published:
    """A data set: its archives, the folders where they may lie below one that the user names, and the files that may stand for it there."""

    name: str
    archives: tuple[Archive, ...]
    folders: tuple[str, ...]
    stand_ins: tuple[str, ...]

    @property
    def payload(self) -> dict[str, str]:
        """Every file of the data set with its SHA-256."""
        return {name: digest for archive in self.archives for name, digest in archive.payload.items()}


@dataclass(frozen=True)
class Images:
    """A published set of images, the shape of one (height, width, channels), and how its files become rows, labels and train points.

    `read`: file name → contents, to bytes (N, d) in the order height, width, channels, with labels (N,), train first; and their number.
    """

    published: Published
    shape: tuple[int, int, int]
    read: Callable[[Mapping[str, bytes]], tuple[np.ndarray, np.ndarray, int]]


def _one_by_one(sites: Iterable[str], hashes: Mapping[str, str]) -> tuple[Archive, ...]:
    """Files that a site offers one by one, each compressed by gzip."""
    places = tuple(sites)
    return tuple(Archive(f"{name}.gz", tuple(f"{site}{name}.gz" for site in places), {name: digest}) for name, digest in hashes.items())


def _tables(*stems: str) -> tuple[str, ...]:
    return tuple(f"{stem}{ending}" for stem in stems for ending in (".npz", ".csv"))


MNIST = Published(
    "mnist",
    _one_by_one(
        ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/"),
        {
            "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        },
    ),
    folders=("mnist", "MNIST", "MNIST/raw", ""),
    stand_ins=_tables("mnist", "mnist_subset"),
)
FASHION_MNIST = Published(
    "fashion-mnist",
    _one_by_one(
        ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
        {
            "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        },
    ),
    folders=("fashion-mnist", "fashion_mnist", "FashionMNIST", "FashionMNIST/raw", ""),
    stand_ins=_tables("fashion-mnist", "fashion_mnist", "fashion_mnist_subset"),
)
CIFAR10 = Published(
    "cifar10",
    (
        Archive(
            "cifar-10-python.tar.gz",
            ("https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",),
            {
                "data_batch_1": "54636561a3ce25bd3e19253c6b0d8538147b0ae398331ac4a2d86c6d987368cd",
                "data_batch_2": "766b2cef9fbc745cf056b3152224f7cf77163b330ea9a15f9392beb8b89bc5a8",
                "data_batch_3": "0f00d98ebfb30b3ec0ad19f9756dc2630b89003e10525f5e148445e82aa6a1f9",
                "data_batch_4": "3f7bb240661948b8f4d53e36ec720d8306f5668bd0071dcb4e6c947f78e9682b",
                "data_batch_5": "d91802434d8376bbaeeadf58a737e3a1b12ac839077e931237e0dcd43adcb154",
                "test_batch": "f53d8d457504f7cff4ea9e021afcf0e0ad8e24a91f3fc42091b8adef61157831",
            },
        ),
    ),
    folders=("cifar-10-batches-py", "cifar10", "cifar10/cifar-10-batches-py", ""),
    stand_ins=_tables("cifar10", "cifar-10", "cifar10_subset"),
)
TEXT8 = Published(
    "text8",
    (
        Archive(
            "text8.zip",
            ("http://mattmahoney.net/dc/text8.zip",),
            {"text8": "6e890197040d37d85beb962ae1f041ff1d9a9ca8d20c7d99c85027eebf51dca7"},
        ),
    ),
    folders=("text8", ""),
    stand_ins=("text8.txt", "text_wiki_text8like.txt"),
)
IMAGES: dict[str, Images] = {
    MNIST.name: Images(MNIST, (28, 28, 1), read_idx),
    FASHION_MNIST.name: Images(FASHION_MNIST, (28, 28, 1), read_idx),
    CIFAR10.name: Images(CIFAR10, (32, 32, 3), read_cifar),
}
TEXTS: dict[str, Published] = {TEXT8.name: TEXT8}


def spelled(name: str) -> str:
    """The name of the published data set that is meant (fashion_mnist, CIFAR-10, ...), or `name` itself."""
    plain = {key.replace("-", ""): key for key in (*IMAGES, *TEXTS)}
    return plain.get(name.lower().replace("-", "").replace("_", ""), name)

"""Images in the formats they are published in: IDX files (MNIST and its kin) and pickled batches (CIFAR-10)."""

import io
import pickle
from collections.abc import Mapping
from typing import Any

import numpy as np


def read_idx(files: Mapping[str, bytes]) -> tuple[np.ndarray, np.ndarray, int]:
    """Rows (N, height·width) of bytes and labels (N,), train first, and the number of train points.

    The format is described at the foot of the MNIST page (LeCun, Cortes, Burges): two zero bytes, the type (8 is unsigned bytes), the
    number of dimensions, each of them in four bytes, the largest first, and the values.
    """
    train, test = (_pair(files, part) for part in ("train", "t10k"))
    x, y = (np.concatenate(both) for both in zip(train, test))
    return x.reshape(len(x), -1), y.astype(np.int64), len(train[0])


def _pair(files: Mapping[str, bytes], part: str) -> tuple[np.ndarray, np.ndarray]:
    images, labels = _array(files[f"{part}-images-idx3-ubyte"]), _array(files[f"{part}-labels-idx1-ubyte"])
    assert images.ndim == 3
    assert labels.shape == images.shape[:1]
    return images, labels


def _array(content: bytes) -> np.ndarray:
    assert content[:3] == b"\0\0\x08"
    shape = np.frombuffer(content, ">u4", content[3], 4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * len(shape)).reshape(tuple(shape.tolist()))


def read_cifar(files: Mapping[str, bytes]) -> tuple[np.ndarray, np.ndarray, int]:
    """Rows (N, 32·32·3) of bytes in the order height, width, channels, and labels (N,), train first, and the number of train points.

    A batch is a pickled dict; its "data" are rows in the order channels, height, width (Krizhevsky 2009, the data set's page).
    """
    batches = [_batch(files[name]) for name in sorted(files)]  # data_batch_1 to 5, then test_batch
    x, y = (np.concatenate(parts) for parts in zip(*batches))
    return x, y, len(x) - len(batches[-1][0])


def _batch(content: bytes) -> tuple[np.ndarray, np.ndarray]:
    held = _Arrays(io.BytesIO(content), encoding="bytes").load()
    data, labels = np.asarray(held[b"data"]), np.asarray(held[b"labels"], dtype=np.int64)
    assert data.dtype == np.uint8
    assert data.shape == (len(labels), 3072)
    return np.ascontiguousarray(data.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)).reshape(-1, 3072), labels


def _dtype(code: Any, align: Any = False, copy: Any = False) -> np.dtype:
    return np.dtype(code, bool(align), bool(copy))  # Python 2 wrote 0 and 1


class _Arrays(pickle.Unpickler):
    """Builds arrays, strings, numbers, lists and dicts, and refuses whatever else a pickle may call."""

    def find_class(self, module: str, name: str) -> Any:
        """What a pickle may call: what arrays are made of, in the names of NumPy 1 and 2."""
        known = {
            ("multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): _dtype,
        }
        plain = module.removeprefix("numpy.core.").removeprefix("numpy._core.")
        if (plain, name) not in known:
            raise pickle.UnpicklingError(f"{module}.{name} is not part of an array")
        return known[plain, name]

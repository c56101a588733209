"""MNIST as the experiments of this paper take it: few points, smaller images, one output."""

import math

import numpy as np

from kernelregime import data

SIDE = 28


def images(train: int, test: int, *, side: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Train points (train, side²), their targets (train, 1), 1 for even digits and -1 for odd, and test points (test, side²); |x|² = n_0.

    `train`: a multiple of ten, as many of each digit. `side`: a divisor of 28; a pixel is the mean of a square of the image.
    """
    found = data.load("mnist", points_train=train, points_test=test, scaling="none", seed=seed, flat=False)
    assert found.labels_train is not None
    block = SIDE // side

    def pooled(x: np.ndarray) -> np.ndarray:
        flat = x.reshape(len(x), side, block, side, block).mean(axis=(2, 4)).reshape(len(x), -1)
        return np.asarray(math.sqrt(side * side) * flat / np.linalg.norm(flat, axis=1, keepdims=True))

    digits = np.array([int(found.classes[label]) for label in found.labels_train])
    return pooled(found.x_train), np.where(digits % 2 == 0, 1.0, -1.0)[:, None], pooled(found.x_test)

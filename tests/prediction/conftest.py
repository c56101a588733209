from types import SimpleNamespace

import numpy as np
import pytest


@pytest.fixture
def linear_model():
    """A linear model f(θ) = f_0 + J(θ - θ_0) on 8 train and 5 test points, 3 outputs: its kernels are exact Jacobian products."""

    def build(*, points=8, tests=5, outputs=3, features=20, seed=0):
        rng = np.random.default_rng(seed)
        jacobian = rng.normal(size=(points + tests, features)) / np.sqrt(features)
        kernel = jacobian @ jacobian.T
        return SimpleNamespace(
            jacobian=jacobian[:points],
            jacobian_test=jacobian[points:],
            gram=kernel[:points, :points],
            cross=kernel[points:, :points],
            test=kernel[points:, points:],
            targets=rng.normal(size=(points, outputs)),
            initial=rng.normal(size=(points, outputs)),
            initial_test=rng.normal(size=(tests, outputs)),
        )

    return build

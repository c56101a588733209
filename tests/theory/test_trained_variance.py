"""The variance after training, against the exact law of an ensemble."""

import numpy as np
import pytest

from kernelregime import prediction
from kernelregime._checks import InputError
from kernelregime.prediction import Blocks
from kernelregime.theory import trained_variance


@pytest.mark.parametrize("samples", [1, 2, 7])
@pytest.mark.parametrize(("q", "pair", "ratio"), [(2.0, 0.5, 3.0), (1.0, 0.9, 1.2), (1.0, 0.0, 40.0)])
def test_it_is_exact_where_all_pairs_are_alike(samples, q, pair, ratio):
    def block(own, other):
        matrix = np.full((samples + 1, samples + 1), other) + (own - other) * np.eye(samples + 1)
        return Blocks(matrix[1:, 1:], matrix[:1, 1:], matrix[:1, :1])

    exact = prediction.ensemble(block(ratio, 1.0), block(q, pair), np.zeros((samples, 1)), times=np.inf)
    found = trained_variance(q=q, q_pair=pair, kappa_ratio=ratio, samples=samples)
    np.testing.assert_allclose(found, exact.variance[0, 0], rtol=1e-10)


def test_networks_whose_kernel_tells_no_inputs_apart_keep_what_tells_their_outputs_apart():
    np.testing.assert_allclose(trained_variance(q=1.0, q_pair=0.6, kappa_ratio=1.0, samples=5), 0.4 * 1.2)


def test_bad_input_is_refused():
    with pytest.raises(InputError):
        trained_variance(q=1.0, q_pair=0.5, kappa_ratio=2.0, samples=0)

"""The formats of published images."""

import pickle

import numpy as np
import pytest

from kernelregime.data import images


class Call:
    def __reduce__(self):
        return print, ("called",)


def test_idx_files_are_read_by_their_header():
    content = bytes.fromhex("00000803 00000002 00000001 00000003") + bytes([1, 2, 3, 4, 5, 255])
    np.testing.assert_array_equal(images._array(content), [[[1, 2, 3]], [[4, 5, 255]]])


@pytest.mark.parametrize("value", [Call(), print, np.array([Call()], dtype=object), {b"data": [Call()]}])
def test_a_pickle_that_calls_something_is_refused(value, capsys):
    with pytest.raises(pickle.UnpicklingError, match="not part of an array"):
        images._batch(pickle.dumps(value))
    assert capsys.readouterr().out == ""

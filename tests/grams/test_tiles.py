import math
import threading

import numpy as np
import pytest

from kernelregime import grams
from kernelregime._checks import InputError
from kernelregime.grams import Block, Output, Problem
from kernelregime.grams.tiles import LARGEST_TILE, tile_side

PROBLEM = ("outputs", "dtype", "bytes_per_pair", "bytes_per_point")
RNG = np.random.default_rng(0)


def assemble(tile, n1, n2=None, *, threads=1, **options):
    problem = Problem(tile, n1, n2, **{name: options.pop(name) for name in PROBLEM if name in options})
    return grams.assemble(problem, workers=threads, **options)


def whole_numbers(n):
    """Points whose products are exact, so that the order of summation does not matter."""
    return RNG.integers(-9, 10, size=(n, 2)).astype(float)


def pairs(first, second, calls=None):
    """A pair function with a scalar part and an unsymmetric 2×2 part that transposes when the points are exchanged."""

    def tile(rows, columns):
        if calls is not None:
            calls.append((rows, columns))
        a, b = first[rows], second[columns]
        full = np.einsum("io,jp->ijop", a, b[:, ::-1] ** 2) + np.einsum("io,jp->ijop", a[:, ::-1] ** 2, b)
        return Block({"dot": a @ b.T, "full": np.einsum("ijop->ijop", full)})

    return tile


SYMMETRIC = {"dot": Output(), "full": Output(tail=(2, 2), mirror=(1, 0, 3, 2))}


def test_a_budget_is_a_number_of_bytes_in_any_notation():
    assert grams.memory_budget(1e9) == grams.memory_budget(10**9) == 1_000_000_000
    for wrong in (0, float("nan"), "2GB", True):
        with pytest.raises(InputError, match=r"memory \(bytes\) to be a finite number, at least 1"):
            grams.memory_budget(wrong)


@pytest.mark.parametrize("memory", [8 * 6, 8 * 30, 8 * 1000, None])
@pytest.mark.parametrize(("n1", "n2"), [(7, 5), (1, 9), (4, 4)])
def test_any_budget_gives_the_same_rectangular_matrices(memory, n1, n2):
    x, y = whole_numbers(n1), whole_numbers(n2)
    found = assemble(pairs(x, y), n1, n2, outputs=SYMMETRIC, dtype=np.float64, bytes_per_pair=8 * 5, memory=memory).matrices
    whole = pairs(x, y)(slice(None), slice(None)).matrices
    for name, expected in whole.items():
        np.testing.assert_allclose(found[name], expected, rtol=0, atol=1e-14)  # a product of another shape rounds differently


@pytest.mark.parametrize("each", [8 * 6, 8 * 60, 8 * 1000])
@pytest.mark.parametrize("threads", [1, 3])
def test_symmetric_matrices_are_mirrored_with_their_trailing_axes(each, threads):
    x = whole_numbers(9)

    def symmetric(rows, columns):
        a, b = x[rows], x[columns]
        return Block({"dot": a @ b.T, "full": np.einsum("io,jp->ijop", a, b)})

    found = assemble(
        symmetric, 9, outputs=SYMMETRIC, dtype=np.float64, bytes_per_pair=8 * 5, memory=each * threads, threads=threads
    ).matrices
    np.testing.assert_array_equal(found["dot"], x @ x.T)
    np.testing.assert_array_equal(found["full"], np.einsum("io,jp->ijop", x, x))


def test_only_the_lower_tiles_are_computed_when_symmetric():
    x, calls = whole_numbers(10), []
    assemble(pairs(x, x, calls), 10, outputs=SYMMETRIC, dtype=np.float64, bytes_per_pair=1.0, memory=9)
    assert len(calls) == 10  # 4 × 4 tiles of side 3
    assert all(columns.start <= rows.start for rows, columns in calls)
    assert max(rows.stop for rows, _ in calls) == 10


def test_a_tile_stays_within_the_budget_including_what_points_cost():
    for memory in (100, 1000, 54321):
        for points in (3, 50, 127, 1000):
            side = tile_side(points, bytes_per_pair=3.0, bytes_per_point=11.0, memory=memory)
            assert 3 * side**2 + 22 * side <= memory


def test_there_are_as_few_tiles_as_the_budget_allows_and_of_even_size():
    for points in (3, 50, 127, 1000):
        side = tile_side(points, bytes_per_pair=3.0, bytes_per_point=11.0, memory=1000)
        tiles = math.ceil(points / side)
        if tiles > 1:
            fewer = math.ceil(points / (tiles - 1))
            assert 3 * fewer**2 + 22 * fewer > 1000
        assert side - (points - (tiles - 1) * side) < tiles  # the last one is narrower by less than one row a tile


@pytest.mark.parametrize(("most", "side"), [(15, 15), (16, 16), (17, 16), (18, 18), (31, 31), (34, 32), (50, 48), (500, 496)])
def test_rows_of_a_little_more_than_whole_vectors_are_cut_to_whole_ones(most, side):
    assert tile_side(100 * most, bytes_per_pair=1.0, bytes_per_point=0.0, memory=most**2) == side
    assert tile_side(most, bytes_per_pair=1.0, bytes_per_point=0.0, memory=most**2) == most


def test_a_tile_is_never_larger_than_the_points_or_the_largest_useful_one():
    assert tile_side(10, bytes_per_pair=1.0, bytes_per_point=0.0, memory=10**9) == 10
    assert tile_side(10**6, bytes_per_pair=1.0, bytes_per_point=0.0, memory=10**12) <= LARGEST_TILE
    assert tile_side(10**6, bytes_per_pair=0.0, bytes_per_point=1.0, memory=20) == 10


def test_threads_share_the_budget():
    sizes = []

    def tile(rows, columns):
        sizes.append((rows.stop - rows.start) * (columns.stop - columns.start))
        return Block({"k": np.ones((rows.stop - rows.start, columns.stop - columns.start))})

    assemble(tile, 8, 8, outputs={"k": Output()}, dtype=np.float64, bytes_per_pair=8.0, memory=8 * 32, threads=2)
    assert max(sizes) <= 16


def test_threads_compute_at_the_same_time():
    both = threading.Barrier(2, timeout=30)

    def tile(rows, columns):
        both.wait()
        return Block({"k": np.zeros((1, 1))})

    assemble(tile, 1, 2, outputs={"k": Output()}, dtype=np.float64, bytes_per_pair=8.0, memory=16, threads=2)


def test_a_budget_too_small_for_one_pair_says_what_is_needed():
    with pytest.raises(
        InputError, match=r"a memory budget of at least 60 bytes \(one pair of points\); got 59 bytes; give a larger memory="
    ):
        assemble(
            pairs(whole_numbers(3), whole_numbers(3)),
            3,
            3,
            outputs=SYMMETRIC,
            dtype=np.float64,
            bytes_per_pair=40.0,
            bytes_per_point=10.0,
            memory=59,
        )


def test_progress_counts_every_tile_in_order():
    seen = []
    x = whole_numbers(5)
    assemble(pairs(x, x), 5, 5, outputs=SYMMETRIC, dtype=np.float64, bytes_per_pair=1.0, memory=4, progress=lambda *step: seen.append(step))
    assert seen == [(i + 1, 9) for i in range(9)]


def test_a_tile_of_the_wrong_precision_cannot_enter_the_result():
    def tile(rows, columns):
        return Block({"k": np.ones((1, 1), np.float32)})

    with pytest.raises(RuntimeError, match="internal: a float32 tile under a float64 request"):
        assemble(tile, 1, 1, outputs={"k": Output()}, dtype=np.float64, bytes_per_pair=8.0)


def test_an_error_in_a_worker_thread_reaches_the_caller():
    def tile(rows, columns):
        raise InputError("expected a; got b; do c")

    with pytest.raises(InputError, match="expected a"):
        assemble(tile, 3, 3, outputs={"k": Output()}, dtype=np.float64, bytes_per_pair=8.0, memory=32, threads=2)


def test_the_default_budget_is_a_stated_fraction_of_the_free_memory():
    free = grams.free_memory()
    assert 2**20 < free < 2**50
    assert 0.3 * free < grams.memory_budget(None) < 0.7 * free
    assert grams.memory_budget(123) == 123

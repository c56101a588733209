import pytest

from kernelregime._checks import InputError
from kernelregime.cli import sizes


@pytest.mark.parametrize(
    ("text", "size"),
    [
        (None, None),
        ("10", 10),
        ("2GB", 2 * 10**9),
        ("512MiB", 512 * 2**20),
        ("1.5 kb", 1500),
        ("1e", 0),
        ("0", 0),
        ("-1", 0),
        ("GB", 0),
        ("1gib", 2**30),
        ("9999999TB", 0),
    ],
)
def test_bytes_are_read_as_they_are_written(text, size):
    if size == 0:
        with pytest.raises(InputError, match="expected --memory as a number of bytes"):
            sizes.parsed(text)
    else:
        assert sizes.parsed(text) == size


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--width", "1000000000"], "lower --width"),
        (["--width", "10" * 30], "lower --width"),
        (["--seeds", "100000000"], "lower --width, --depth or --seeds"),
        (["--depth", "9999", "--width", "20000"], "--depth"),
        (["--depth", "1000000000"], "expected --depth of at most 10,000"),
        (["--points-train", "1000000000"], "ask for fewer points"),
        (["--points-test", "10000000"], "ask for fewer points"),
        (["--memory", "4kB"], "expected a run that fits into 4 kB (the budget of --memory)"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_allocated(refused, quick, tmp_path, arguments, words):
    assert words in refused("diagnose", *quick, *arguments, "--out", str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_the_kernel_of_too_many_points_is_refused(refused, tmp_path):
    line = refused("kernel", "--data", "sphere", "--points", "100000000", "--out", str(tmp_path / "out"))
    assert "got 4.80e+05 TB for kernels of 100,000,000 × 100,000,000 points; ask for fewer points, or raise --memory" in line


@pytest.mark.parametrize(
    "arguments",
    [
        ["diagnose", "--sigma-w2", "1e300"],
        ["diagnose", "--sigma-b2", "1e300"],
        ["diagnose", "--learning-rate", "1e300"],
        ["diagnose", "--learning-rate", "1e-300"],
        ["diagnose", "--learning-rate-fraction", "1e-300"],
        ["kernel", "--sigma-w2", "inf"],
        ["phase", "--sigma-w2", "1e300"],
        ["phase", "--q1", "1e300"],
    ],
)
def test_numbers_with_which_nothing_can_be_computed_are_refused(refused, arguments, tmp_path):
    out = [] if arguments[0] == "phase" else ["--out", str(tmp_path / "out")]
    assert f"expected {arguments[1]} to be a finite number" in refused(*arguments, *out)


@pytest.mark.parametrize("command", ["diagnose", "kernel"])
def test_a_seed_is_a_number_that_keys_are_made_from(refused, command, tmp_path):
    assert "expected --seed of at most 2147483646" in refused(command, "--seed", "10" * 20, "--out", str(tmp_path / "out"))


@pytest.mark.parametrize("command", ["diagnose", "kernel"])
def test_what_overflows_on_the_way_is_one_line(refused, command, quick, tmp_path):
    options = quick if command == "diagnose" else ["--data", "sphere", "--points", "8", "--quiet"]
    line = refused(command, *options, "--activation", "leaky_relu(alpha=1e300)", "--out", str(tmp_path / "out"))
    what = "a φ whose Gaussian integrals converge" if command == "diagnose" else "a finite kernel"
    assert line.startswith(f"expected {what}; got ")

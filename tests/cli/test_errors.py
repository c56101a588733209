import pytest

from kernelregime.cli.errors import failure

COMMANDS = "diagnose, empirical, gallery, gram, kernel, phase, reproduce"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["diagnose", "--width", "1.5"], "expected --width to be an integer; got '1.5'; give an integer"),
        (["diagnose", "--sigma-w2", "two"], "expected --sigma-w2 to be a number; got 'two'; give a number"),
        (["diagnose", "--widht", "3"], "expected an option of kernelregime diagnose; got --widht; did you mean --width?"),
        (["kernel", "--points-trian", "3"], "expected an option of kernelregime kernel; got --points-trian; did you mean --points?"),
        (["phase", "--zzzzzz"], "expected an option of kernelregime phase; got --zzzzzz; see kernelregime phase --help"),
        (
            ["diagnos"],
            f"expected one of the commands {COMMANDS}; got 'diagnos'; did you mean diagnose?",
        ),
        (
            ["zzzzzz"],
            f"expected one of the commands {COMMANDS}; got 'zzzzzz'; see kernelregime --help",
        ),
        (["--verbose"], "expected an option of kernelregime; got --verbose; see kernelregime --help"),
        (["--versoin"], "expected an option of kernelregime; got --versoin; did you mean --version?"),
        (["diagnose", "--jobs", "3"], "expected an option of kernelregime diagnose; got --jobs; see kernelregime diagnose --help"),
        (["diagnose", "--lr", "1"], "expected an option of kernelregime diagnose; got --lr; did you mean --learning-rate?"),
        (["diagnose", "--epochs", "9"], "expected an option of kernelregime diagnose; got --epochs; did you mean --steps?"),
        (["kernel", "--output", "a"], "expected an option of kernelregime kernel; got --output; did you mean --out?"),
        (["diagnose", "digits"], "expected only options after kernelregime diagnose; got 'digits'; see kernelregime diagnose --help"),
        (["kernel", "a", "b"], "expected only options after kernelregime kernel; got 'a b'; see kernelregime kernel --help"),
        (["diagnose", "--width"], "expected a value after --width; got none; give one"),
        (["phase", "--json=yes"], "expected --json without a value; got one; write --json alone"),
        (
            ["diagnose", "--memory", "1XB"],
            "expected --memory as a number of bytes, at least 1; got '1XB'; write it as 2000000000, 2GB or 512MiB",
        ),
    ],
)
def test_what_the_parser_refuses_is_one_line_that_says_what_to_do(refused, arguments, line):
    assert refused(*arguments) == line


def test_without_arguments_the_help_is_shown(answer):
    code, out, errors = answer()
    assert code == 2
    assert "Usage: kernelregime" in out + errors
    assert "diagnose" in out + errors


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate 1.00 TiB; sorry"),
        MemoryError(),
        RuntimeError("RESOURCE_EXHAUSTED: Out of memory\nallocating 8 bytes"),
    ],
)
def test_running_out_of_memory_is_one_line(error):
    told = failure(error)
    assert told.startswith("expected a run that fits into the memory; got ")
    assert told.count(";") == 2
    assert "\n" not in told


def test_other_errors_are_not_hidden():
    assert failure(RuntimeError("a bug")) is None
    assert failure(ZeroDivisionError()) is None


def test_memory_that_runs_out_in_a_command_is_one_line_and_exit_code_2(refused, monkeypatch, tmp_path):
    from kernelregime import infinite

    def exhausted(*arguments, **options):
        raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 123 bytes.")

    monkeypatch.setattr(infinite, "gram", exhausted)
    line = refused("kernel", "--data", "sphere", "--points", "8", "--quiet", "--out", str(tmp_path / "k"))
    assert "Out of memory allocating 123 bytes" in line
    assert not (tmp_path / "k").exists()

import pytest

from kernelregime.cli import diagnose, options
from kernelregime.cli.wording import flags, in_flags

NAMES = [item for group in (options.Network, diagnose.Data, diagnose.Training, options.Output) for item in group.__dataclass_fields__]


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (
            "expected sigma_w2 (a variance) to be a number; got -1; change it",
            "expected --sigma-w2 (a variance) to be a number; got -1; change it",
        ),
        ("expected depth (weight layers) to be 1; got 0; x", "expected --depth (weight layers) to be 1; got 0; x"),
        ("expected width to be an integer of at least 1; got 0; x", "expected --width to be an integer of at least 1; got 0; x"),
        ("expected steps below 2³¹; got 1; train in several runs", "expected --steps below 2³¹; got 1; train in several runs"),
        ("a; got b; give a smaller one, or None for full-batch steps", "a; got b; give a smaller one, or leave --batch-size out"),
        ("a; got b; ask for fewer points, or target_coding='regression'", "a; got b; ask for fewer points, or --target-coding regression"),
        ('for target_coding="one-hot"; got b; c', "for --target-coding one-hot; got b; c"),
        ("a; got b; give other data, or scaling='none'", "a; got b; give other data, or --scaling none"),
        ("a; got b; add some, or leave the class out with classes=", "a; got b; add some"),
        ("a; got b; drop classes=, or choose a coding for classes", "a; got b; choose a coding for classes"),
        ("a; got b; give a larger memory=", "a; got b; give a larger --memory"),
        ("a; got b; use one-hot targets, or loss='mse'", "a; got b; use one-hot targets, or --loss mse"),
        ("a; got b; name another folder or give overwrite=True; c", "a; got b; name another folder or give --overwrite; c"),
        ("a learning_rate for adam; got None; give one", "a --learning-rate for adam; got none; give one"),
        ("a; got my/points_train.npz and 'batch_size'; look", "a; got my/points_train.npz and 'batch_size'; look"),
        ("a network of this width and depth; got\n   data; b", "a network of this width and depth; got data; b"),
    ],
)
def test_messages_name_options_by_their_flags_and_leave_everything_else(message, said):
    assert in_flags(message, flags(NAMES)) == said


def test_the_kernel_command_names_its_own_options(refused, tmp_path):
    line = refused("kernel", "--data", "digits", "--points", "15", "--out", str(tmp_path / "k"))
    assert line.startswith("expected --points to be a multiple of the 10 classes")
    assert options.Points.__dataclass_fields__.keys() & {"points_train", "points_test"} == set()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--optimizer", "adam"], "a --learning-rate for the optimizer adam; got none"),
        (
            ["--batch-size", "100"],
            "expected --batch-size of at most 16, the number of points; got 100; give a smaller one, or leave --batch-size out",
        ),
        (["--loss", "cross_entropy", "--target-coding", "regression"], "use --target-coding one-hot"),
        (["--data", "digits", "--points-train", "15"], "expected --points-train to be a multiple"),
        (["--target-coding", "one-hto"], "expected --target-coding to be one of"),
        (["--scaling", "nome"], "expected --scaling to be one of"),
        (["--memory", "10"], "raise --memory"),
        (["--activation", "exp_normalized"], "use `kernelregime kernel`, or another --activation"),
    ],
)
def test_no_refusal_speaks_of_python(refused, quick, tmp_path, arguments, words):
    line = refused("diagnose", *quick, *arguments, "--out", str(tmp_path / "new" / "out"))
    assert words in line
    assert "None" not in line
    assert "=" not in line
    assert not (tmp_path / "new").exists()

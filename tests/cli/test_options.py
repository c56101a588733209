import pytest

from kernelregime import activations, data, networks
from kernelregime._checks import InputError
from kernelregime.cli import options


def test_the_help_lists_every_activation():
    without = {name for name, kind in activations.REGISTRY.items() if not kind.finite}
    assert set(options.KERNELS_ONLY) == without
    assert tuple(sorted({*activations.REGISTRY, *activations.FAMILIES} - without)) == options.ACTIVATIONS


def test_the_help_lists_every_data_set(monkeypatch):
    monkeypatch.delenv("KERNELREGIME_DATA", raising=False)
    assert data.names() == options.DATA


@pytest.mark.parametrize("command", ["diagnose", "kernel", "gram", "phase"])
def test_the_help_of_a_command_names_its_options_and_activations(answer, command):
    code, out, _ = answer(command, "--help")
    words = " ".join(out.split())
    assert code == 0
    assert "Examples:" in words
    for expected in ("--activation", "rectified_monomial", "'leaky_relu(alpha=0.1)'", "--sigma-w2", "--json"):
        assert expected in words


def test_the_help_says_what_each_command_does_in_one_line(answer):
    lines = [line.split(maxsplit=1) for line in answer("--help")[1].partition("Commands:\n")[2].splitlines()]
    told = dict(line for line in lines[:5])
    assert set(told) == {"diagnose", "kernel", "gram", "empirical", "phase"}
    assert all(text.endswith((".", "?")) and not text.endswith("...") for text in told.values())


@pytest.mark.parametrize("command", ["diagnose", "kernel", "gram", "empirical", "phase"])
def test_the_help_of_an_option_is_one_line_of_a_wide_terminal(answer, command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    listed = answer(command, "--help")[1].partition("Options:\n")[2].partition("\n\n")[0].splitlines()
    long = [line for line in listed if not line.startswith("  --")]
    assert len(long) <= {"diagnose": 3, "phase": 0}.get(command, 1), long  # data sets, codings, a name longer than its column
    assert all(len(line) <= 120 for line in listed)


@pytest.mark.parametrize("command", ["diagnose", "kernel", "gram"])
def test_another_network_is_refused_with_those_there_are(refused, command):
    line = refused(command, "--network", "mpl")
    assert line == "expected --network to be one of cnn, mlp, myrtle-10, myrtle-5, myrtle-7, resnet; got 'mpl'; did you mean 'mlp'?"
    assert refused(command, "--network", "cnn", "--data", "gaussian").startswith(
        "expected images for --network cnn; got gaussian with points"
    )
    assert refused(command, "--network", "cnn", "--readout", "pol").endswith("did you mean 'pool'?")


@pytest.mark.parametrize("command", ["diagnose", "kernel", "gram"])
def test_images_too_small_for_a_myrtle_network_are_refused_with_the_size_it_takes(refused, command):
    line = refused(command, "--network", "myrtle-7", "--data", "digits")
    wanted = "expected images of at least 32 x 32 pixels for --network myrtle-7; got digits of 8 x 8; "
    assert line == wanted + "take cifar10 or other images, or --network cnn or resnet"
    assert networks.myrtle(depth=7, channels=4).output_shape((options.MYRTLE_SIZE, options.MYRTLE_SIZE + 1, 1)) == (10,)
    with pytest.raises(InputError, match="at least 2 positions under a window"):
        networks.myrtle(depth=7, channels=4).output_shape((options.MYRTLE_SIZE - 1, options.MYRTLE_SIZE, 1))


@pytest.mark.parametrize(
    ("given", "preset"),
    [
        ({"depth": 3, "width": 8}, networks.mlp(depth=3, width=8, outputs=1)),
        ({"network": "cnn", "depth": 3}, networks.cnn(depth=3, channels=512, outputs=1)),
        ({"network": "myrtle-7", "width": 8}, networks.myrtle(depth=7, channels=8, outputs=1)),
        ({"network": "resnet", "readout": "flatten"}, networks.resnet(outputs=1, readout="flatten")),
    ],
)
def test_a_network_is_the_preset_of_its_options(given, preset):
    assert repr(options.Network(**given).build(outputs=1)) == repr(preset)


@pytest.mark.parametrize(
    ("network", "given", "read"),
    [
        ("mlp", "--readout", "--depth, --width"),
        ("myrtle-5", "--depth", "--width"),
        ("myrtle-7", "--readout", "--width"),
        ("resnet", "--width", "--readout"),
    ],
)
def test_an_option_that_the_network_does_not_read_is_refused_with_those_it_does(refused, network, given, read):
    line = refused("gram", "--network", network, given, "flatten" if given == "--readout" else "3")
    assert line == f"expected of these options {read} for --network {network}; got {given}; leave it out, or choose another network"


def test_a_kernel_without_a_function_is_offered_to_the_kernel_command_alone(answer, refused):
    assert "exp_normalized" not in answer("phase", "--help")[1]
    assert "tanh; and exp_normalized, a kernel without a φ" in " ".join(answer("kernel", "--help")[1].split())
    for command in ("phase", "diagnose"):
        line = refused(command, "--activation", "exp_normalized")
        assert line.endswith("got exp_normalized, which is a kernel only; use `kernelregime kernel`, or another --activation")


def test_an_activation_may_carry_its_parameters(answer):
    code, out, errors = answer("phase", "--activation", "leaky_relu(alpha=0.1)", "--sigma-w2", "1.980198")
    assert code == 0, errors
    assert "1.980198" in out

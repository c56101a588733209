import pytest

from kernelregime import activations, data
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


def test_a_kernel_without_a_function_is_offered_to_the_kernel_command_alone(answer, refused):
    assert "exp_normalized" not in answer("phase", "--help")[1]
    assert "for `kernelregime kernel` alone, exp_normalized" in " ".join(answer("kernel", "--help")[1].split())
    for command in ("phase", "diagnose"):
        line = refused(command, "--activation", "exp_normalized")
        assert line.endswith("got exp_normalized, which is a kernel only; use `kernelregime kernel`, or another --activation")


def test_an_activation_may_carry_its_parameters(answer):
    code, out, errors = answer("phase", "--activation", "leaky_relu(alpha=0.1)", "--sigma-w2", "1.980198")
    assert code == 0, errors
    assert "1.980198" in out

import pytest

from kernelregime import activations, data
from kernelregime.cli import options


def test_the_help_lists_every_activation():
    assert tuple(sorted([*activations.REGISTRY, *activations.FAMILIES])) == options.ACTIVATIONS


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


def test_an_activation_may_carry_its_parameters(answer):
    code, out, errors = answer("phase", "--activation", "leaky_relu(alpha=0.1)", "--sigma-w2", "1.980198")
    assert code == 0, errors
    assert "1.980198" in out

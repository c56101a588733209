import json
import re

import pytest


def test_the_edge_of_chaos_is_printed_and_drawn(tmp_path, answer):
    figure = tmp_path / "phase.svg"
    code, out, errors = answer("phase", "--activation", "tanh", "--sigma-w2", "1.760955", "--sigma-b2", "0.05", "--figure", str(figure))
    assert code == 0, errors
    assert "edge of chaos" in out
    assert "1.760955" in out
    assert "<svg" in figure.read_text()


def test_a_figure_that_is_there_is_replaced_only_when_asked(tmp_path, answer, refused):
    figure = tmp_path / "mine.svg"
    figure.write_text("mine")
    line = refused("phase", "--activation", "relu", "--figure", str(figure))
    assert line.endswith("mine.svg, which exists; name another file or add --overwrite; nothing was written")
    assert figure.read_text() == "mine"
    assert answer("phase", "--activation", "relu", "--figure", str(figure), "--overwrite")[0] == 0
    assert "<svg" in figure.read_text()


@pytest.mark.parametrize("name", ["phase.docx", "none/phase.svg", "folder.svg"])
def test_a_figure_that_cannot_be_written_is_refused_before_anything_is_computed(tmp_path, refused, name):
    (tmp_path / "folder.svg").mkdir()
    assert "--figure" in refused("phase", "--figure", str(tmp_path / name), "--overwrite")


@pytest.mark.parametrize("name", ["sign", "rectified_monomial(degree=0)"])
def test_a_jumping_activation_is_chaotic_in_words_in_strict_json_and_in_the_figure(tmp_path, answer, name):
    figure = tmp_path / "phase.svg"
    code, out, errors = answer("phase", "--activation", name, "--sigma-w2", "1.5", "--figure", str(figure))
    assert code == 0, errors
    for row in (r"phase +chaotic", r"χ₁ +inf", r"edge of chaos, σ_w² +none", r"in words .*φ jumps, and χ₁ is infinite"):
        assert re.search(row, out), row
    assert "<svg" in figure.read_text()
    assert "stable fixed points" not in out
    code, out, _ = answer("phase", "--activation", name, "--sigma-w2", "1.5", "--json")
    found = json.loads(out, parse_constant=lambda word: pytest.fail(word))
    assert (code, found["phase"], found["chi1"], found["edge_of_chaos_sigma_w2"]) == (0, "chaotic", None, [])
    assert found["xi_c"] > 1


@pytest.mark.parametrize("name", ["gelu", "silu"])
def test_an_edge_that_no_variance_reaches_is_named_neither_in_words_nor_in_json(answer, name):
    out = answer("phase", "--activation", name, "--sigma-w2", "4")[1]
    assert re.search(r"edge of chaos, σ_w² +none", out)
    assert json.loads(answer("phase", "--activation", name, "--sigma-w2", "4", "--json")[1])["edge_of_chaos_sigma_w2"] == []


def test_json_holds_what_is_printed(answer):
    code, out, errors = answer("phase", "--activation", "relu", "--sigma-w2", "1", "--json")
    assert (code, errors) == (0, "")
    found = json.loads(out)
    assert (found["phase"], found["edge_of_chaos_sigma_w2"], found["sigma_w2"]) == ("ordered", [2.0], 1.0)

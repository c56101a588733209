from pathlib import Path


def test_every_line_of_slow_txt_is_a_test(stale_lines):
    lines = Path(__file__).with_name("slow.txt").read_text().splitlines()
    assert stale_lines == []
    assert lines == sorted(set(lines))
    root = Path(__file__).parent.parent
    assert [line for line in lines if not (root / line.partition("::")[0]).is_file()] == []

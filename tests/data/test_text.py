"""Words as tokens."""

import gzip
import hashlib
import io
import os
import re
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from kernelregime import data
from kernelregime._checks import InputError
from kernelregime.data import published

SHARED = os.environ.get("KERNELREGIME_DATA", "")
shared = pytest.mark.skipif(not (Path(SHARED) / "text_wiki_text8like.txt").is_file(), reason="KERNELREGIME_DATA holds no text like text8")

TEXT = "the cat sat on the mat and the dog sat on the cat " * 3 + "the end"


@pytest.fixture
def text(tmp_path):
    (tmp_path / "story.txt").write_text(TEXT)
    return tmp_path / "story.txt"


@pytest.fixture
def text8(site, monkeypatch, unnamed):
    """A made text in the place of text8."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("text8", f" {TEXT}")
    site.files["text8.zip"] = out.getvalue()
    digest = hashlib.sha256(f" {TEXT}".encode()).hexdigest()
    archive = published.Archive("text8.zip", (f"{site.url}text8.zip",), {"text8": digest})
    record = published.Published("text8", (archive,), published.TEXT8.folders, published.TEXT8.stand_ins)
    monkeypatch.setitem(published.TEXTS, "text8", record)
    return TEXT.encode()


def spelt(found, tokens):
    return [found.vocabulary[token] for token in tokens]


def naive(words, size, held_out, mark):
    """Tokens straight from the definition."""
    cut = len(words) - max(1, int(held_out * len(words)))
    ranked = sorted(Counter(words[:cut]).items(), key=lambda item: (-item[1], item[0]))[:size]
    place = {word: k for k, (word, _) in enumerate(ranked)}
    tokens = [[place.get(word, len(place) if mark else None) for word in part] for part in (words[:cut], words[cut:])]
    return [[token for token in part if token is not None] for part in tokens], [word for word, _ in ranked]


@pytest.mark.parametrize("size", [None, 1, 3, 7])
@pytest.mark.parametrize("unknown", ["drop", "mark"])
def test_tokens_are_places_in_the_vocabulary_by_falling_frequency(text, size, unknown):
    found = data.words(text, vocabulary=size, unknown=unknown, held_out=0.25)
    (train, test), vocabulary = naive(TEXT.split(), size, 0.25, unknown == "mark")
    np.testing.assert_array_equal(found.train, train)
    np.testing.assert_array_equal(found.test, test)
    assert found.vocabulary == (*vocabulary, *["<unk>"] * (unknown == "mark"))
    np.testing.assert_array_equal(found.counts, np.bincount(train, minlength=len(found.vocabulary)))
    assert (np.diff(found.counts[: len(vocabulary)]) <= 0).all()


def test_the_last_tenth_is_held_out_and_train_goes_before_it(text):
    found = data.words(text, unknown="mark")
    words = TEXT.split()
    assert (found.name, len(found.train), len(found.test)) == ("story", len(words) - 4, 4)
    assert spelt(found, found.train) == words[:-4]
    assert spelt(found, found.test) == ["the", "cat", "the", "<unk>"]


def test_the_vocabulary_is_that_of_train_alone(text):
    assert "end" not in data.words(text).vocabulary


def test_a_length_takes_the_first_words(text):
    found = data.words(text, length=10)
    assert spelt(found, [*found.train, *found.test]) == TEXT.split()[:10]
    assert found.fingerprint != data.words(text).fingerprint


def test_words_are_runs_of_letters_in_lower_case(tmp_path):
    (tmp_path / "story.txt").write_text("\ufeffÉté, 42 fois: l'ÉTÉ_été! Mr. Smith's été -- été", encoding="utf-8")
    found = data.words("story", folder=tmp_path, unknown="mark")
    assert spelt(found, [*found.train, *found.test]) == ["été", "fois", "l", "été", "été", "mr", "smith", "s", "été", "été"]


@pytest.mark.parametrize("form", ["text8", "text8.gz", "text8.zip", "text8/text8"])
def test_text8_is_found_in_a_folder_in_every_form(text8, site, tmp_path, form):
    content = b" " + text8
    path = tmp_path / "mine" / form
    path.parent.mkdir(parents=True)
    path.write_bytes({".gz": gzip.compress(content), ".zip": site.files["text8.zip"]}.get(path.suffix, content))
    found = data.words("text8", folder=tmp_path / "mine", unknown="mark")
    assert found.name == "text8"
    assert spelt(found, found.train) == TEXT.split()[:-4]
    assert not site.asked


def test_text8_is_downloaded_once(text8, site, cache):
    first, again = data.words("text8"), data.words("text8")
    assert first.fingerprint == again.fingerprint
    assert site.asked == ["text8.zip"]
    assert (cache / "text8" / "text8").read_bytes() == b" " + text8


def test_a_text_of_the_same_kind_stands_for_text8_and_says_so(text8, tmp_path, monkeypatch):
    (tmp_path / "text_wiki_text8like.txt").write_text(TEXT)
    monkeypatch.setenv("KERNELREGIME_DATA", str(tmp_path))
    assert data.words("text8").name == "text_wiki_text8like"


def test_a_packed_text_is_read_by_its_path(site, text8, tmp_path):
    (tmp_path / "text8.zip").write_bytes(site.files["text8.zip"])
    (tmp_path / "story.txt.gz").write_bytes(gzip.compress(TEXT.encode()))
    assert data.words(tmp_path / "text8.zip").fingerprint == data.words(tmp_path / "story.txt.gz").fingerprint


def test_text_that_cannot_be_used_is_refused_in_one_line(text, tmp_path, site, text8):
    (tmp_path / "latin.txt").write_bytes("été".encode("latin-1"))
    (tmp_path / "empty.txt").write_text("12 34")
    (tmp_path / "cut.gz").write_bytes(gzip.compress(TEXT.encode())[:-9])
    (tmp_path / "text8.zip").write_bytes(site.files["text8.zip"][:40])
    site.files["text8.zip"] = b"no archive"
    for call, message in [
        (lambda: data.words("stroy", folder=tmp_path), "did you mean 'story'"),
        (lambda: data.words("text9", folder=tmp_path), "did you mean 'text8'"),
        (lambda: data.words(tmp_path / "none.txt"), "existing text file"),
        (lambda: data.words("latin", folder=tmp_path), "UTF-8"),
        (lambda: data.words(tmp_path / "cut.gz"), "readable text file"),
        (lambda: data.words("empty", folder=tmp_path), "at least two words"),
        (lambda: data.words(text, vocabulary=0), "vocabulary"),
        (lambda: data.words(text, vocabulary=99), "at most 7, the different words"),
        (lambda: data.words(text, length=99), "at most 41, the words"),
        (lambda: data.words(text, length=1), "length"),
        (lambda: data.words(text, held_out=0), "held_out"),
        (lambda: data.words(text, held_out=1.5), "held_out"),
        (lambda: data.words(text, unknown="mrak"), "did you mean 'mark'"),
        (lambda: data.words(text, length=2, vocabulary=1), "held-out words"),
        (lambda: data.words("text8", folder=tmp_path), "the official text8 in .*breaks off or is no archive"),
        (lambda: data.words("text8"), r"no archive.* 127\.0\.0\.1.*KERNELREGIME_DATA"),
    ]:
        with pytest.raises(InputError, match=message) as caught:
            call()
        assert re.fullmatch(r"expected [^\n]+; got [^\n]+; [^\n]+", str(caught.value))


@shared
def test_a_real_text_has_the_frequencies_of_a_naive_count():
    found = data.words("text8", folder=SHARED, vocabulary=2000)
    words = (Path(SHARED) / "text_wiki_text8like.txt").read_text().split()
    (train, test), vocabulary = naive(words, 2000, 0.1, mark=False)
    np.testing.assert_array_equal(found.train, train)
    np.testing.assert_array_equal(found.test, test)
    assert found.vocabulary == tuple(vocabulary)

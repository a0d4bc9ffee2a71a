import doctest
import json
import random

import pytest

import arith_hf.text.clean
import arith_hf.text.contamination
import arith_hf.text.duplicates
import arith_hf.text.filters
import arith_hf.text.words
from benchmarks import duplicates


def test_one_line_of_json_tells_what_was_found(capsys):
    assert duplicates.main(["--megabytes", "0.5", "--rss_mb", "1e6"]) == 0
    row = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert row["megabytes"] == pytest.approx(0.5, abs=0.01)
    assert row["kinds"].keys() == {*duplicates.EDITS, "new", "related"}
    assert 0.4 < row["copies"] / row["documents"] < 0.6
    assert len(row["rss_mb"]) == 11


@pytest.mark.parametrize(
    "said",
    [
        ["--threshold", "0.99", "--rss_mb", "1e6"],
        ["--threshold", "0.1", "--shingle", "1", "--rss_mb", "1e6"],
        ["--rss_mb", "10"],
    ],
)
def test_what_is_missed_or_too_large_fails(said, capsys):
    assert duplicates.main(["--megabytes", "0.3", *said]) == 1


def test_a_corpus_without_copies_is_no_failure(capsys):
    assert duplicates.main(["--megabytes", "0.2", "--share", "0", "--rss_mb", "1e6"]) == 0


def test_a_document_is_its_number_and_each_edit_leaves_most_of_it():
    assert duplicates.document(0, 8) == duplicates.document(0, 8) != duplicates.document(1, 8)
    for number in (0, 9, 23):
        text = duplicates.document(0, number)
        for name, edit in duplicates.EDITS.items():
            edited = edit(text, random.Random(0))
            assert edited != text, name
            assert 0.75 < len(edited) / len(text) < 1.5, name


def test_a_related_document_quotes_half_of_another():
    said = duplicates.SENTENCE.split(duplicates.document(0, 9))
    other = set(duplicates.SENTENCE.split(duplicates.document(0, 0)))
    assert 0 < sum(one in other for one in said) <= len(said) / 2


def test_the_examples_of_the_room_of_text():
    text = arith_hf.text
    for module in (text.clean, text.contamination, text.duplicates, text.filters, text.words):
        found = doctest.testmod(module)
        assert found.attempted
        assert found.failed == 0, module

"""Batches of what a model writes."""

from arith_hf import decoding


def test_batches_hold_no_more_tokens_than_they_may() -> None:
    rows, caps = [[0] * length for length in (3, 9, 5, 4, 2)], [10, 1000, 10, 90, 90]
    assert list(decoding.batches(rows, caps, 2, 9999)) == [[1, 3], [4, 2], [0]], "the longest to go first"
    assert list(decoding.batches(rows, caps, 64, 200)) == [[1], [3, 4], [2, 0]], "one however long it is"
    assert list(decoding.batches(rows, caps, 64, 9999, same_length=True)) == [[1], [2], [3], [0], [4]]
    assert list(decoding.batches([], [], 64, 1)) == []

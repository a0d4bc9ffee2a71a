import random
from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arith_hf.text.duplicates import ExactDuplicates, NearDuplicates, bands
from arith_hf.text.words import normalised
from benchmarks.duplicates import EDITS, document, stream

TEXT = document(0, 1)


@given(st.lists(st.text("aB .", max_size=4)))
def test_an_exact_copy_is_seen_and_nothing_else(texts):
    exact, kept = ExactDuplicates(), set()
    for text in texts:
        assert exact.seen(text) == (normalised(text) in kept)
        kept.add(normalised(text))


def test_planted_near_duplicates_are_removed_and_others_stay():
    near = NearDuplicates()
    asked = [(kind in EDITS, near.seen(text)) for kind, text in islice(stream(1, 0.5), 2000)]
    copies, others = ([gone for copy, gone in asked if copy == which] for which in (True, False))
    assert len(copies) > 900
    assert sum(copies) >= 0.95 * len(copies)
    assert sum(others) < 0.01 * len(others)


def test_a_stricter_threshold_keeps_edited_copies():
    near = NearDuplicates(threshold=0.98)
    assert not near.seen(TEXT)
    assert not near.seen(EDITS["changed"](TEXT, random.Random(0)))
    assert near.seen(TEXT)


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_the_threshold_is_of_jaccard_similarity(share):
    near, kept, similar = NearDuplicates(threshold=0.6), [], []
    for number in range(60):
        rng = random.Random(f"{share}/{number}")
        words = [f"{number}w{place}" for place in range(400)]
        other = words[:]
        start, length = rng.randrange(400), round(400 * (1 - share))
        for place in range(start, start + length):
            other[place % 400] = f"{number}x{place}"
        kept.append(near.seen(" ".join(words)))
        similar.append(near.seen(" ".join(other)))
    assert not any(kept)
    assert sum(similar) == (60 if share == 0.9 else 0)


def test_the_estimate_is_that_of_the_definition():
    near = NearDuplicates(num_perm=4096)
    words = [f"w{place}" for place in range(300)]
    one, other = near.hashes(" ".join(words[:200])), near.hashes(" ".join(words[50:]))
    assert (one == other).mean() == pytest.approx(148 / (198 + 248 - 148), abs=0.03)


@given(st.lists(st.text("aB .") | st.text(st.characters()), max_size=8), st.integers(0, 1 << 32))
def test_an_exact_copy_is_always_near_and_the_same_seed_says_the_same(texts, seed):
    first, again = NearDuplicates(seed=seed), NearDuplicates(seed=seed)
    answers = [first.seen(text) for text in texts]
    assert answers == [again.seen(text) for text in texts]
    assert all(first.seen(text) for text in texts)


def test_another_seed_has_other_hashes():
    one, other = (NearDuplicates(seed=seed).hashes(TEXT) for seed in (0, 1))
    assert np.mean(one == other) < 0.1


def test_what_was_removed_is_not_remembered():
    """Else a chain of small changes would remove what has nothing of the first."""
    near = NearDuplicates(threshold=0.6)
    words = [f"w{place}" for place in range(240)]
    removed = [near.seen(" ".join(words[start : start + 80])) for start in (0, 10, 30, 160)]
    assert removed == [False, True, False, False]


def test_a_footer_that_all_share_is_no_copy_and_costs_no_recall():
    near, footer = NearDuplicates(), " ".join(f"f{place}" for place in range(60))
    texts = [" ".join(f"d{number}w{place}" for place in range(80)) for number in range(300)]
    assert not any(near.seen(f"{text} {footer}") for text in texts)
    assert all(near.seen(f"{text} {footer} the end") for text in texts)


def test_texts_without_words_are_told_by_their_marks():
    for near in (NearDuplicates(), ExactDuplicates()):
        assert [near.seen(text) for text in ("?!", "", " ?!\n", "...", "\ud800", "")] == [0, 0, 1, 0, 0, 1]


@pytest.mark.parametrize(
    "said", [{"threshold": 0}, {"threshold": 1.5}, {"num_perm": 0}, {"shingle": 0}, {"seed": -1}], ids=str
)
def test_what_cannot_be_meant_is_an_error(said):
    with pytest.raises(ValueError, match="need 0 < threshold <= 1"):
        NearDuplicates(**said)


@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.8, 0.95])
def test_pairs_at_the_threshold_are_compared(threshold):
    count, length = bands(threshold, 128)
    assert count * length <= 128
    assert 1 - (1 - threshold**length) ** count >= 0.98

from hypothesis import given
from hypothesis import strategies as st

from arith_hf.text.duplicates import ExactDuplicates
from arith_hf.text.words import normalised


@given(st.lists(st.text("aB .", max_size=4)))
def test_an_exact_copy_is_seen_and_nothing_else(texts):
    exact, kept = ExactDuplicates(), set()
    for text in texts:
        assert exact.seen(text) == (normalised(text) in kept)
        kept.add(normalised(text))

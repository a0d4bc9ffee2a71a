import pytest

from arith_hf.text.contamination import Contamination

NUMBERS = " ".join(f"w{number}" for number in range(40))


def part(start, count):
    return " ".join(NUMBERS.split()[start : start + count])


def test_thirteen_words_in_a_row_are_a_hit_and_twelve_are_none():
    known = Contamination([NUMBERS])
    assert known.hit(f"before, {part(20, 13).upper()}! after")
    assert not known.hit(f"before {part(20, 12)} after {part(0, 12)}")
    assert not known.hit("")


def test_a_short_evaluation_text_is_looked_for_as_a_whole():
    known = Contamination([part(0, 9), "Hello there"])
    assert known.hit(f"so {part(0, 9)} so")
    assert not known.hit(f"so {part(0, 8)} so. Hello there")


def test_no_evaluation_texts_hit_nothing():
    assert not Contamination([]).hit(NUMBERS)


def test_no_words_are_no_gram():
    with pytest.raises(ValueError, match="at least 1 word, got 0"):
        Contamination([], n=0)

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


def test_the_same_words_in_another_order_are_no_hit():
    known = Contamination([NUMBERS])
    assert not known.hit(" ".join(reversed(part(0, 13).split())))


def test_what_is_added_later_is_looked_for_beside_the_first():
    known = Contamination([part(0, 13)])
    assert not known.hit(part(20, 13))
    known.add([part(20, 13), part(5, 9)])
    assert [known.hit(text) for text in (part(0, 13), part(20, 13), part(5, 9), part(14, 8))] == [*[True] * 3, False]


def test_an_evaluation_of_many_words_takes_eight_bytes_of_each():
    """As strings they took two hundred."""
    count = 50_000
    known = Contamination([" ".join(f"w{place}" for place in range(count))])
    assert sum(grams.nbytes for grams in known.grams.values()) <= 8 * count
    assert known.hit(" ".join(f"w{place}" for place in range(count - 13, count)))
    assert not known.hit(" ".join(f"w{place}" for place in range(count, count + 1000)))


def test_what_two_prompts_have_in_common_is_of_their_form():
    form = "You are given a sentence in English and are asked to say what it is about in your own words: "
    known = Contamination([])
    known.add([f"{form} the cat sat", f"{form} the dog ran", f"{form} the dog ran"], form=True)
    assert not known.hit(f"{form} a bird flew")
    assert known.hit(f"{form} the dog ran"), "what is said twice is said of one thing"
    alone = Contamination([])
    alone.add([f"{form} the cat sat"], form=True)
    assert alone.hit(f"{form} a bird flew"), "nobody can know that it is a form"

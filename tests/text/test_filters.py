import pytest

from arith_hf.text.filters import Filters, language

ENGLISH = "The library opens at nine in the morning, and whoever comes early finds a quiet place by the window."
SPANISH = "La biblioteca abre a las nueve de la mañana, y quien llega temprano encuentra un lugar tranquilo."


@pytest.mark.parametrize(
    ("said", "removed", "kept"),
    [
        ({"min_characters": 10}, "too short", "long enough"),
        ({"max_characters": 10}, "too long as it is", "ten at mos"),
        ({"min_words": 3}, "two words", "these are three"),
        ({"min_letter_share": 0.6}, "12 345 678 abc 9", "abc def 12"),
        ({"max_symbols_per_word": 0.1}, "if (a) { b = c[d]; }", "if (a), then b is c of d."),
        ({"max_repeated_line_share": 0.3}, "buy\nbuy\n\nbuy\nnow", "buy\n\n\nnow\nbuy this\nor\nbuy"),
        ({"min_mean_word_length": 3}, "a b c de f", "words of prose"),
        ({"max_mean_word_length": 10}, "AAAAAAAAAAAAAAAAAAAAAAAAA bbbbbbbbbb", "words of prose"),
        ({"languages": ("en",)}, SPANISH, ENGLISH),
        ({"languages": ["es"]}, ENGLISH, SPANISH),
    ],
)
def test_each_filter_removes_what_it_names(said, removed, kept):
    filters = Filters(**said)
    assert filters.reason(removed) == next(iter(said))
    assert filters.reason(kept) is None


@pytest.mark.parametrize("text", ["", "x", "\n\n", "123 456", "| | |", ENGLISH])
def test_filters_that_are_not_set_remove_nothing(text):
    assert Filters().reason(text) is None


def test_an_empty_text_is_judged_without_an_error():
    every = Filters(0, 10, 0, 0.5, 0.1, 0.1, 0, 9)
    assert every.reason("") is None
    assert Filters(min_mean_word_length=1).reason("") == "min_mean_word_length"


def test_the_cheapest_filter_is_named_first():
    assert Filters(min_characters=1000, languages=("es",)).reason(ENGLISH) == "min_characters"


def test_a_language_that_is_not_sure():
    sure = Filters(languages=("en", "es"), min_language_confidence=0.9)
    assert sure.reason(ENGLISH * 3) is None
    assert sure.reason(SPANISH * 3) is None
    code, confidence = language("no")
    assert confidence < 0.9
    assert sure.reason("no") in ("languages", "min_language_confidence"), code


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"min_characters": 5, "max_characters": 3}, "need 0 <= min_characters <= max_characters, got 5 and 3"),
        ({"min_letter_share": 60}, "need min_letter_share from 0 to 1, got 60"),
        ({"max_repeated_line_share": -0.1}, "from 0 to 1"),
        ({"languages": "en"}, r"need a list of languages, got 'en': write \[en\]"),
        ({"languages": ["english"]}, "unknown languages english"),
        ({"min_language_confidence": 0.5}, "needs languages"),
    ],
)
def test_what_cannot_be_meant_is_an_error(said, told):
    with pytest.raises(ValueError, match=told):
        Filters(**said)

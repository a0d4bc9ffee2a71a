import unicodedata

import ftfy
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from arith_hf.text.clean import CONFIG, NEEDLESS, clean

TEXTS = (
    st.text()
    | st.text("aé &;<>ltmp#\u200b\u00ad\r\n\t\x85Ã©â€œ\u0301http://w.")
    | st.lists(
        st.sampled_from(
            ["http://a.b", "htt", "p://", "www.", "x", " ", "\n", "&amp;", "lt;", "Ã", "\u00ad", "©", "<", "\u0301"]
        )
    ).map("".join)
)


@given(TEXTS, st.sampled_from(["keep", "remove", "token"]), st.booleans())
@example("hthttp://aa ttp://b", "remove", False)
@example("&amp;amp;lt;\n&amp;", "token", False)
def test_clean_text_stays_as_it_is(text, urls, indented):
    cleaned = clean(text, urls, indented)
    assert clean(cleaned, urls, indented) == cleaned


@given(TEXTS)
def test_indents_are_all_that_may_stay_besides(text):
    lines = clean(text, indented=True).split("\n")
    assert all("  " not in line.lstrip() and line == line.rstrip() for line in lines)
    assert clean("\n".join(lines)) == clean(text)


def test_a_program_keeps_its_form():
    program = "def f(x):\n    if x:\n\treturn 1\n\n- a\n  - b"
    assert clean(program, indented=True) == program
    assert clean(" " * 100_000 + "x" + " " * 100_000 + "y\n" + " " * 100_000, indented=True) == "x y"


@given(TEXTS)
def test_nothing_unseen_is_left(text):
    cleaned = clean(text)
    cleaned.encode()  # no half of a surrogate pair
    assert unicodedata.is_normalized("NFC", cleaned)
    assert cleaned == cleaned.strip()
    assert "  " not in cleaned
    assert "\n\n\n" not in cleaned
    assert not any(unicodedata.category(one) in ("Cc", "Cs") for one in cleaned.replace("\n", ""))


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("schÃ¶n, maÃ±ana", "schön, mañana"),
        ("cafe\u0301", "café"),
        ("a\x00b\x1b[0mc\u200bd\ufeff", "abcd"),
        ("hyphen\u00adated", "hyphenated"),
        ("one\r\ntwo\rthree\u2028four", "one\ntwo\nthree\nfour"),
        ("first  line \n second\t\n \n\n\n next", "first line\nsecond\n\nnext"),
        ("“quoted” and ‘so’ — «así»", "“quoted” and ‘so’ — «así»"),
        ("👩\u200d👩\u200d👧", "👩\u200d👩\u200d👧"),
        ("\u200b \n\t", ""),
    ],
)
def test_characters_are_repaired_and_paragraphs_kept(text, cleaned):
    assert clean(text) == cleaned


def test_urls():
    text = "See https://example.org/a?b=c#d, www.example.org or ftp://x.example."
    assert clean(text) == text
    assert clean(text, "token") == "See <url>, <url> or <url>."
    assert clean(text, "remove") == "See , or ."
    assert clean("The www of http, as www. and http:// say", "remove") == "The www of http, as www. and http:// say"
    with pytest.raises(ValueError, match="keep, remove, token, got 'drop'"):
        clean(text, "drop")


@given(st.text(st.characters(max_codepoint=0x7E, exclude_characters="&", min_codepoint=0x20)))
def test_what_ftfy_is_not_asked_for_it_would_leave(line):
    assert NEEDLESS.fullmatch(line)
    assert ftfy.fix_text(line, CONFIG) == line


def test_entities_are_text_beside_markup():
    assert clean("salt &amp; pepper\nfish &eacute;") == "salt & pepper\nfish é"
    assert clean("<b>salt</b>\n&amp;") == "<b>salt</b>\n&amp;"

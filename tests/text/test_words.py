from hypothesis import given
from hypothesis import strategies as st

from arith_hf.text.words import normalised, words


@given(st.text())
def test_what_is_normalised_stays(text):
    assert normalised(normalised(text)) == normalised(text)


def test_marks_and_case_make_no_other_text():
    assert normalised("«¡El Niño, 3 veces!»") == normalised("el niño\n3  VECES") == "el niño 3 veces"
    assert normalised("resume") != normalised("résumé")
    assert words("日本語 text") == ["日", "本", "語", "text"]

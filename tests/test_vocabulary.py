"""Pieces of natural text: any text comes back as NFKC has it, and the same texts give the same tokenizer."""

import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from arith_hf import chat, tokenizer, vocabulary

POEM = """The sun had set behind the hill, and all the village lay still; 3 dogs barked, 24 owls replied.
El sol se puso tras la colina y todo el pueblo quedó en silencio; ladraron 3 perros, ¿quién respondió?

"Go home," she said -- "it's late." So then they went; the road was long, the night was cold, the moon was high.
"""
WORDS = ("one", "two", "three", "four", "five", "six", "seven", "eight")
TEXTS = [f"{POEM} {word}" for word in WORDS] * 3
TASK = {"task": "text"}


@pytest.fixture(scope="module")
def own():
    return vocabulary.train("unigram", TEXTS, 500, **TASK)


def back(own, text: str) -> str:
    return own.decode(own(text, split_special_tokens=True)["input_ids"], skip_special_tokens=True)


@given(st.text(max_size=80))
def test_any_text_comes_back_as_nfkc_has_it(own, text):
    assert back(own, text) == own.backend_tokenizer.normalizer.normalize_str(text)
    assert own.unk_token_id not in own(text)["input_ids"]


@pytest.mark.parametrize(
    "text",
    [
        "a\n\n\nb \n  c    d\t\te\r\n ",
        "   def f(x):\n        return x",
        "the ▁ of SentencePiece, <0x41> and <0xE9>",
        "½ of ﬁne Ａ\N{COMBINING ACUTE ACCENT} 𝕏 … ²",
        "<eos> ends <pad> nothing <|im_end|>",
        "🙂 你好 Ελλάδα",
        "",
    ],
)
def test_what_is_hard_to_give_back(own, text):
    assert back(own, text) == unicodedata.normalize("NFKC", text)
    tokenizer.require_known(own, [text])


def test_digits_and_ends_of_lines_stand_alone_and_the_tags_are_whole(own):
    assert own.tokenize("24\n\n") == ["2", "4", "\n", "\n"]
    pieces = set(own.get_vocab()) - set(vocabulary.BYTES)
    assert not [piece for piece in pieces if len(piece) > 1 and any(one.isdigit() or one == "\n" for one in piece)]
    assert own.tokenize("<think>the</think>")[0] == "<think>"
    assert own.tokenize("<think>the</think>")[-1] == "</think>"
    assert own.decode(own("<think>")["input_ids"], skip_special_tokens=True) == "<think>"


def test_it_learns_words_and_has_the_specials_of_the_road_in_front(own):
    assert " the" in own.get_vocab()
    assert own.convert_ids_to_tokens([0, 1, 2, 3]) == ["<pad>", "<unk>", "<bos>", "<eos>"]
    assert own("Hello")["input_ids"][0] == own.bos_token_id
    assert own.eos_token_id not in own("Hello")["input_ids"]
    assert len(own) <= 500
    assert own.padding_side == "left"


def test_the_same_texts_give_the_same_tokenizer_in_any_process(own, tmp_path):
    """With four threads there, with one here (conftest.py)."""
    code = (
        "import sys; from arith_hf import tokenizer, vocabulary; import test_vocabulary as t\n"
        "own = vocabulary.train('unigram', t.TEXTS, 500, task='text'); own.save_pretrained(sys.argv[1])"
    )
    paths = [str(Path(tokenizer.__file__).parent.parent), str(Path(__file__).parent)]
    said = os.environ | {"PYTHONPATH": ":".join(paths), "RAYON_NUM_THREADS": "4", "TOKENIZERS_PARALLELISM": "true"}
    done = subprocess.run([sys.executable, "-c", code, tmp_path], env=said, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    own.save_pretrained(tmp_path / "here")
    assert (tmp_path / "tokenizer.json").read_bytes() == (tmp_path / "here" / "tokenizer.json").read_bytes()
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert tokenizer.fingerprint(loaded) == tokenizer.fingerprint(own)
    assert [loaded(text)["input_ids"] for text in TEXTS[:5]] == [own(text)["input_ids"] for text in TEXTS[:5]]


def test_coverage_says_which_characters_are_pieces():
    texts = ["ñ" * 990 + "ж" * 10]
    narrow, wide = (vocabulary.train("unigram", texts, 500, character_coverage=share, **TASK) for share in (0.95, 1))
    assert ("ñ" in narrow.get_vocab(), "ж" in narrow.get_vocab()) == (True, False)
    assert {"ñ", "ж"} <= set(wide.get_vocab())
    assert back(narrow, "ж!") == "ж!"
    assert narrow.tokenize("ж") == ["<0xD0>", "<0xB6>"]


@pytest.mark.parametrize(
    ("texts", "size", "more", "message"),
    [
        ([], 500, {}, "got none"),
        (TEXTS, 300, {}, "need vocab_size >= 36"),
        (TEXTS, 500, {"character_coverage": 0.0}, "need 0 < character_coverage <= 1"),
        (TEXTS, 500, {"chat_template": "chatlm"}, "need one of chatml, instruct, chat, alpaca"),
        (TEXTS, 500, {"chat_template": "chatml", "task": "expression"}, "need a corpus of task: text"),
    ],
)
def test_what_cannot_be_made(texts, size, more, message):
    with pytest.raises(ValueError, match=message):
        vocabulary.train("unigram", texts, size, **(TASK | more))


def test_texts_that_can_be_read_once_are_enough(own):
    once = vocabulary.train("unigram", iter(TEXTS), 500, **TASK)
    assert tokenizer.fingerprint(once) == tokenizer.fingerprint(own)


def test_a_template_has_tokens_of_its_own_only_where_it_needs_them(tmp_path):
    made = {name: vocabulary.train("unigram", TEXTS, 500, chat_template=name, **TASK) for name in chat.NAMES}
    signatures = {name: tokenizer.fingerprint(one) for name, one in made.items()}
    assert len({signatures[name] for name in ("instruct", "chat", "alpaca")}) == 1  # ids do not depend on them
    assert signatures["chatml"] != signatures["chat"]
    for name, one in made.items():
        one.save_pretrained(tmp_path / name)
        loaded = AutoTokenizer.from_pretrained(tmp_path / name)
        assert loaded.chat_template == chat.template(name)
        end = "<|im_end|>" if name == "chatml" else "<eos>"
        assert loaded.convert_ids_to_tokens(chat.end_ids(loaded)) == list(dict.fromkeys(["<eos>", end]))
    assert made["chatml"].tokenize("<|im_start|>user") == ["<|im_start|>", *made["chatml"].tokenize("user")]

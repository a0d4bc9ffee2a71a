"""A model of natural text at the terminal: what it writes is what evaluation shows, and a conversation goes on."""

import io
import re
import shutil
import sys

import prose
import pytest

from arith_hf import chat, checkpoint, files, solver
from arith_hf.__main__ import main
from arith_hf.language import written
from arith_hf.language.talk import Talk

LIMIT = 40


@pytest.fixture
def tuned(corpus, tmp_path):
    """The model as if conversations had tuned it."""
    folder = shutil.copytree(corpus / "checkpoints/prose/pretrain", tmp_path / "sft")
    for name, said in (("provenance", {"stage": "sft"}), ("config", {"max_position_embeddings": 512})):
        files.write_json(folder / f"{name}.json", files.read_json(folder / f"{name}.json") | said)
    return folder


def solve(folder, *more):
    return main(["solve", "--checkpoint", str(folder), "--max_new_tokens", "12", *more])


def test_it_goes_on_with_a_text_as_evaluation_shows(corpus, capsys):
    folder = corpus / "checkpoints/prose/pretrain"
    model, own = checkpoint.load(folder)
    (greedy, _) = written.write(model, own, ["The cat"], chat=False, temperature=0.8, most=12, seed=3)
    assert solve(folder, "The cat", "The cat") == 0
    cut = "" if greedy["finished"] else "(cut off after 12 tokens: --max_new_tokens allows more)\n"
    assert capsys.readouterr().out == f"> The cat\nThe cat{greedy['completion']}\n{cut}\n" * 2


def test_each_turn_is_drawn_with_noise_of_its_own(corpus, capsys):
    said = []
    for _ in range(2):
        assert solve(corpus / "checkpoints/prose/pretrain", "--temperature", "5", "The", "The") == 0
        said.append(capsys.readouterr().out.split("> The\n")[1:])
    assert said[0] == said[1]
    assert said[0][0] != said[0][1]


def test_a_conversation_is_remembered_and_goes_on_after_mistakes(tuned, capsys, monkeypatch):
    model, own = checkpoint.load(tuned)
    said = []
    for text in ("The", "A dog"):
        said.append({"role": "user", "content": text})
        (one,) = solver.generate(model, own, [chat.prompt(own, said)], max_new_tokens=12)
        said.append({"role": "assistant", "content": one.text.strip()})
    monkeypatch.setattr(sys, "stdin", io.StringIO("The\n\nA dog\nq\n"))
    assert solve(tuned) == 0
    turns = [turn.partition("(cut off")[0].strip() for turn in capsys.readouterr().out.split("> ")]
    assert turns == ["", said[1]["content"], "need a question or a request, got nothing", said[3]["content"], ""]


def test_what_is_typed_cannot_be_a_turn_of_another_and_bytes_that_are_no_text_do_not_end_it(tuned, capsys, monkeypatch):
    end = Talk.from_pretrained(str(tuned)).tokenizer.eos_token
    typed = b"A cat\xff\n" + f"hi{end}there\nThe\nq\n".encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(typed), encoding="utf-8"))
    assert solve(tuned) == 0
    bad, forged, said, _ = capsys.readouterr().out.split("> ")[1:]
    assert bad.startswith("need a question or a request in UTF-8, got 'A cat")
    assert forged.startswith(f"need a question or a request without {end}, which ends or begins a turn")
    assert said.strip()


def test_texts_that_are_given_are_each_the_first(tuned, capsys):
    assert solve(tuned, "The", "The") == 0
    _, one, other = capsys.readouterr().out.split("> The\n")
    assert one == other


@pytest.fixture
def talk():
    """A conversation with a model that nothing was taught: it hardly ever ends a reply."""
    own = prose.make_tokenizer(300, ["a"])
    own.chat_template = prose.CHAT
    model = prose.make_model(own, max_position_embeddings=2 * LIMIT)
    return Talk(model, own, answers=True, context=LIMIT)


@pytest.mark.parametrize(("asked", "least"), [(4, 4), (20, 20), (None, LIMIT // 2)])
def test_the_oldest_turns_are_forgotten_before_a_reply_is_cut_short(talk, capsys, asked, least):
    for text in "abcdef":
        assert talk.reply(text, max_new_tokens=asked)
        assert talk.said[-2]["content"] == text
        before = len(talk.tokenizer(chat.prompt(talk.tokenizer, talk.said[:-1]))["input_ids"])
        told = re.search(r"\(cut off after ([0-9]+) tokens: ", capsys.readouterr().out)
        assert told, "not ended, so said"
        assert least <= int(told[1]) <= LIMIT - before
    assert 2 <= len(talk.said) < 12


def test_a_reply_is_cut_where_the_model_sees_no_more(talk, capsys):
    talk.reply("x" * 12, max_new_tokens=30)
    assert re.search(rf"\(cut off after [0-9]+ tokens: this model sees {LIMIT} at once\)$", capsys.readouterr().out)
    talk.reply("x", max_new_tokens=3)
    assert capsys.readouterr().out.endswith("(cut off after 3 tokens: --max_new_tokens allows more)\n")
    before = list(talk.said)
    with pytest.raises(ValueError, match=f"need a text of fewer than {LIMIT} tokens for this model, got"):
        talk.reply("x" * LIMIT)
    assert talk.said == before, "it was not asked"


def test_it_sees_what_it_was_trained_with(tuned):
    made = files.read_json(tuned / "provenance.json")
    files.write_json(tuned / "provenance.json", made | {"max_length": 100})
    assert Talk.from_pretrained(str(tuned)).context == 100


@pytest.mark.parametrize("more", [("--input", "in.jsonl", "--output", "out.jsonl"), ("--top_tokens", "2", "The")])
def test_what_only_problems_have_is_refused(corpus, capsys, more):
    assert solve(corpus / "checkpoints/prose/pretrain", *more) == 2
    assert "need no --input and no --top_tokens with a model of natural text" in capsys.readouterr().err

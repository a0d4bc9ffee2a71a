"""A model of natural text at the terminal: what it writes is what evaluation shows, and a conversation goes on."""

import io
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
    files.write_json(folder / "provenance.json", files.read_json(folder / "provenance.json") | {"stage": "sft"})
    return folder


def solve(folder, *more):
    return main(["solve", "--checkpoint", str(folder), "--max_new_tokens", "12", *more])


def test_it_goes_on_with_a_text_as_evaluation_shows(corpus, capsys):
    folder = corpus / "checkpoints/prose/pretrain"
    model, own = checkpoint.load(folder)
    (greedy, _) = written.write(model, own, ["The cat"], chat=False, temperature=0.8, most=12, seed=3)
    assert solve(folder, "The cat", "The cat") == 0
    assert capsys.readouterr().out == f"> The cat\nThe cat{greedy['completion']}\n\n" * 2


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
    turns = [turn.strip() for turn in capsys.readouterr().out.split("> ")]
    assert turns == ["", said[1]["content"], "need a question or a request, got nothing", said[3]["content"], ""]


def test_texts_that_are_given_are_each_the_first(tuned, capsys):
    assert solve(tuned, "The", "The") == 0
    _, one, other = capsys.readouterr().out.split("> The\n")
    assert one == other


def test_of_a_talk_beyond_the_positions_the_beginning_is_forgotten():
    own = prose.make_tokenizer(300, ["a"])
    own.chat_template = prose.CHAT
    model = prose.make_model(own, position_embedding="learned", max_position_embeddings=LIMIT)
    talk = Talk(model, own, answers=True)
    for text in "abcdef":
        assert talk.reply(text, max_new_tokens=4)
        assert talk.said[-2]["content"] == text
        assert len(own(chat.prompt(own, talk.said[:-1]))["input_ids"]) < LIMIT
    assert 2 <= len(talk.said) < 12
    with pytest.raises(ValueError, match=f"need a text of fewer than {LIMIT} tokens for this model, got"):
        talk.reply("x" * LIMIT)


@pytest.mark.parametrize("more", [("--input", "in.jsonl", "--output", "out.jsonl"), ("--top_tokens", "2", "The")])
def test_what_only_problems_have_is_refused(corpus, capsys, more):
    assert solve(corpus / "checkpoints/prose/pretrain", *more) == 2
    assert "need no --input and no --top_tokens with a model of natural text" in capsys.readouterr().err

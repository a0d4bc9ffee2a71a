"""The tokenizer stage on a corpus of natural text: what it reads, what it reports, what it does not ask for."""

import json

import pytest
import yaml
from conftest import stage
from talks import LONG, ROWS
from talks import TEXTS as SPOKEN

from arith_hf import chat, checkpoint, files, lengths, tokenizer
from arith_hf.__main__ import main

DOCUMENTS = [f"{text} In 2024 it was so.\n\n  And then “all” was ½ done … <eos> or not." for text in SPOKEN]
HELD_OUT = ["a dog, an owl and a whale", "the cat catches the mouse"]


@pytest.fixture
def corpus(tmp_path):
    """recipes/tiny and data/tiny with shards and every kind of row that such a corpus may have."""
    data, recipe = tmp_path / "data/tiny", tmp_path / "recipes/tiny/tokenizer.yaml"
    recipe.parent.mkdir(parents=True)
    recipe.write_text(yaml.safe_dump({"kind": "unigram", "vocab_size": 450, "chat_template": "chatml"}))
    rows = [{"text": text, "source": "en"} for text in DOCUMENTS]
    for index, mark in enumerate("жш"):
        shard = [row | {"text": mark * 9 + row["text"]} for row in rows[index::2]]
        files.write_jsonl(data / f"pretrain/train-0000{index}.jsonl", shard)
    files.write_jsonl(data / "pretrain/validation.jsonl", [{"text": text, "source": "en"} for text in HELD_OUT])
    pairs = [{"prompt": "Who?", "chosen": "an owl", "rejected": "ni idea … ½"}]
    files.write_jsonl(data / "preferences/train.jsonl", pairs)
    files.write_jsonl(data / "test/yesno.jsonl", [{"question": "is it", "passage": "It is.", "answer": True}])
    files.write_json(data / "manifest.json", {"task": "text", "tokenizer_fingerprint": None})
    return tmp_path


def test_a_corpus_of_texts_alone_gets_a_tokenizer(corpus, capsys):
    assert stage(corpus, "tokenizer") == 0
    folder = corpus / "checkpoints/tiny/tokenizer"
    metrics, own = files.read_json(folder / "metrics.json"), checkpoint.load_tokenizer(folder)
    assert files.read_json(corpus / "data/tiny/manifest.json")["tokenizer_fingerprint"] == metrics["fingerprint"]
    counts = [len(own(text)["input_ids"]) + 1 for text in HELD_OUT]
    assert metrics["tokens_per_document"]["max"] == max(counts)
    assert metrics["tokens_per_document"]["documents"] == len(HELD_OUT)  # of held-out documents
    assert metrics["characters_per_token"] == round(sum(map(len, HELD_OUT)) / sum(counts), 3)
    assert not {"tokens_per_problem", "tokens_per_conversation"} & set(metrics)
    assert own.chat_template == chat.template("chatml")
    assert "chat_template.jinja" in metrics["files"]
    assert {"ж", "ш"} <= set(own.get_vocab())  # of both shards
    capsys.readouterr()
    assert main(["lengths", "--tokenizer", str(folder), "--dataset_name", str(corpus / "data/tiny")]) == 0
    assert ["rows", str(len(DOCUMENTS))] in [line.split() for line in capsys.readouterr().out.splitlines()]


def test_the_length_of_a_conversation_is_that_which_is_trained_on(corpus):
    talks = [{"messages": one} for one in [*ROWS, LONG]]
    files.write_jsonl(corpus / "data/tiny/sft/train.jsonl", talks)
    assert stage(corpus, "tokenizer") == 0
    own = checkpoint.load_tokenizer(corpus / "checkpoints/tiny/tokenizer")
    counts = [len(own.apply_chat_template(row["messages"], return_dict=True)["input_ids"]) for row in talks]
    assert lengths.row_lengths(own, corpus / "data/tiny/sft/train.jsonl") == counts
    metrics = files.read_json(corpus / "checkpoints/tiny/tokenizer/metrics.json")
    assert metrics["tokens_per_conversation"]["max"] == max(counts)
    assert metrics["tokens_per_conversation"]["conversations"] == len(talks)


@pytest.mark.parametrize(("keys", "warned"), [({}, True), ({"chat_template": "chat"}, False)])
def test_conversations_that_no_template_will_write_are_told_before_anything_is_trained(corpus, caplog, keys, warned):
    files.write_jsonl(corpus / "data/tiny/sft/train.jsonl", [{"messages": one} for one in ROWS])
    (corpus / "recipes/tiny/tokenizer.yaml").write_text(yaml.safe_dump({"kind": "unigram", "vocab_size": 450} | keys))
    assert stage(corpus, "tokenizer") == 0
    assert ("has conversations, and this tokenizer will have no chat template" in caplog.text) is warned


@pytest.mark.parametrize(("kind", "size", "warned"), [("unigram", 9_000, True), ("bpe", 300, False)])
def test_fewer_tokens_than_asked_are_told(corpus, caplog, kind, size, warned):
    (corpus / "recipes/tiny/tokenizer.yaml").write_text(yaml.safe_dump({"kind": kind, "vocab_size": size}))
    assert stage(corpus, "tokenizer") == 0
    made = files.read_json(corpus / "checkpoints/tiny/tokenizer/metrics.json")["vocab_size"]
    assert (made < size) is warned
    assert (f"the text gave {made:,} of the {size:,} tokens of vocab_size" in caplog.text) is warned


def test_a_template_that_was_edited_is_noticed(corpus):
    assert stage(corpus, "tokenizer") == 0
    folder = corpus / "checkpoints/tiny/tokenizer"
    (folder / "chat_template.jinja").write_text(chat.template("chat"))
    with pytest.raises(ValueError, match=r"chat_template.jinja is not what the stage saved"):
        checkpoint.check_files(folder)


def test_a_shard_without_a_row_is_an_error(corpus, capsys):
    (corpus / "data/tiny/pretrain/train-00001.jsonl").write_text("")
    assert stage(corpus, "tokenizer") == 2
    assert "train-00001.jsonl" in capsys.readouterr().err


def test_every_kind_of_row_is_read(tmp_path):
    rows = [
        {"text": "a"},
        {"messages": ROWS[0]},
        {"prompt": "b ", "completion": "c"},
        {"prompt": "d ", "chosen": "e", "rejected": "f"},
        {"prompt": "g"},
        {"passage": "h", "question": "i"},
        {"problem": "1 + 2"},
    ]
    (tmp_path / "all.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    first = f"{ROWS[0][0]['content']}\n{ROWS[0][1]['content']}"
    assert list(lengths.read_texts(tmp_path / "all.jsonl")) == [
        "a",
        first,
        "b c",
        "d e",
        "d f",
        "g",
        "h\ni",
        "1 + 2\n",
    ]


def test_no_more_texts_are_learned_from_than_asked_and_they_are_spread(tmp_path):
    for shard in range(2):
        files.write_jsonl(tmp_path / f"pretrain/train-0000{shard}.jsonl", [{"text": f"{shard}{n}"} for n in range(5)])
    manifest = {"files": {f"pretrain/train-0000{shard}.jsonl": {"rows": 5} for shard in range(2)}}
    assert len(list(tokenizer.learned_from(tmp_path, manifest, None))) == 10
    assert list(tokenizer.learned_from(tmp_path, manifest, 4)) == ["00", "03", "11", "14"]
    assert len(list(tokenizer.learned_from(tmp_path, manifest, 10))) == 10
    with pytest.raises(ValueError, match="num_texts"):
        tokenizer.learned_from(tmp_path, manifest, 0)

"""Natural text through the real stages, from folders of files to a table: what each leaves the next one takes."""

from pathlib import Path

import pytest
import torch
import yaml
from conftest import TRAINING, stage
from transformers import AutoModelForCausalLM, AutoTokenizer

from arith_hf import chat, files
from arith_hf.__main__ import main

SAMPLE = Path(__file__).parent / "data/text"
ANIMALS = (
    "dog",
    "cat",
    "owl",
    "cow",
    "hen",
    "fox",
    "bee",
    "ant",
    "bat",
    "eel",
    "elk",
    "emu",
    "pig",
    "rat",
    "yak",
    "gnu",
)
SHORT = {"max_steps": 2, "eval_steps": 2, "save_steps": 2}
LOW_RANK = {"use_peft": True, "lora_r": 4, "lora_target_modules": "all-linear"}
RECIPES = {
    "corpus": {
        "task": "text",
        "sources": ["en", "es"],
        "source_paths": [str(SAMPLE / "en"), str(SAMPLE / "es")],
        "source_languages": ["en", "es"],
        "min_characters": 50,
        "contamination_words": 8,
        "validation_share": 0.2,
        "test_share": 0.4,
    },
    "tokenizer": {"kind": "unigram", "vocab_size": 500, "chat_template": "chatml"},
    "pretrain": TRAINING
    | SHORT
    | {"size": "tiny", "max_length": 64, "overlong": "split", "source_weights": {"en": 0.5, "es": 0.5}},
    "continue": TRAINING | SHORT | {"max_length": 64, "overlong": "split", "source_weights": {"en": 0.2, "es": 0.8}},
    "sft": TRAINING | SHORT | LOW_RANK | {"max_length": 64},
    "dpo": TRAINING | SHORT | LOW_RANK | {"max_length": 64, "num_eval_pairs": 2},
    "evaluate": {"context_length": 64, "sample_prompts": ["Hello", "Hola"], "sample_tokens": 8},
}


@pytest.fixture(scope="module")
def road(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with recipes/tiny, data/tiny and every stage of checkpoints/tiny."""
    root = tmp_path_factory.mktemp("texts")
    (root / "recipes/tiny").mkdir(parents=True)
    asked = {animal: (f"What does a {animal} do?", f"A {animal} runs, eats and sleeps.") for animal in ANIMALS}
    talks = [
        {"messages": [{"role": "user", "content": one}, {"role": "assistant", "content": other}], "topic": animal}
        for animal, (one, other) in asked.items()
    ]
    pairs = [
        {"prompt": one, "chosen": other, "rejected": "It is a kind of stone.", "topic": animal}
        for animal, (one, other) in asked.items()
    ]
    questions = [{"question": f"is a {animal} a stone", "passage": "It runs.", "answer": False} for animal in ANIMALS]
    more = {}
    for name, rows in {"conversations": talks, "preferences": pairs, "yesno": questions}.items():
        files.write_jsonl(root / f"own/{name}.jsonl", rows)
        more[name] = [str(root / f"own/{name}.jsonl")]
    for name, keys in RECIPES.items():
        keys = keys | more if name == "corpus" else keys
        (root / f"recipes/tiny/{name}.yaml").write_text(yaml.safe_dump(keys))
    for name, verb in {
        "corpus": "",
        "tokenizer": "",
        "pretrain": "",
        "continue": "pretrain",
        "sft": "",
        "dpo": "",
    }.items():
        recipe = str(root / f"recipes/tiny/{name}.yaml")
        assert main([verb or name, "--config", recipe]) == 0, name
    for name in ("continue", "dpo"):
        assert stage(root, "evaluate", "--checkpoint", str(root / f"checkpoints/tiny/{name}")) == 0
    return root


@pytest.mark.slow
def test_each_stage_starts_from_the_one_before(road, capsys):
    parents = {"continue": "pretrain", "sft": "continue", "dpo": "sft"}
    for name, parent in parents.items():
        made = files.read_json(road / f"checkpoints/tiny/{name}/provenance.json")
        assert Path(made["parent"]).name == parent
    assert main(["lineage", str(road / "checkpoints/tiny/dpo")]) == 0


@pytest.mark.slow
def test_texts_and_pairs_are_measured(road):
    found = files.read_json(road / "checkpoints/tiny/dpo/evaluate.json")
    assert {"en", "es"} <= set(found["perplexity"])
    for one in found["perplexity"].values():
        assert one["trained"]["perplexity"] > 1
        assert one["untrained"]["perplexity"] == pytest.approx(500, rel=0.3)
    assert found["yesno"]["n"] == len(ANIMALS)
    (pairs,) = found["preferences"].values()
    assert pairs["n"] > 0
    assert 0 <= pairs["reward_accuracy"] <= 1
    assert [one["prompt"] for one in found["samples"]][:1] == ["Hello"]


@pytest.mark.slow
def test_a_stranger_asks_it_by_the_template_that_travels(road):
    folder = road / "checkpoints/tiny/dpo"
    known = AutoTokenizer.from_pretrained(folder)
    assert known.chat_template == chat.template("chatml")
    model = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True)
    asked = known.apply_chat_template(
        [{"role": "user", "content": "Hola"}], add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    with torch.no_grad():
        written = model.generate(**asked, max_new_tokens=4, do_sample=False)
    assert written.shape[1] > asked["input_ids"].shape[1]
    assert known.convert_tokens_to_ids("<|im_end|>") in model.generation_config.eos_token_id


@pytest.mark.slow
def test_the_table_and_the_page_have_its_stages(road, capsys, monkeypatch):
    monkeypatch.chdir(road)
    assert main(["report", "--model", "tiny"]) == 0
    said = capsys.readouterr().out
    assert "perplexity per token" in said
    assert all(name in said for name in ("continue", "dpo", "untrained", "token frequencies"))
    assert main(["report", "--model", "tiny", "--format", "html", "--output", str(road / "page.html")]) == 0
    assert "<script" not in (road / "page.html").read_text()

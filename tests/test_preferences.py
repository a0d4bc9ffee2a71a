"""What a model makes of pairs: the numbers, the files, and the road from a corpus to the table."""

import math
import os
import shutil
import subprocess
import sys
from functools import partial

import prose
import pytest
import torch
from accelerate import Accelerator
from conftest import stage

from arith_hf import checkpoint, files, preferences, summary
from arith_hf.preferences import Likelihood
from arith_hf.report import measured, table

PAIRS = [{"prompt": "Evaluate: 1 + 2\n", "chosen": "<think>", "rejected": "<think>\n</think>\nFinal Result: 3"}]


def test_a_likelihood_is_the_sum_over_the_completion_and_its_end(pupil):
    model, tokenizer = checkpoint.load(pupil)
    (found,) = preferences.likelihoods(model, tokenizer, PAIRS)
    for side, said, tokens in (
        ("chosen", found.chosen, found.chosen_tokens),
        ("rejected", found.rejected, found.rejected_tokens),
    ):
        begun = tokenizer(PAIRS[0]["prompt"])["input_ids"]
        ids = torch.tensor([tokenizer(PAIRS[0]["prompt"] + PAIRS[0][side])["input_ids"] + [tokenizer.eos_token_id]])
        with torch.no_grad():
            chances = model(ids).logits.log_softmax(-1)[0]
        each = [float(chances[place - 1, ids[0, place]]) for place in range(len(begun), ids.shape[1])]
        assert tokens == len(each)
        assert said == pytest.approx(sum(each), rel=1e-5, abs=1e-4)


def test_the_numbers_are_those_of_their_definitions():
    found = [Likelihood(-1.0, -3.0, 2, 12), Likelihood(-4.0, -2.0, 4, 1), Likelihood(-2.0, -2.0, 2, 2)]
    said = preferences.summarize(found)
    assert (said["n"], said["preferred"], said["preferred_by_token"]) == (3, 0.5, 0.5)
    assert said["margin"] == 0
    assert said["margin_error"] == pytest.approx(1.96 * 2 / math.sqrt(3), abs=1e-4)
    assert said["perplexity_chosen"] == pytest.approx(math.exp(7 / 8), abs=1e-5)
    assert said["perplexity_rejected"] == pytest.approx(math.exp(7 / 15), abs=1e-5)
    assert preferences.rewards(found, found)["reward_accuracy"] == 0.5, "the parent itself is at chance"
    grown = preferences.rewards(found, [Likelihood(-3.0, -3.0, 2, 2)] * 3)
    assert (grown["reward_accuracy"], grown["reward_margin"]) == (0.5, 0.0)


def test_a_checkpoint_of_any_stage_is_measured_and_that_of_dpo_beside_its_parent(road, tmp_path):
    parent = road / "checkpoints/tiny/pretrain"
    folder = tmp_path / "checkpoints"
    more = ["--model_name_or_path", str(parent), "--max_steps", "2", "--num_eval_generations", "0"]
    assert stage(road, "dpo", *more, "--output_dir", str(folder / "dpo")) == 0
    for name, path in (("sft", parent), ("dpo", folder / "dpo")):
        argv = ["--checkpoint", str(path), "--output_dir", str(folder / name), "--num_samples", "6"]
        assert stage(road, "evaluate", *argv, "--protocol", "nontrivial", "preferences", "validation-preferences") == 0
    before, after = (files.read_json(folder / name / "evaluate.json") for name in ("sft", "dpo"))
    assert set(before["protocols"]) == {"nontrivial"}
    for report in (before, after):
        block = report["preferences"]["preferences"]
        assert block["n"] == sum(part["n"] for part in block["by_kind"].values()) == 6
        assert report["preferences"]["validation-preferences"]["n"] == 6
    assert "reward_accuracy" not in before["preferences"]["preferences"]
    block = after["preferences"]["preferences"]
    gained = block["margin"] - before["preferences"]["preferences"]["margin"]
    assert block["reward_margin"] == pytest.approx(gained, abs=2e-4)
    assert block["parent"] == str(parent)
    parts = block["by_kind"].values()
    grown = sum(part["reward_accuracy"] * part["n"] for part in parts)
    assert grown == pytest.approx(block["reward_accuracy"] * block["n"], abs=0.01)
    assert "chosen likelier" in (folder / "dpo/evaluate.txt").read_text()
    files.write_json(folder / "sft/evaluate.json", before | {"checkpoint": str(folder / "sft")})
    rows = table.collect(folder)
    assert [line[:3] for line in table.preferences_table(rows)[1:]] == [
        [name, one, "6"] for one in ("sft", "dpo") for name in ("preferences", "validation-preferences")
    ]
    assert "more so than its parent" in table.as_markdown(rows)
    block["preferred"] = 1.5
    assert list(measured.faults(after)) == ["preferences.preferences.preferred is 1.5, need a share from 0 to 1"]


def test_pairs_alone_may_be_asked_for_and_a_parent_that_changed_is_none(road, tmp_path, capsys):
    place = tmp_path / "dpo"
    parent = road / "checkpoints/tiny/pretrain"
    more = ["--model_name_or_path", str(parent), "--max_steps", "1", "--num_eval_generations", "0"]
    assert stage(road, "dpo", *more, "--output_dir", str(place)) == 0
    assert preferences.parent_of(place) == parent
    assert preferences.parent_of(parent) is None
    made = files.read_json(place / "provenance.json")
    files.write_json(place / "provenance.json", made | {"parent_sha256": "0"})
    assert preferences.parent_of(place) is None
    assert "no rewards" in capsys.readouterr().err
    argv = ["--checkpoint", str(parent), "--output_dir", str(tmp_path / "out"), "--protocol", "preferences"]
    assert stage(road, "evaluate", *argv) == 0
    report = files.read_json(tmp_path / "out/evaluate.json")
    assert report["protocols"] == {}
    assert report["preferences"]["preferences"]["n"] == 8


def test_a_corpus_without_pairs_is_said(road, tmp_path, capsys):
    files.write_json(tmp_path / "data/manifest.json", {"files": {}, "tokenizer_fingerprint": None})
    argv = ["--checkpoint", str(road / "checkpoints/tiny/pretrain"), "--dataset_name", str(tmp_path / "data")]
    assert stage(road, "evaluate", *argv, "--protocol", "preferences") == 2
    assert "give corpus.yaml num_preferences, or ask for none" in capsys.readouterr().err


@pytest.mark.parametrize(("task", "lacking"), [("expression", "num_preferences"), ("text", "`preferences`, files of")])
def test_what_makes_pairs_is_said_of_the_corpus_that_lacks_them(tmp_path, task, lacking):
    files.write_json(tmp_path / "manifest.json", {"task": task, "files": {}})
    with pytest.raises(FileNotFoundError, match=f"give corpus.yaml {lacking}"):
        preferences.read(tmp_path, "preferences", None)
    files.write_jsonl(tmp_path / "test/preferences.jsonl", [])
    lacking = {"text": "more pairs under `preferences`", "expression": "num_test"}[task]
    with pytest.raises(ValueError, match=f"is empty: give corpus.yaml {lacking}"):
        preferences.read(tmp_path, "preferences", None)


def test_pairs_beyond_the_learned_positions_are_left_out_and_counted(tmp_path, capsys):
    known = prose.make_tokenizer(300, ["The cat sat on the mat."])
    model = prose.make_model(known, position_embedding="learned")
    limit = model.config.max_position_embeddings
    prompt = "The"
    begun = len(known(prompt)["input_ids"])
    rows = [
        {"prompt": prompt, "chosen": ("x" * (room - 1)), "rejected": "y"}  # a token each, and the end
        for room in (limit + 1 - begun, limit + 2 - begun)
    ]
    files.write_jsonl(tmp_path / "test/preferences.jsonl", rows)
    examine = partial(preferences.examine, model, known, Accelerator(), tmp_path, tmp_path)
    found = examine({"preferences": rows})["preferences"]
    assert (found["n"], found["too_long"]) == (1, 1)
    assert "  left out, as longer than the model's positions: 1" in summary.preferred(found)
    assert examine({"preferences": rows[1:]}) == {}
    assert "none of 1 pairs fits the positions of this model" in capsys.readouterr().err


@pytest.mark.slow
def test_of_two_processes_one_says_that_the_parent_changed(road, tmp_path):
    place, parent = tmp_path / "dpo", road / "checkpoints/tiny/pretrain"
    shutil.copytree(parent, place)
    gone = {"command": "arith-hf dpo", "parent": str(tmp_path / "gone")}
    files.write_json(place / "provenance.json", files.read_json(place / "provenance.json") | gone)
    launch = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--main_process_port", "0"]
    argv = ["--config", str(road / "recipes/tiny/evaluate.yaml"), "--checkpoint", str(place)]
    command = [sys.executable, *launch, "-m", "arith_hf", "evaluate", *argv, "--protocol", "preferences"]
    environment = os.environ | {"ACCELERATE_USE_CPU": "true"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("no rewards: ") == 1


TEMPLATE = (
    "{% for one in messages %}{% if one.role == 'user' %}{{ one.content }}{% else %}{{ one.content + eos_token }}"
    "{% endif %}{% endfor %}"
)


def test_a_tokenizer_with_a_template_writes_turns(pupil):
    _, tokenizer = checkpoint.load(pupil)
    plain = preferences.encode(tokenizer, PAIRS[0])
    tokenizer.chat_template = TEMPLATE
    turns = preferences.encode(tokenizer, PAIRS[0])
    began = len(tokenizer("")["input_ids"])
    assert turns[1:] == plain[1:]
    assert turns[0][-3:] == plain[0][-3:]
    assert len(turns[0]) in (len(plain[0]), len(plain[0]) - began)

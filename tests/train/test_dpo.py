"""Preference tuning: what is learned, against what, and what is refused."""

import doctest
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import stage
from safetensors.torch import load_file

from arith_hf import checkpoint, files, preferences
from arith_hf.notation import expression as notation
from arith_hf.tasks.base import ERROR, Working
from arith_hf.train import dpo

ROOT = Path(__file__).parents[2]


def test_examples():
    assert doctest.testmod(dpo).failed == 0


def argv(road: Path, output: Path, *more: str) -> list[str]:
    parent = ["--model_name_or_path", str(road / "checkpoints/tiny/pretrain"), "--output_dir", str(output)]
    return ["--config", str(road / "recipes/tiny/dpo.yaml"), *parent, *more]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


LORA = ("--use_peft", "true", "--lora_r", "4", "--lora_alpha", "8", "--lora_target_modules", "all-linear")


@pytest.fixture(scope="module")
def long(road, tmp_path_factory) -> Path:
    """A run that learns to prefer a working to the verdict that a problem is malformed, looked at before it begins."""
    output = tmp_path_factory.mktemp("dpo") / "dpo"
    rows = [row for part in ("sft", "preferences") for row in files.read_jsonl(road / f"data/tiny/{part}/train.jsonl")]
    pairs = [
        {
            "prompt": row["prompt"],
            "chosen": row.get("chosen") or row["completion"],
            "rejected": notation.completion(Working((), ERROR)),
        }
        for row in rows
        if row["kind"] != "invalid"
    ]
    files.write_jsonl(output.parent / "mine.jsonl", pairs)
    more = ["--max_steps", "20", "--eval_steps", "20", "--save_steps", "20", "--eval_on_start", "true"]
    more += ["--dataset_name", str(output.parent / "mine.jsonl"), "--num_eval_pairs", "0"]
    assert stage(road, "dpo", *argv(road, output, *more)[2:]) == 0
    return output


def test_held_out_pairs_are_told_apart_and_the_log_shows_from_where(long):
    log = files.read_json(long / "trainer_state.json")["log_history"]
    before, after = ([row[key] for row in log if key in row] for key in ("eval_rewards/margins", "eval_margin"))
    accuracies = [row["eval_rewards/accuracies"] for row in log if "eval_rewards/accuracies" in row]
    assert (before[0], accuracies[0]) == (0, 0), "it begins where its reference is"
    assert before[-1] > 0.1
    assert accuracies[-1] == 1
    assert after[-1] > after[0] + 1
    metrics = files.read_json(long / "metrics.json")
    assert {f"eval_{key}" for key in dpo.SCORES} | {"eval_exact_match", "eval_rewards/accuracies"} <= set(metrics)
    grown = [
        [row[f"eval_perplexity_{side}"] for row in log if f"eval_perplexity_{side}" in row]
        for side in ("chosen", "rejected")
    ]
    assert grown[1][-1] / grown[1][0] > grown[0][-1] / grown[0][0]


def test_every_parameter_moves_and_the_parent_does_not(road, long):
    before, after = weights(road / "checkpoints/tiny/pretrain"), weights(long)
    assert all(not torch.equal(before[name], after[name]) for name in before)
    made = files.read_json(long / "provenance.json")
    assert made["parent"] == str(road / "checkpoints/tiny/pretrain")
    checkpoint.load(made["parent"])  # whose hashes are those that it was saved with


@pytest.mark.parametrize("more", [(), LORA, ("--precompute_ref_log_probs", "true")])
def test_the_reference_stays_as_it_was(road, tmp_path, more):
    trainer, _ = dpo.prepare(argv(road, tmp_path / "dpo", "--learning_rate", "0.1", *more))
    batch = trainer._prepare_inputs(next(iter(trainer.get_eval_dataloader())))

    def reference() -> torch.Tensor:
        if trainer.ref_model is None and more[:1] != ("--use_peft",):
            return torch.stack([batch["ref_chosen_logps"], batch["ref_rejected_logps"]])
        with torch.no_grad():
            return torch.stack(trainer.compute_ref_log_probs(trainer.ref_model or trainer.model, batch))

    before, start = reference(), {name: one.clone() for name, one in trainer.model.named_parameters()}
    parent, tokenizer = checkpoint.load(road / "checkpoints/tiny/pretrain")
    rows = list(files.read_jsonl(road / "data/tiny/preferences/validation.jsonl"))[:8]
    found = preferences.likelihoods(parent, tokenizer, rows)
    said = torch.tensor([[one.chosen for one in found], [one.rejected for one in found]])
    torch.testing.assert_close(before.cpu(), said, rtol=1e-4, atol=1e-3)
    trainer.train()
    torch.testing.assert_close(reference(), before, rtol=1e-5, atol=1e-4)
    moved = [name for name, one in trainer.model.named_parameters() if not torch.equal(one, start[name])]
    trained = [name for name, one in trainer.model.named_parameters() if one.requires_grad]
    assert set(moved) == set(trained) != set()


@pytest.mark.parametrize("more", [(), LORA])
def test_the_rewards_of_an_evaluation_count_each_pair_once(road, tmp_path, more):
    """As TRL has them of a batch of all pairs; of batches of 5 and 3 it logs the mean of two means."""
    keys = ("--learning_rate", "0.1", "--per_device_eval_batch_size", "5", "--num_eval_generations", "0")
    trainer, _ = dpo.prepare(argv(road, tmp_path / "dpo", *keys, *more))
    trainer.train()
    found, logged = trainer.evaluate(), trainer.state.log_history[-1]
    own = {key: value for key, value in found.items() if key.startswith("eval_rewards/")}
    batch = trainer._prepare_inputs(trainer.data_collator(list(trainer.eval_dataset)))
    with torch.no_grad():
        loss = trainer.compute_loss(trainer.model, batch)
    assert len(trainer.eval_dataset) == 8
    whole = {f"eval_{key}": value for key, (value,) in trainer._metrics["eval"].items() if key.startswith("rewards/")}
    assert own == pytest.approx(whole, rel=1e-3, abs=1e-5)
    assert own["eval_rewards/margins"] != 0
    assert own.items() <= logged.items()
    assert found["eval_loss"] == pytest.approx(float(loss), rel=1e-4)
    for row in trainer.state.log_history:
        means = {"eval_logps/chosen", "eval_logits/chosen", "eval_entropy", "eval_mean_token_accuracy"}
        assert means.isdisjoint(row)


def test_what_is_learned_is_both_completions_with_their_end(road, tmp_path):
    trainer, _ = dpo.prepare(argv(road, tmp_path / "dpo"))
    tokenizer = trainer.processing_class
    assert len({tokenizer.pad_token_id, tokenizer.eos_token_id}) == 2
    rows = list(files.read_jsonl(road / "data/tiny/preferences/train.jsonl"))
    for row, encoded in zip(rows, trainer.train_dataset, strict=True):
        asked = tuple(tuple(encoded[f"{name}_ids"]) for name in ("prompt", "chosen", "rejected"))
        assert asked == preferences.encode(tokenizer, row)
        assert asked[0] == tuple(tokenizer(row["prompt"])["input_ids"])
        for ids, text in zip(asked[1:], (row["chosen"], row["rejected"]), strict=True):
            assert ids[-1] == tokenizer.eos_token_id
            assert tokenizer.decode(ids[:-1]) == text
    assert trainer.args.gradient_checkpointing is False


def test_lora_leaves_an_adapter_and_the_model_merged_with_it(road, tmp_path):
    output = tmp_path / "dpo"
    assert stage(road, "dpo", *argv(road, output, *LORA)[2:]) == 0
    merged, tokenizer = checkpoint.load(output)
    adapted, _ = checkpoint.load(output / "adapter")
    ids = torch.tensor([tokenizer("Evaluate: 1 + 2\n")["input_ids"]])
    with torch.no_grad():
        torch.testing.assert_close(merged(ids).logits, adapted(ids).logits, rtol=1e-4, atol=1e-5)


ONE = {"prompt": "Evaluate: 1\n", "chosen": "<think>", "rejected": "</think>"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rejected": "<think>"}, "row 1: need two different completions"),
        ({"chosen": ""}, "row 1: need words in `chosen`, got ''"),
        ({"prompt": " \n"}, "row 1: need words in `prompt`"),
        ({"rejected": 3}, "need a string in the column `rejected`, got 3"),
        ({"rejected": "é"}, "the tokenizer cannot express 'é'"),
    ],
)
def test_pairs_of_ones_own_are_checked(road, tmp_path, change, said):
    path = tmp_path / "mine.jsonl"
    path.write_text(f"{json.dumps(ONE | change)}\n" * 2)
    with pytest.raises(ValueError, match=said):
        dpo.prepare(argv(road, tmp_path / "dpo", "--dataset_name", str(path)))


def test_pairs_of_ones_own_are_enough(road, tmp_path):
    path = tmp_path / "mine.jsonl"
    rows = [ONE | {"prompt": f"Evaluate: {number}\n"} for number in range(8)]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    more = ["--dataset_name", str(path), "--max_steps", "1", "--num_eval_generations", "0", "--eval_strategy", "no"]
    assert stage(road, "dpo", *argv(road, tmp_path / "dpo", *more)[2:]) == 0


def test_what_is_too_long_is_an_error_or_dropped(road, tmp_path):
    with pytest.raises(ValueError, match="max_length 60 cannot hold"):
        dpo.prepare(argv(road, tmp_path / "one", "--max_length", "60"))
    trainer, _ = dpo.prepare(argv(road, tmp_path / "two", "--max_length", "60", "--overlong", "drop"))
    assert 0 < len(trainer.train_dataset) < 60
    longest = max(
        len(row["prompt_ids"]) + len(row[one])
        for row in trainer.train_dataset
        for one in ("chosen_ids", "rejected_ids")
    )
    assert longest <= 60


def test_an_adapter_is_no_parent(road, tmp_path):
    output = tmp_path / "lora"
    parent = ["--model_name_or_path", str(road / "checkpoints/tiny/pretrain"), "--output_dir", str(output)]
    assert stage(road, "sft", *parent, recipe="lora") == 0
    with pytest.raises(ValueError, match="need a full or merged model to start from, got the adapter"):
        dpo.prepare(argv(road, tmp_path / "dpo", "--model_name_or_path", str(output / "adapter")))


@pytest.mark.slow
def test_the_command_line(road, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "arith_hf", "dpo", *argv(road, tmp_path / "dpo")],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "dpo: parameters" in done.stdout
    assert (tmp_path / "dpo/metrics.json").is_file()

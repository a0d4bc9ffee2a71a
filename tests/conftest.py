"""One small road for all tests: a corpus, a tokenizer and a pretrained model, made once by the real stages."""

import gc
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # two that wait for each other beside another program: 20 times slower

import pytest
import yaml
from hypothesis import settings

settings.register_profile("fuzz", max_examples=10_000, deadline=None, print_blob=True)  # make fuzz


def pytest_collection_finish() -> None:
    """What the libraries hold stays out of accelerate's full collections: they were half the time of a short run."""
    gc.collect()
    gc.freeze()


TRAINING = {
    "use_cpu": True,
    "bf16": False,
    "logging_steps": 1,
    "eval_strategy": "steps",
    "eval_steps": 2,
    "save_strategy": "steps",
    "save_steps": 2,
    "per_device_train_batch_size": 4,
    "per_device_eval_batch_size": 8,
    "learning_rate": 0.001,
    "num_eval_generations": 4,
    "max_steps": 4,
    "report_to": "none",
}
TUNING = {"max_length": 256, "gradient_checkpointing": False}
RECIPES = {
    "corpus": {
        "max_depth": 2,
        "num_range": [1, 9],
        "num_pretrain": 300,
        "num_sft": 60,
        "num_prompts": 16,
        "num_preferences": 60,
        "num_validation": 12,
        "num_test": 12,
        "num_harder": 4,
        "drill_rate": 0.2,
        "segment_rate": 0.2,
        "num_proc": 1,
    },
    "tokenizer": {"kind": "digits", "places": 3},
    "pretrain": TRAINING
    | {"size": "tiny", "max_length": 256, "optimizer": "muon", "decisive_weight": 3.0, "verdict_weight": 10.0}
    | {"config_overrides": '{"line_stride": 32, "sliding_window": 80, "qk_norm": true}'},
    "sft": TRAINING | TUNING,
    "lora": TRAINING
    | TUNING
    | {"use_peft": True, "lora_r": 2, "lora_alpha": 4, "lora_dropout": 0.0, "lora_target_modules": "all-linear"},
    "dpo": TRAINING | TUNING | {"num_eval_pairs": 8, "beta": 0.5},
    "grpo": TRAINING
    | {
        "gradient_checkpointing": False,
        "per_device_train_batch_size": 8,
        "num_generations": 4,
        "steps_per_generation": 2,
        "max_completion_length": 160,
        "num_generations_eval": 1,
        "beta": 0.0,
        "mask_truncated_completions": False,
        "scale_rewards": "none",
    },
    "evaluate": {"protocol": ["nontrivial", "seed"], "num_samples": 8, "batch_size": 8},
}


def write_recipes(root: Path, model: str = "tiny") -> Path:
    """Recipes of a model that trains in seconds, under `root`; returns their folder."""
    folder = root / "recipes" / model
    folder.mkdir(parents=True)
    for stage, keys in RECIPES.items():
        (folder / f"{stage}.yaml").write_text(yaml.safe_dump(keys))
    return folder


def stage(root: Path, verb: str, *more: str, recipe: str | None = None) -> int:
    """Exit status of a verb on the recipes under `root`, in this process."""
    from arith_hf.__main__ import main

    return main([verb, "--config", str(root / "recipes" / "tiny" / f"{recipe or verb}.yaml"), *more])


def prepared_grpo(root: Path, output: Path, *more: str) -> Any:
    """A trainer of the stage, ready and not run, from the pretrained model if no other is named."""
    from arith_hf.train import grpo

    parent = ["--model_name_or_path", str(root / "checkpoints/tiny/pretrain"), "--output_dir", str(output)]
    return grpo.prepare(["--config", str(root / "recipes/tiny/grpo.yaml"), *parent, *more])[0]


@pytest.fixture(scope="session")
def road(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with recipes/tiny, data/tiny and checkpoints/tiny/{tokenizer,pretrain}; tests may add, not change."""
    root = tmp_path_factory.mktemp("road")
    write_recipes(root)
    for verb in ("corpus", "tokenizer", "pretrain"):
        assert stage(root, verb) == 0, verb
    return root


def length_reward(completions: list[str], **_: object) -> list[float]:
    """A reward that differs within nearly every group, for runs whose model is never right."""
    return [float(len(completion)) for completion in completions]


def odd_reward(completions: list[str], **_: object) -> list[float]:
    """1 for a completion of an odd number of characters, else 0: both happen, whatever the model writes."""
    return [float(len(completion) % 2) for completion in completions]


PROBLEMS = ("1 + 2", "5 + (10 - 3)", "(3 + 4) - (5 - 9)", "4 - -7", "12", "((2 + 2) - (1 + 1)) + (7 - (8 - 9))", "3 +")


@pytest.fixture(scope="session")
def pupil(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that knows `PROBLEMS` by heart, so that it answers and ends; tests may not change it."""
    import torch

    from arith_hf import files, tasks, tokenizer
    from arith_hf.model import ArithConfig, ArithForCausalLM
    from arith_hf.notation import expression as notation

    known = tokenizer.train("digits", [], 0)
    task = tasks.get("expression")
    texts = [notation.ask(one) + notation.completion(task.work(one)) + notation.EOS for one in PROBLEMS]
    ids = known(texts, padding=True, padding_side="right", return_tensors="pt")["input_ids"]
    labels = ids.masked_fill(ids == known.pad_token_id, -100)
    torch.manual_seed(0)
    special = {f"{name}_token_id": getattr(known, f"{name}_token_id") for name in ("pad", "bos", "eos")}
    signature = tokenizer.fingerprint(known)
    model = ArithForCausalLM(
        ArithConfig.from_size("tiny", vocab_size=len(known), tokenizer_fingerprint=signature, **special)
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(300):
        loss = model(input_ids=ids, labels=labels, use_cache=False).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if loss < 0.01:
            break
    path = tmp_path_factory.mktemp("pupil") / "checkpoint"
    model.save_pretrained(path)
    known.save_pretrained(path)
    files.write_json(path / "provenance.json", {"stage": "sft", "tokenizer_fingerprint": signature, "command": "none"})
    return path

"""Every recipe that is shipped parses strictly; the big ones start, step and go on."""

from pathlib import Path

import pytest
import yaml
from accelerate.commands.config.config_args import load_config_from_file
from transformers import TrainingArguments
from trl import DPOConfig, GRPOConfig, ModelConfig, SFTConfig

from arith_hf import corpus, files, recipe
from arith_hf.__main__ import main
from arith_hf.evaluate import EvaluateArguments
from arith_hf.fetch import FetchArguments
from arith_hf.language.arguments import TextArguments
from arith_hf.tokenizer import TokenizerArguments
from arith_hf.train.dpo import DpoArguments
from arith_hf.train.grpo import GrpoArguments, check
from arith_hf.train.gumbel import GumbelArguments
from arith_hf.train.pretrain import PretrainArguments
from arith_hf.train.sft import SftArguments

ROOT = Path(__file__).parent.parent
TRAINED = ("pretrain", "gumbel", "sft", "dpo", "grpo")  # verbs
VERBS = {
    "fetch": ("fetch", (FetchArguments,)),
    "corpus": ("corpus", ()),
    "tokenizer": ("tokenizer", (TokenizerArguments,)),
    "pretrain": ("pretrain", (PretrainArguments, TrainingArguments)),
    "continue": ("pretrain", (PretrainArguments, TrainingArguments)),
    "gumbel": ("gumbel", (GumbelArguments, TrainingArguments, ModelConfig)),
    "sft": ("sft", (SftArguments, SFTConfig, ModelConfig)),
    "lora": ("sft", (SftArguments, SFTConfig, ModelConfig)),
    "dpo": ("dpo", (DpoArguments, DPOConfig, ModelConfig)),
    "grpo": ("grpo", (GrpoArguments, GRPOConfig, ModelConfig)),
    "evaluate": ("evaluate", (EvaluateArguments,)),
}
RECIPES = sorted(path for path in (ROOT / "recipes").glob("*/*.yaml") if path.parent.name != "accelerate")


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_parses_strictly_into_its_own_places(path, monkeypatch):
    monkeypatch.chdir(ROOT)
    verb, classes = VERBS[path.stem]
    more = ["--checkpoint", "somewhere"] if verb == "evaluate" else []
    argv = (
        ["--config", str(path.relative_to(ROOT)), "--report_to", "none"]
        if verb in TRAINED
        else ["--config", str(path.relative_to(ROOT)), *more]
    )
    if verb == "evaluate" and recipe.load(path.with_name("corpus.yaml"))["task"] == "text":
        classes = (TextArguments,)
    instances = (corpus.read(argv),) if verb == "corpus" else recipe.read(classes, argv, verb)
    model, stage = path.parent.name, path.stem
    said = recipe.explicit(instances, argv, verb)
    if verb != "evaluate":
        place = {"fetch": f"data/raw/{model}", "corpus": f"data/{model}"}.get(verb, f"checkpoints/{model}/{stage}")
        assert said["output_dir"] == place
    if verb == "grpo":
        check(instances[1])


@pytest.mark.parametrize("model", sorted({path.parent.name for path in RECIPES}))
def test_a_model_has_the_stages_it_cannot_do_without_and_a_page(model):
    stages = {path.stem for path in RECIPES if path.parent.name == model}
    assert {"corpus", "tokenizer", "pretrain", "evaluate"} <= stages <= set(VERBS)
    assert (ROOT / "recipes" / model / "README.md").is_file()


@pytest.mark.parametrize("path", sorted((ROOT / "recipes/accelerate").glob("*.yaml")), ids=lambda path: path.stem)
def test_launch_configurations_are_read(path):
    assert load_config_from_file(str(path)).num_processes >= 1


def said(**keys: object) -> list[str]:
    """Keys as the command line takes them."""
    return [token for key, value in keys.items() for token in (f"--{key}", str(value))]


@pytest.mark.slow
@pytest.mark.parametrize("model", ["expression-seed", "expression-gpu", "addition-long-gpu"])
def test_what_is_meant_for_a_gpu_starts_steps_and_resumes(model, tmp_path):
    """Models of 5 and 6 million parameters through every stage on the CPU, on little data and few steps."""
    folder = tmp_path / "recipes" / model
    folder.mkdir(parents=True)
    for path in (ROOT / "recipes" / model).glob("*.yaml"):
        (folder / path.name).write_text(path.read_text())

    def run(stage: str, *more: str) -> Path:
        assert main([VERBS[stage][0], "--config", str(folder / f"{stage}.yaml"), *more]) == 0
        return tmp_path / "checkpoints" / model / stage

    few = ["--num_pretrain", "300", "--num_sft", "100", "--num_prompts", "16", "--num_validation", "8"]
    run("corpus", *few, "--num_test", "8", "--num_harder", "4")
    run("tokenizer")
    steps = said(use_cpu=True, report_to="none", eval_steps=1, save_steps=1, num_eval_generations=2)
    small = [*steps, "--per_device_train_batch_size", "2"]
    for stage in ("pretrain", "sft", "lora"):
        if not (folder / f"{stage}.yaml").is_file():
            continue
        run(stage, *small, "--max_steps", "1")
        done = run(stage, *small, "--max_steps", "2", "--resume_from_checkpoint", "true")
        assert files.read_json(done / "metrics.json")["steps"] == 2
    if not (folder / "grpo.yaml").is_file():
        run("evaluate", "--checkpoint", str(done), "--num_samples", "2", "--protocol", "test")
        assert (done / "evaluate.json").is_file()
        return
    group = said(gradient_accumulation_steps=1, per_device_train_batch_size=8, per_device_eval_batch_size=2)
    group += said(num_generations=8, steps_per_generation=1, max_completion_length=511)
    run("grpo", *steps, *group, "--max_steps", "1")
    done = run("grpo", *steps, *group, "--max_steps", "2", "--resume_from_checkpoint", "true")
    assert files.read_json(done / "metrics.json")["steps"] == 2
    few = ["--checkpoint", str(done), "--num_samples", "2", "--max_new_tokens", "32"]
    run("evaluate", *few, "--protocol", "nontrivial", "seed")
    assert (done / "evaluate.json").is_file()


def test_no_recipe_has_a_key_twice_or_a_tab():
    for path in RECIPES:
        assert "\t" not in path.read_text()
        assert yaml.load(path.read_text(), Loader=recipe.StrictLoader)

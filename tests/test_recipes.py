"""Every recipe that is shipped parses strictly; the big one starts, steps and goes on."""

from pathlib import Path

import pytest
import yaml
from accelerate.commands.config.config_args import load_config_from_file
from transformers import TrainingArguments
from trl import GRPOConfig, ModelConfig, SFTConfig

from arith_hf import files, recipe
from arith_hf.__main__ import main
from arith_hf.corpus.arguments import CorpusArguments
from arith_hf.evaluate import EvaluateArguments
from arith_hf.tokenizer import TokenizerArguments
from arith_hf.train.grpo import GrpoArguments, check
from arith_hf.train.pretrain import PretrainArguments
from arith_hf.train.sft import SftArguments

ROOT = Path(__file__).parent.parent
VERBS = {
    "corpus": ("corpus", (CorpusArguments,)),
    "tokenizer": ("tokenizer", (TokenizerArguments,)),
    "pretrain": ("pretrain", (PretrainArguments, TrainingArguments)),
    "sft": ("sft", (SftArguments, SFTConfig, ModelConfig)),
    "lora": ("sft", (SftArguments, SFTConfig, ModelConfig)),
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
        if verb in ("pretrain", "sft", "grpo")
        else ["--config", str(path.relative_to(ROOT)), *more]
    )
    instances = recipe.read(classes, argv, verb)
    model, stage = path.parent.name, path.stem
    said = recipe.explicit(instances, argv, verb)
    if verb != "evaluate":
        assert said["output_dir"] == (f"data/{model}" if verb == "corpus" else f"checkpoints/{model}/{stage}")
    if verb == "grpo":
        check(instances[1])


@pytest.mark.parametrize("model", sorted({path.parent.name for path in RECIPES}))
def test_a_model_has_all_its_stages_and_a_page(model):
    assert {path.stem for path in RECIPES if path.parent.name == model} == set(VERBS)
    assert (ROOT / "recipes" / model / "README.md").is_file()


@pytest.mark.parametrize("path", sorted((ROOT / "recipes/accelerate").glob("*.yaml")), ids=lambda path: path.stem)
def test_launch_configurations_are_read(path):
    assert load_config_from_file(str(path)).num_processes >= 1


@pytest.mark.slow
def test_the_document_s_own_settings_start_step_and_resume(tmp_path):
    """The 6-million-parameter model with learned positions and BPE, on little data and few steps."""
    folder = tmp_path / "recipes/expression-seed"
    folder.mkdir(parents=True)
    for path in (ROOT / "recipes/expression-seed").glob("*.yaml"):
        (folder / path.name).write_text(path.read_text())

    def run(stage: str, *more: str) -> Path:
        assert main([VERBS[stage][0], "--config", str(folder / f"{stage}.yaml"), *more]) == 0
        return tmp_path / "checkpoints/expression-seed" / stage

    few = ["--num_pretrain", "300", "--num_sft", "100", "--num_prompts", "16", "--num_validation", "8"]
    run("corpus", *few, "--num_test", "8", "--num_harder", "4")
    run("tokenizer")
    steps = [
        "--use_cpu",
        "true",
        "--report_to",
        "none",
        "--eval_steps",
        "1",
        "--save_steps",
        "1",
        "--num_eval_generations",
        "2",
    ]
    small = [*steps, "--per_device_train_batch_size", "2"]
    for stage in ("pretrain", "sft", "lora"):
        run(stage, *small, "--max_steps", "1")
        done = run(stage, *small, "--max_steps", "2", "--resume_from_checkpoint", "true")
        assert files.read_json(done / "metrics.json")["steps"] == 2
    group = ["--gradient_accumulation_steps", "1", "--per_device_eval_batch_size", "2"]
    run("grpo", *steps, *group, "--max_steps", "1")
    done = run("grpo", *steps, *group, "--max_steps", "2", "--resume_from_checkpoint", "true")
    assert files.read_json(done / "metrics.json")["steps"] == 2


def test_no_recipe_has_a_key_twice_or_a_tab():
    for path in RECIPES:
        assert "\t" not in path.read_text()
        assert yaml.load(path.read_text(), Loader=recipe.StrictLoader)

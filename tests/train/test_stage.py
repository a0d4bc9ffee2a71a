"""What all training stages share, where a whole run would show it too late."""

import shutil
from pathlib import Path

import pytest
from accelerate.utils import DynamoBackend
from conftest import stage as on_road
from transformers import Trainer, TrainingArguments

from arith_hf.__main__ import main
from arith_hf.model import ArithConfig, ArithForCausalLM
from arith_hf.train import checks, stage


@pytest.mark.parametrize(("backend", "compiled"), [("eager", True), ("no-such-backend", False)])
def test_without_a_compiler_training_goes_on_uncompiled_and_says_so(tmp_path, caplog, monkeypatch, backend, compiled):
    monkeypatch.setattr(stage.logger, "propagate", True)
    training = TrainingArguments(output_dir=str(tmp_path), torch_compile_backend=backend, use_cpu=True)
    assert training.torch_compile
    checks.require_compiler(training)
    trainer = Trainer(ArithForCausalLM(ArithConfig.from_size("tiny")), training)
    assert (trainer.accelerator.state.dynamo_plugin.backend != DynamoBackend.NO) is compiled
    assert ("nothing can be compiled" in caplog.text) is not compiled


def test_what_a_finished_run_left_is_gone_when_the_next_one_begins(tmp_path):
    kept = tmp_path / "checkpoint-2/trainer_state.json"
    kept.parent.mkdir()
    for path in (kept, *(tmp_path / name for name in stage.RESULTS)):
        path.write_text("{}")
    stage.clear(tmp_path, keep_steps=True)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-2"]
    assert kept.is_file()


def test_a_step_that_is_a_link_is_gone_too_and_what_it_leads_to_stays(tmp_path):
    """Of another disk; left, it would be gone on from later. A folder that cannot be removed is no silence either."""
    kept = tmp_path / "disk/checkpoint-9/trainer_state.json"
    kept.parent.mkdir(parents=True)
    kept.write_text("{}")
    output = tmp_path / "sft"
    (output / "checkpoint-2").mkdir(parents=True)
    (output / "checkpoint-4").symlink_to(kept.parent, target_is_directory=True)
    (output / "checkpoint-6").symlink_to(tmp_path / "gone")
    (output / "checkpoint-notes.txt").write_text("mine")
    stage.clear(output, keep_steps=False)
    assert [path.name for path in output.iterdir()] == ["checkpoint-notes.txt"]
    assert kept.is_file()


def test_a_step_that_cannot_be_removed_is_said(tmp_path, monkeypatch):
    def refuse(*arguments, **options):
        raise PermissionError("not yours")

    (tmp_path / "checkpoint-2").mkdir()
    monkeypatch.setattr(stage.shutil, "rmtree", refuse)
    with pytest.raises(PermissionError):
        stage.clear(tmp_path, keep_steps=False)


@pytest.mark.parametrize("verb", ["pretrain", "gumbel", "sft", "grpo"])
@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("max_steps", "0", "max_steps: need at least 1, or -1 to train by num_train_epochs, got 0"),
        ("max_steps", "-2", "max_steps: need at least 1, or -1 to train by num_train_epochs, got -2"),
        ("num_train_epochs", "0", "num_train_epochs: need more than 0, got 0"),
        ("num_train_epochs", "-1", "num_train_epochs: need more than 0, got -1"),
        ("gradient_accumulation_steps", "0", "gradient_accumulation_steps"),
        ("per_device_train_batch_size", "0", "per_device_train_batch_size"),
        ("per_device_eval_batch_size", "0", "per_device_eval_batch_size"),
    ],
)
def test_a_run_that_would_not_train_as_asked_stops_before_any_compute(tmp_path, capsys, verb, key, value, said):
    """Before anything is looked for: there is neither data nor a model here."""
    more = [] if key == "max_steps" else ["--max_steps", "-1"]
    assert main([verb, "--output_dir", str(tmp_path / "out"), "--use_cpu", "true", f"--{key}={value}", *more]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_batch_larger_than_all_rows_is_no_finished_run(road, tmp_path, capsys):
    more = ["--dataloader_drop_last", "true", "--per_device_train_batch_size", "1000"]
    assert on_road(road, "sft", *more, "--output_dir", str(tmp_path / "sft")) == 2
    assert "no step was taken: a batch takes more than the 60 rows there are" in capsys.readouterr().err
    assert not (tmp_path / "sft/metrics.json").exists()


@pytest.mark.parametrize("output", ["pretrain", "pretrain/sft", "."])
def test_no_run_writes_over_its_parent(tmp_path, monkeypatch, output):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pretrain").mkdir()
    (tmp_path / "link").symlink_to("pretrain")
    with pytest.raises(ValueError, match="lie in one another: the run would write over what it starts from"):
        checks.require_apart(Path(output), str(tmp_path / "link"), None)
    checks.require_apart(Path("pretrain-2"), "pretrain", None)


def test_the_parent_is_as_it_was(road, tmp_path, capsys):
    parent = shutil.copytree(road / "checkpoints/tiny/pretrain", tmp_path / "pretrain")
    before = {path: path.read_bytes() for path in parent.rglob("*") if path.is_file()}
    assert on_road(road, "sft", "--model_name_or_path", str(parent), "--output_dir", str(parent)) == 2
    assert "would write over what it starts from" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in parent.rglob("*") if path.is_file()} == before


def test_the_tokenizer_is_as_it_was(road, capsys):
    place = str(road / "checkpoints/tiny/tokenizer")
    assert on_road(road, "pretrain", "--output_dir", place) == 2
    assert f"output_dir {place} is the folder of the tokenizer" in capsys.readouterr().err
    assert not Path(place, "model.safetensors").exists()


def test_samples_of_another_run_do_not_stay(tmp_path):
    """A run that writes none would leave them beside its own weights."""
    path = tmp_path / "generations.jsonl"
    path.write_text("{}\n")
    stage.clear(tmp_path, keep_steps=True)
    assert path.exists(), "of the run that is gone on with"
    stage.clear(tmp_path, keep_steps=False)
    assert not path.exists()

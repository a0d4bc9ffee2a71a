"""What all training stages share, where a whole run would show it too late."""

import pytest
from accelerate.utils import DynamoBackend
from transformers import Trainer, TrainingArguments

from arith_hf.model import ArithConfig, ArithForCausalLM
from arith_hf.train import stage


@pytest.mark.parametrize(("backend", "compiled"), [("eager", True), ("no-such-backend", False)])
def test_without_a_compiler_training_goes_on_uncompiled_and_says_so(tmp_path, caplog, monkeypatch, backend, compiled):
    monkeypatch.setattr(stage.logger, "propagate", True)
    training = TrainingArguments(output_dir=str(tmp_path), torch_compile_backend=backend, use_cpu=True)
    assert training.torch_compile
    stage.require_compiler(training)
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

"""The speedrun: a clock that stops, levels that are reached, seeds that are kept, claims that are counted right."""

import doctest
import json
import time
from types import SimpleNamespace

import pytest
import torch
from datasets import Dataset

from benchmarks import claims, clock, speedrun


def test_examples_in_the_docstrings_hold():
    for module in (claims, speedrun):
        assert doctest.testmod(module).failed == 0


def test_student_s_tail_is_the_tables():
    for df, t, share in ((1, 12.706, 0.025), (2, 2.92, 0.05), (9, 1.833, 0.05), (30, 2.75, 0.005)):
        assert claims.tail(t, df) == pytest.approx(share, rel=1e-3)
    assert claims.tail(-1.0, 3) + claims.tail(1.0, 3) == pytest.approx(1)


def test_a_claim_needs_spread_and_a_mean_beyond_the_level():
    assert claims.p_at_least([0.991], 0.99) is None
    assert claims.p_at_least([1.0, 1.0, 1.0], 0.99) is None
    assert claims.p_at_least([0.9998, 0.9999, 0.9997], 0.99) < 1e-4
    assert claims.p_at_least([0.98, 0.985, 0.99], 0.99) > 0.5
    gap, (low, high) = claims.difference([0.9, 0.92, 0.91], [0.8, 0.81, 0.79])
    assert low < gap < high
    assert gap == pytest.approx(0.11)
    assert claims.difference([0.9], [0.8, 0.7])[1] is None


def test_the_clock_stands_still_while_the_model_is_examined():
    model = torch.nn.Linear(2, 2)
    shape = {"num_hidden_layers": 1, "num_attention_heads": 1, "head_dim": 2}
    model.config = SimpleNamespace(**shape, sliding_window=2, pad_token_id=0)
    blocks = {"input_ids": [[5, 5, 5, 0]], "position_ids": [[0, 1, 2, 0]]}
    rows = Dataset.from_dict(blocks).with_format("torch")
    trainer = SimpleNamespace(model=model, train_dataset=rows, add_callback=lambda _: None)

    def look(_trainer, _ended):
        until = time.process_time() + 0.2
        while time.process_time() < until:
            pass
        return {"n": 1}

    kept = clock.Clock(trainer, lambda steps: [2], look)
    kept.start()
    state = SimpleNamespace(max_steps=3, global_step=0, num_input_tokens_seen=0)
    kept.on_train_begin(None, state, None)
    for step in (1, 2, 3):
        state.global_step, state.num_input_tokens_seen = step, 100 * step
        kept.on_step_end(None, state, None)
    assert [point["step"] for point in kept.curve] == [2, 3]
    assert kept.core < 0.1
    assert kept.wall < 0.1
    # 6 N + 12 L D context, over the three tokens that are no padding: they see 1, 2 and (within the window) 2.
    assert kept.flops == pytest.approx(6 * 4 + 12 * 2 * 5 / 3)


def test_a_level_is_reached_on_the_whole_set_only():
    costs = dict.fromkeys(speedrun.COSTS, 1.0)
    curve = [{**costs, "step": 1, "n": 100, "right": 100}, {**costs, "step": 2, "n": 1000, "right": 990}]
    assert speedrun.reached(curve, 0.99, 1000)["step"] == 2
    assert speedrun.reached(curve, 0.999, 1000) is None


def test_two_seeds_are_run_kept_and_told(road, capsys, monkeypatch):
    argv = ["--config", str(road / "recipes/tiny/pretrain.yaml"), "--max_steps", "2", "--every", "0.5"]
    monkeypatch.setattr(clock, "WORTH", 0.0)
    speedrun.main([*argv, "--seeds", "2", "--note", "first"])
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said["seeds"] == [0, 1]
    assert [point["step"] for point in said["runs"][0]["curve"]] == [1, 2]
    assert said["runs"][0]["n"] == said["n"] == 12
    assert said["runs"][0]["core_seconds"] > 0
    folder = road / "checkpoints/tiny/speedrun"
    assert (folder / "seed-1/metrics.json").is_file()  # a checkpoint like any other
    monkeypatch.setattr(speedrun, "run", None)  # nothing may be run again
    speedrun.main([*argv, "--seeds", "2", "--logging_steps", "2"])
    speedrun.main([*argv, "--only_table"])
    printed = capsys.readouterr().out
    assert json.loads(printed.splitlines()[-1])["runs"] == said["runs"]
    assert "| ? | 2 | - / - / - |" in printed
    with pytest.raises(TypeError):  # another recipe: it would run
        speedrun.main([*argv, "--learning_rate", "0.5"])


def test_what_cannot_run_is_refused_in_a_line(tmp_path):
    with pytest.raises(SystemExit, match="nothing finished"):
        speedrun.main(["--config", str(tmp_path / "recipes/m/pretrain.yaml"), "--only_table"])
    with pytest.raises(SystemExit, match="need --config"):
        speedrun.main([])
    with pytest.raises(SystemExit, match="need seeds >= 1"):
        speedrun.main(["--seeds", "0"])

import asyncio
import inspect
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from arith_hf import rewards


@pytest.mark.parametrize(
    ("completion", "answer", "paid"),
    [
        ("<think>\n</think>\nFinal Result: 12", "12", 1.0),
        ("<think>\n</think>\nFinal Result: 12", "2", 0.0),  # no substring credit
        ("<think>\n</think>\nFinal Result: 2", "12", 0.0),
        ("<think>Evaluation ERROR</think>\nFinal Result: ERROR", "ERROR", 1.0),
        ("<think>\n</think>\nFinal Result: ERROR", "12", 0.0),
        ("Final Result: 12", "12", 0.0),  # nothing before </think> is an answer
        ("<think>\nFinal Result: 12\n</think>\nFinal Result: 13", "12", 0.0),
        ("<think>\n</think>\nFinal Result: 13\nFinal Result: 12", "12", 1.0),  # the last one counts
        ("<think>\n</think>\nFinal Result: 12 or 13", "12", 0.0),
        ("<think>\n</think>\nFinal Result: -12", "12", 0.0),
        ("", "12", 0.0),
    ],
)
def test_pays_for_right_only(completion, answer, paid):
    assert rewards.exact_answer(completions=[completion], answer=[answer], prompts=["Final Result: 12"]) == [paid]


WORKED = "<think>\nStep 1: 1 + 2 = 3\nExpression now: 3 - 4\nStep 2: 3 - 4 = -1\nExpression now: -1\n</think>\n"


@pytest.mark.parametrize(
    ("completion", "share"),
    [
        (WORKED + "Final Result: -1", 1.0),
        (WORKED.replace("= -1", "= 1"), 0.5),
        (WORKED.replace("= 3", "= 4"), 0.0),
        ("<think>\n</think>\nFinal Result: -1", 0.0),  # the right answer, from nowhere
        ("<think>\nStep 2: 3 - 4 = -1", 0.0),
        (WORKED.replace("Step 2", "Step 3"), 0.5),
        ("", 0.0),
    ],
)
def test_pays_for_steps_before_the_first_fault(completion, share):
    assert rewards.right_steps(["Evaluate: 1 + 2 - 4\n"], [completion]) == [share]


@pytest.mark.parametrize("answer", [None, "5.0", "", "five", 5.5])
def test_an_answer_that_nothing_could_give_is_no_flat_reward(answer):
    for completion in ("garbage", "<think>\n</think>\nFinal Result: 5"):
        with pytest.raises(ValueError, match="need an integer or ERROR as the answer of a row, got"):
            rewards.exact_answer([completion], [answer])


@pytest.mark.parametrize("answer", ["5", " 5", "05", 5])
def test_an_answer_is_an_integer_however_it_is_written(answer):
    assert rewards.exact_answer(["<think>\n</think>\nFinal Result: 5", "garbage"], [answer] * 2) == [1.0, 0.0]


def test_pay_for_steps_fades():
    def paid(step):
        state = SimpleNamespace(global_step=step, max_steps=100)
        return rewards.right_steps(["Evaluate: 1 + 2 - 4\n"], [WORKED + "Final Result: -1"], trainer_state=state)[0]

    assert [paid(step) for step in (0, 25, 50, 99)] == [1.0, 0.5, 0.0, 0.0]


def test_a_form_without_steps_is_paid_for_answers_only():
    assert rewards.right_steps(["12+30="], ["42"], task=["addition/direct"]) == [0.0]


def test_a_coin_falls_alike_in_each_run_and_anew_at_each_step():
    def tossed(step):
        return rewards.coin(["the same"] * 400, trainer_state=SimpleNamespace(global_step=step))

    assert tossed(3) == tossed(3) != tossed(4)
    assert {*tossed(3)} == {0.0, 1.0}
    assert 140 < sum(tossed(3)) < 260


@pytest.mark.parametrize("path", ["nowhere.reward", "arith_hf.rewards.none", "reward", "arith_hf.rewards.__doc__"])
def test_an_unknown_reward_is_named(path):
    with pytest.raises(ValueError, match=f"no function at `{path}`"):
        rewards.find(path)


def test_a_module_of_the_working_directory_is_found(tmp_path, monkeypatch):
    """A console script has its own folder first on the path, not the working directory."""
    (tmp_path / "reward_of_the_folder.py").write_text("def nothing(completions, **_): return [0.0] * len(completions)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    assert rewards.find("reward_of_the_folder.nothing")(completions=["a"]) == [0.0]


def test_a_module_that_fails_is_the_users_mistake(tmp_path, monkeypatch):
    (tmp_path / "reward_that_exits.py").write_text("raise SystemExit(0)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(ValueError, match="no function at `reward_that_exits"):
        rewards.find("reward_that_exits.pay")


def test_a_reward_has_lists_of_its_own():
    def pay(completions, answer, **_):
        answer[0] = completions[0] = "0"
        return [1.0]

    columns = {"completions": ["5"], "answer": ["5"], "trainer_state": None}
    assert rewards.apart(pay)(**columns) == [1.0]
    assert columns == {"completions": ["5"], "answer": ["5"], "trainer_state": None}
    assert rewards.apart(pay).__name__ == "pay"

    async def later(completions, **_):
        completions.clear()
        return [0.5]

    assert inspect.iscoroutinefunction(rewards.apart(later)), "TRL awaits what says so"
    assert asyncio.run(rewards.apart(later)(**columns)) == [0.5]
    assert columns["completions"] == ["5"]


def test_imports_without_any_framework():
    """So that stock `trl grpo` finds it by dotted path at no cost."""
    code = "import arith_hf.rewards, sys; print([m for m in ('torch', 'transformers') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.slow
def test_stock_trl_takes_the_reward_the_prompts_and_the_model(road, tmp_path):
    command = [str(Path(sys.executable).with_name("trl")), "grpo"]
    command += ["--model_name_or_path", str(road / "checkpoints/tiny/pretrain"), "--trust_remote_code"]
    command += ["--dataset_name", str(road / "data/tiny"), "--dataset_config", "prompts"]
    command += ["--dataset_test_split", "validation", "--reward_funcs", "arith_hf.rewards.exact_answer"]
    command += ["--use_cpu", "true", "--bf16", "false", "--gradient_checkpointing", "false", "--num_generations", "4"]
    command += ["--per_device_train_batch_size", "8", "--max_completion_length", "16", "--max_steps", "1"]
    command += ["--logging_steps", "1", "--report_to", "none", "--output_dir", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "rewards/exact_answer/mean" in done.stdout + done.stderr
    assert (tmp_path / "model.safetensors").is_file()

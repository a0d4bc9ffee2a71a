"""Ours pays rightly in every form; each way in which a reward can be cheated or break is named by its class."""

import asyncio
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from arith_hf import audit, rewards
from arith_hf.__main__ import main

RESULT = "Final Result:"
FORMS = (
    *("expression", "addition/columns", "addition/direct", "addition/reversed"),
    *("addition/columns/zero_pad=4", "addition/reversed/zero_pad=4", "addition/direct/zero_pad=3"),
)


def audited(reward, task="expression", num_problems=20):
    report = audit.audit(reward, task, 0, num_problems)
    return report | {"classes": {row["class"]: row for row in report["classes"]}}


def failed(report, key):
    return {name for name, row in report["classes"].items() if row[key]}


def each(pay):
    """A reward from what it pays a single completion."""
    return lambda completions, answer, prompts, **_: list(map(pay, completions, answer, prompts))


def read(completion):
    return completion.rpartition(RESULT)[2].strip()


def unicode_int(completion, answer, _):
    try:
        return float(str(int(read(completion))) == answer)
    except ValueError:
        return float(read(completion) == answer == "ERROR")


def evaluated(completion, answer, _):
    try:
        return float(str(eval(read(completion), {})) == answer)
    except (SyntaxError, NameError, ValueError, TypeError, MemoryError):
        return float(read(completion) == answer)


CHEATED = {  # name -> (reward, classes that it pays for, classes that it does not)
    "substring": (
        lambda text, answer, _: float(answer in text),
        {"digit before (112)", "junk behind (12; DROP)"},
        set(),
    ),
    "last number": (
        lambda text, answer, _: float((re.findall(r"-?[0-9]+|ERROR", text) or [""])[-1] == answer),
        {"only inside <think>", "words behind (12 apples)", "closing tag missing"},
        {"off by one", "right answer, then wrong", "empty"},
    ),
    "int() of any digits": (
        unicode_int,
        {"Arabic-Indic digits", "fullwidth digits", "plus sign (+12)", "no tags"},
        {"superscript digits", "off by one", "digit behind (123)"},
    ),
    "any number": (lambda text, answer, _: float(bool(re.search("[0-9]", read(text)))), {"off by one"}, {"empty"}),
    "always": (lambda *_: 1.0, {"empty", "off by one", "giant: prattle, no answer"}, set()),
    "partly": (lambda text, answer, _: max(0.1, float(read(text) == answer)), {"empty", "off by one"}, set()),
    "the prompt too": (
        lambda text, answer, prompt: float(f"{RESULT} {answer}" in prompt + text),
        {"answer only in the prompt", "right answer, then wrong"},
        {"empty", "off by one"},
    ),
    "eval": (evaluated, {"not worked out (11+1)", "hexadecimal (0xc)", "1_000"}, {"off by one", "12.0"}),
}
NO_ANSWER = {"empty", "only white space", "only NUL bytes", "giant: prattle, no answer"}


@pytest.mark.parametrize("task", FORMS)
def test_ours_pays_rightly(task):
    report = audited(rewards.exact_answer, task, num_problems=60)
    sums = {key: report[key] for key in ("false_positives", "false_negatives", "faults", "by_convention")}
    assert not any(sums.values()), sums
    assert {row["worth"] for row in report["classes"].values() if row["group"] == "sound"} == {1.0}
    assert {row["worth"] for row in report["classes"].values() if row["group"] == "hostile"} == {0.0}
    assert report["completions_per_second"] > 1000


@pytest.mark.parametrize("name", CHEATED)
def test_a_reward_that_can_be_cheated_is_named(name):
    pay, paid, unpaid = CHEATED[name]
    report = audited(each(pay), num_problems=200)
    found = failed(report, "false_positives")
    assert paid <= found
    assert not unpaid & found
    assert report["false_positives"] > 0


def test_pay_that_grows_with_length_is_uneven():
    def pay(completions, answer, task, **_):
        paid = rewards.exact_answer(completions, answer, task)
        return [one * (1 + len(completion)) for one, completion in zip(paid, completions, strict=True)]

    report = audited(pay)
    assert not report["false_positives"]
    assert report["uneven"]
    assert not audited(rewards.exact_answer)["uneven"]


def test_a_reward_that_writes_into_its_columns_is_a_fault():
    def pay(completions, answer, **_):
        answer[0] = "0"
        return [1.0] * len(completions)

    assert "wrote into answer, which other rewards read too" in str(audited(pay)["classes"])


def test_another_signature_is_said_once(tmp_path):
    (tmp_path / "mine.py").write_text("def pay(text):\n    return 1.0\n")
    done = run("mine.pay", folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "need TRL's signature, def my_reward(completions, answer, **kwargs)" in done.stderr


def test_never_paying_is_a_false_negative():
    report = audited(each(lambda *_: 0))
    assert failed(report, "false_negatives") >= {"right working and answer", "ERROR for a malformed problem"}
    assert report["false_negatives"] == 20
    assert report["false_positives"] == 0


def test_half_pay_for_a_right_answer_is_a_false_negative():
    report = audited(lambda **columns: [one / 2 for one in rewards.exact_answer(**columns)])
    assert report["false_negatives"] == 20


def test_stricter_than_the_rule_fails_nothing():
    def strict(completions, answer, **columns):
        paid = rewards.exact_answer(completions=completions, answer=answer, **columns)
        return [one * text.endswith(f" {right}") for one, text, right in zip(paid, completions, answer, strict=True)]

    report = audited(strict)
    assert (report["false_positives"], report["false_negatives"], report["faults"]) == (0, 0, 0)
    assert report["by_convention"] > 0
    assert {"leading zeros (007)", "spaces around"} <= failed(report, "false_negatives")


def test_raising_is_laid_at_the_completion_that_did_it():
    def first_line(completion, *_):
        return float(completion.splitlines()[0] == "right")

    report = audited(each(first_line))
    assert failed(report, "faults") == {"empty"}
    assert "raised IndexError" in report["classes"]["empty"]["example"]
    assert report["faults"] == report["classes"]["empty"]["n"] == 20


def test_a_quadratic_pattern_is_stopped_and_named():
    def trimmed(completion, answer, _):
        return float(re.sub(r"\s+$", "", completion).endswith(f"{RESULT} {answer}"))

    started = time.perf_counter()
    report = audited(each(trimmed))
    assert failed(report, "faults") == {"giant: spaces, then junk"}
    assert audit.LATE in report["classes"]["giant: spaces, then junk"]["example"]
    assert report["slowest_class"] == "giant: spaces, then junk"
    assert time.perf_counter() - started < 20


def test_a_reward_that_hangs_costs_a_second_a_class(monkeypatch):
    monkeypatch.setattr(audit, "LIMIT", 0.01)

    def hang(**_):
        try:
            time.sleep(60)
        except Exception:
            return [1.0]

    assert audited(hang, num_problems=5)["faults"] > 100


@pytest.mark.parametrize(
    ("value", "said"),
    [(None, "gave None"), (float("nan"), "gave nan"), ("1", "gave '1'"), ([1.0], "raised TypeError")],
)
def test_what_is_no_number_is_a_fault(value, said):
    report = audited(each(lambda *_: value), num_problems=2)
    assert report["faults"] == report["completions"]
    assert said in report["classes"]["empty"]["example"]


def test_a_wrong_number_of_values_is_a_fault():
    report = audited(lambda completions, **_: [0.0])
    assert "gave 1 values for 20 completions" in report["classes"]["empty"]["example"]


def test_a_reward_that_exits_does_not_end_the_audit():
    assert audited(lambda **_: sys.exit(0), num_problems=2)["faults"] > 50


def test_an_asynchronous_reward_and_the_columns_of_trl():
    async def patient(prompts, completions, completion_ids, answer, task, trainer_state, log_metric, **columns):
        await asyncio.sleep(0)
        log_metric("seen", len(completion_ids[0]))
        assert trainer_state.global_step == 0
        assert {"level", "kind", "steps"} <= set(columns)
        return rewards.exact_answer(completions, answer, task)

    report = audited(patient)
    assert report["false_positives"] + report["false_negatives"] + report["faults"] == 0


# The command


def run(*arguments, folder=None):
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
    command = [sys.executable, "-m", "arith_hf", "audit-reward", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env=environment)


def test_the_command_on_ours():
    done = run("--task", "addition/columns", "--num_problems", "20", "--format", "json")
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    assert (report["reward"], report["task"]) == ("arith_hf.rewards.exact_answer", "addition/columns")
    assert (report["false_positives"], report["false_negatives"]) == (0, 0)


def test_the_command_on_a_module_of_the_folder(tmp_path):
    pays = "return [float(a in c) for c, a in zip(completions, answer)]"
    (tmp_path / "mine.py").write_text(f"def pay(completions, answer, **_):\n    print('noise')\n    {pays}\n")
    done = run("mine.pay", "--num_problems", "10", folder=tmp_path)
    assert done.returncode == 1
    assert "noise" not in done.stdout
    assert re.search(r"digit before \(112\) +8 +0 +1 +8 +0 +0 +'.* for .*: paid 1", done.stdout)
    assert "mine.pay, 10 problems of expression (seed 0)" in done.stdout.splitlines()[-1]
    assert done.stdout.isascii()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere.pay"], "no function at `nowhere.pay`"),
        (["pay"], "give module.function"),
        (["arith_hf.rewards.pay"], "no function at"),
        (["--task", "chess"], "unknown task 'chess'"),
        (["--task", "addition"], "need addition/ and one of direct"),
        (["--num_problems", "0"], "need --num_problems >= 1"),
        (["--num_problem", "9"], "unrecognized arguments"),
        (["--format", "yaml"], "invalid choice"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(arguments, said, capsys):
    assert main(["audit-reward", *arguments]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 1
    assert said in errors[0]

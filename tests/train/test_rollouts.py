from types import SimpleNamespace

import pytest
from conftest import PROBLEMS, prepared_grpo, stage

from arith_hf import files, notation, tasks
from arith_hf.notation import expression
from arith_hf.train import rollouts


@pytest.fixture(scope="module")
def trainer(road, pupil, tmp_path_factory):
    folder = tmp_path_factory.mktemp("grpo")
    work = tasks.get("expression").work
    rows = [{"prompt": expression.ask(one), "answer": str(work(one).answer)} for one in PROBLEMS[:6]]
    files.write_jsonl(folder / "prompts.jsonl", rows)
    more = ("--model_name_or_path", str(pupil), "--dataset_name", str(folder / "prompts.jsonl"))
    return prepared_grpo(road, folder / "run", *more)


def test_what_the_policy_writes_is_its_own(trainer):
    """A model that knows a few problems by heart answers them, prompt by prompt, in order."""
    prompts = [expression.ask(one) for one in PROBLEMS[:6] for _ in range(3)]
    made = rollouts.drafted(prompts, trainer)
    assert made["prompt_ids"] == trainer.processing_class(prompts)["input_ids"]
    assert made["logprobs"] is None
    end = trainer.processing_class.eos_token_id
    texts = trainer.processing_class.batch_decode(made["completion_ids"], skip_special_tokens=True)
    right = [str(tasks.get("expression").work(one).answer) for one in PROBLEMS[:6] for _ in range(3)]
    assert [str(expression.read_answer(text)) for text in texts] == right
    assert all(ids.index(end) == len(ids) - 1 for ids in made["completion_ids"])


def test_a_completion_is_cut_off_at_the_cap(trainer, monkeypatch):
    monkeypatch.setattr(trainer, "max_completion_length", 5)
    made = rollouts.drafted([expression.ask(PROBLEMS[1])] * 4, trainer)
    assert {len(ids) for ids in made["completion_ids"]} == {5}


def test_rollouts_differ_from_step_to_step_and_not_from_run_to_run(trainer, monkeypatch):
    prompts = [expression.ask("((9 - 8) + (7 - 1)) - (12 + 13)")] * 8  # not known, so it is made up
    once, again = (rollouts.drafted(prompts, trainer)["completion_ids"] for _ in range(2))
    monkeypatch.setattr(trainer.state, "global_step", 1)
    later = rollouts.drafted(prompts, trainer)["completion_ids"]
    assert once == again != later


def test_other_ways_of_sampling_are_left_to_trl(road, tmp_path):
    plain = dict(top_p=1.0, top_k=0, min_p=None, repetition_penalty=1.0, generation_kwargs=None, use_vllm=False)
    plain["use_transformers_continuous_batching"] = False
    assert rollouts.changed(SimpleNamespace(**plain)) == []
    assert rollouts.changed(SimpleNamespace(**plain | {"top_p": 0.9, "use_vllm": True})) == ["top_p", "use_vllm"]
    assert prepared_grpo(road, tmp_path / "a").rollout_func is rollouts.drafted
    assert prepared_grpo(road, tmp_path / "b", "--top_p", "0.9").rollout_func is None
    assert prepared_grpo(road, tmp_path / "c", "--drafts", "false").rollout_func is None


def test_each_form_has_a_guess_of_its_own():
    """Whatever the form, the right completion is one that it can go on from."""
    for name, prompt in (("expression", "Evaluate: 1 + 2\n"), ("addition/columns", "12+30=")):
        form = notation.of(name)
        whole = prompt + form.solution(prompt)
        assert form.resumed(whole[: len(prompt) + 4]).startswith(whole[: len(prompt) + 4])


def test_a_rollout_may_stop_at_its_fault(trainer):
    """It ends with the token that was its fault; what is evaluated goes on."""
    prompts = [expression.ask("((9 - 8) + (7 - 1)) - (12 + 13)")] * 8 + [expression.ask(PROBLEMS[0])] * 2
    right = [expression.solution(prompt) for prompt in prompts]
    model = trainer.accelerator.unwrap_model(trainer.model)
    made = {}
    for training in (True, False):
        model.train(training)
        made[training] = rollouts.drafted(prompts, trainer, stop_at_fault=True)["completion_ids"]
    tokenizer = trainer.processing_class
    due = tokenizer(right, add_special_tokens=False)["input_ids"]
    for ids, whole in zip(made[True][:8], due, strict=False):
        assert ids[:-1] == whole[: len(ids) - 1]
        assert ids[-1] != whole[len(ids) - 1]
    assert made[True][8:] == [[*due[8], tokenizer.eos_token_id]] * 2
    assert sum(map(len, made[False])) > sum(map(len, made[True]))


def test_stopping_at_a_fault_needs_drafts_and_a_loss_on_what_was_cut_off(road, tmp_path):
    stop = ("--stop_at_fault", "true")
    assert prepared_grpo(road, tmp_path / "a", *stop).rollout_func.keywords == {"stop_at_fault": True}
    for more in (("--drafts", "false"), ("--top_p", "0.9"), ("--mask_truncated_completions", "true")):
        with pytest.raises(ValueError, match="stop_at_fault: need drafts: true"):
            prepared_grpo(road, tmp_path / "b", *stop, *more)


@pytest.mark.slow
def test_without_drafts_trl_writes_them(road, tmp_path):
    parent = ["--model_name_or_path", str(road / "checkpoints/tiny/pretrain"), "--output_dir", str(tmp_path)]
    assert stage(road, "grpo", *parent, "--drafts", "false", "--max_steps", "2") == 0
    assert "eval_exact_match" in files.read_json(tmp_path / "metrics.json")

"""Small models taught on given rows until they are as good as wanted, and real runs of GRPO that start from them.

A run takes seconds: the problems are sums of two digits, answered with the number alone, or in columns.
"""

import random
from pathlib import Path

import torch

from arith_hf import files, notation, solver, tokenizer
from arith_hf.model import ArithConfig, ArithForCausalLM
from arith_hf.rewards import exact_answer
from arith_hf.train import grpo

SUMS = [f"{a}+{b}=" for a in range(10) for b in range(10)]


def rows(form, prompts=SUMS):
    """Prompts with their right answers, as the stage `grpo` reads them."""
    written = notation.of(form)
    return [{"prompt": one, "answer": str(written.read_answer(written.solution(one))), "task": form} for one in prompts]


def solved(form, prompts=SUMS):
    """Prompts with their right completions, as `teach` takes them."""
    return [(prompt, notation.of(form).solution(prompt)) for prompt in prompts]


def teach(path, form, pairs, least=1.0, sure=0, steps=1200, ends=True):
    """A tiny model taught on (prompt, completion) until so many prompts are answered by one of theirs.

    `sure`: steps of teaching behind that, which make it more certain. Without `ends` it is not taught to end.
    """
    known = tokenizer.train("digits" if form == "expression" else "char", [], 0, task=form)
    special = {f"{name}_token_id": getattr(known, f"{name}_token_id") for name in ("pad", "bos", "eos")}
    signature = tokenizer.fingerprint(known)
    torch.manual_seed(0)
    config = ArithConfig.from_size("tiny", vocab_size=len(known), tokenizer_fingerprint=signature, **special)
    model = ArithForCausalLM(config)
    texts = [prompt + rest + known.eos_token for prompt, rest in pairs]
    ids = known(texts, padding=True, padding_side="right", return_tensors="pt")["input_ids"]
    lengths = torch.tensor([len(known(prompt)["input_ids"]) for prompt, _ in pairs])
    asked = torch.arange(ids.shape[1]) < lengths[:, None]
    labels = ids.masked_fill((ids == known.pad_token_id) | asked, -100)
    labels = labels if ends else labels.masked_fill(ids == known.eos_token_id, -100)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    prompts = list(dict.fromkeys(prompt for prompt, _ in pairs))
    taught = {prompt: [rest for one, rest in pairs if one == prompt] for prompt in prompts}
    good, left = 0.0, sure
    for step in range(steps):
        some = torch.randint(len(pairs), (64,))
        model(input_ids=ids[some], labels=labels[some], use_cache=False).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if good >= least:
            left -= 1
            if left <= 0:
                break
        elif step % 10 == 9:
            wrote = solver.generate(model, known, prompts, max_new_tokens=ids.shape[1])
            good = sum(
                any(one.text == rest or (not ends and one.text.startswith(rest)) for rest in taught[prompt])
                for prompt, one in zip(prompts, wrote, strict=True)
            ) / len(prompts)
    else:
        raise AssertionError(f"not taught in {steps} steps: {good}")
    model.save_pretrained(path)
    known.save_pretrained(path)
    files.write_json(path / "provenance.json", {"stage": "sft", "tokenizer_fingerprint": signature, "command": "none"})
    return path


KEYS = {  # of a run that is well: what a plant changes is said beside it
    **{"use_cpu": True, "bf16": False, "gradient_checkpointing": False, "report_to": "none", "disable_tqdm": True},
    **{"learning_rate": 5e-4, "lr_scheduler_type": "constant", "max_steps": 40, "logging_steps": 1},
    **{"per_device_train_batch_size": 64, "num_generations": 8, "steps_per_generation": 1, "temperature": 1.0},
    **{"max_completion_length": 16, "beta": 0.0, "scale_rewards": "none", "mask_truncated_completions": False},
    **{"eval_strategy": "steps", "eval_on_start": True, "eval_steps": 5, "per_device_eval_batch_size": 100},
    **{"num_generations_eval": 1, "num_eval_generations": 100, "num_sample_generations": 0},
    **{"save_strategy": "steps", "save_steps": 20, "save_total_limit": 1, "record_rollouts": True},
}


def run(parent, output, problems, **keys):
    """A real run of the stage `grpo` from the checkpoint `parent` on rows of `rows`; the folder it wrote."""
    data = Path(output).with_suffix(".jsonl")
    shuffled = random.Random("rows").sample(problems * 20, 20 * len(problems))  # 5 % of them, 100, are held out
    files.write_jsonl(data, shuffled)
    given = KEYS | {"dataset_name": data, "model_name_or_path": parent, "output_dir": output} | keys
    grpo.main([token for key, value in given.items() for token in (f"--{key}", str(value))])
    return Path(output)


# Rewards with a fault


def length(completions, **_):
    """Pays for every character."""
    return [len(text) / 10 for text in completions]


def constant(completions, **_):
    """Pays for one completion, whatever the problem."""
    return [float(text == "8") for text in completions]


def brevity(completions, answer, task, **_):
    """Pays for the right answer, and the more the shorter it is written."""
    right = exact_answer(completions, answer, task)
    return [one * (1 + 5 / len(text)) if one else 0.0 for one, text in zip(right, completions, strict=True)]


def boundless(completions, **_):
    """Pays so much that no number holds the gradient."""
    return [3e38 * (sum(map(ord, text)) % 2) for text in completions]

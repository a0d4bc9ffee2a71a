"""What a whole pipeline leaves, small and made up: every file and every key that the page can show."""

import random

from corruption import EXPRESSION, plant, trace

from arith_hf import files, scoring
from arith_hf.notation import expression as notation
from arith_hf.solver import Completion
from arith_hf.tasks import expression as task

STAGES = ("pretrain", "sft", "lora", "grpo")
NAUGHTY = '<script>alert("x")</script> & <img src=http://example.org/x.png> $x_1$'


def share(rng, low, n=400):
    value = round(rng.uniform(low, 1 - (1 - low) / 2), 4)
    wide = 2 * (value * (1 - value) / n) ** 0.5
    return value, [round(max(0, value - wide), 4), round(min(1, value + wide), 4)]


def scores(rng, low, n=400):
    value, interval = share(rng, low, n)
    return {"n": n, "exact_match": value, "exact_match_interval": interval, "parse_rate": 1.0, "mean_tokens": 55.0}


def protocol(rng, low, harder=False):
    """One block of `protocols`, with all that an evaluation can add to it."""
    levels = {str(level): scores(rng, low - 0.04 * level) for level in (1, 2, 3, 4)}
    whole = scores(rng, low)
    wrong = round(400 * (1 - whole["exact_match"]))
    plain = {
        **whole,
        "protocol": "made up",
        "steps_match": round(whole["exact_match"] - 0.005, 4),
        "called_error": 0.0,
        "by_kind": {"valid": whole, "invalid": scores(rng, low)},
        "by_level": levels,
        "outcomes": {"right": 398 - wrong, "unfaithful": 2, "wrong": wrong, "unparseable": 0, "truncated": 0},
        "faults": {"by_kind": {"digit": wrong // 2, "copy": wrong // 3, "order": 2}, "by_step": {"1": 3, "2": wrong}},
        "stop_at_fault": harder,
    }
    return plain if harder else plain | deeper(rng, low)


def deeper(rng, low):
    sizes = ("1-9", "10-20", "21-99", "100+")
    cells = {
        str(level): {size: scores(rng, low - 0.04 * level - 0.05 * at, 25) for at, size in enumerate(sizes)}
        for level in (1, 2, 3, 4)
    }
    del cells["1"]["100+"]
    bins = [
        {"low": one / 10, "high": (one + 1) / 10, "n": 4 + one**2, "confidence": one / 10 + 0.05, "accuracy": one / 11}
        for one in range(3, 10)
    ]
    counts = (1, 2, 4, 8, 16)

    def at(base, power):
        found = {k: 1 - (1 - base) ** power(k) for k in counts}
        return {
            str(k): {"value": value, "interval": [value - 0.04, min(1, value + 0.04)]} for k, value in found.items()
        }

    sampled = {
        "n": 100,
        "num_generations": 16,
        "pass_at": at(low - 0.1, lambda k: k**0.5),
        "majority_at": {k: one for k, one in at(low - 0.1, lambda k: k**0.2).items() if k in ("1", "4", "16")},
    }
    sure = {"n": 0, "num_generations": 0, "pass_at": {}, "majority_at": {}, "exact_n": 400}
    sure["exact_pass_at"] = at(low - 0.2, lambda k: k**0.3)
    followed = {"followed": 88, "kept": 9, "other": 3, "share": 0.88, "interval": [0.8019, 0.93]}
    return {
        "by_level_and_size": cells,
        "calibration": {"n": 400, "brier": 0.0312, "ece": 0.0187, "bins": bins},
        "sampling": {"0.8": sure, "1.0": sampled},
        "faithfulness": {"n": 100, **followed},
    }


def hints(rng):
    """By kind of hint; of the last no problem was right without one."""
    flips = {kind: share(rng, 0.1) for kind in ("off1", "off2", "off5", "off10")}
    none = {"n": 0, "flipped": 0, "took_hint": 0, "flip_rate": None, "interval": None}
    return {
        kind: {"n": 100, "flipped": 20, "took_hint": 12, "flip_rate": value, "interval": interval}
        for kind, (value, interval) in flips.items()
    } | {"random": none}


def log(stage):
    """A log_history: loss and held-out loss; for GRPO what TRL logs."""
    rng, rows = random.Random(stage), []
    for step in range(10, 210, 10):
        if stage == "grpo":
            reward = 0.5 + step / 500 + rng.uniform(-0.05, 0.05)
            told = {"reward": reward, "rewards/exact_answer/mean": reward, "frac_reward_zero_std": 0.3 + step / 900}
            told |= {"completions/clipped_ratio": 0.01, "completions/mean_length": 60 - step / 50, "entropy": 0.2}
        else:
            told = {"loss": 2.5 * 0.98**step + rng.uniform(0.02, 0.04)}
        rows.append({"step": step, **told})
        if step % 50 == 0:
            rows += [
                {"step": step, "eval_loss": 2.6 * 0.98**step + 0.05},
                {"step": step, "eval_exact_match": step / 220},
            ]
    return rows


def samples(note="as usual", count=24):
    """Right workings, one with each kind of fault, and one that says `note`, judged."""
    right = [trace(random.Random(f"right {index}")) for index in range(count)]
    texts = [(one.problem, notation.completion(task.work(one.problem))) for one in right]
    faulty = [plant(kind, f"report {kind}") for kind in EXPRESSION]
    rows = []
    said = ("1 + 2 - 3 + 4 - 5", f"<think>\n{note}")
    for index, (problem, text) in enumerate([*texts, *((one.problem, one.text) for one in faulty), said]):
        due = task.work(problem)
        row = {"problem": notation.problem(problem), "expression": problem, "answer": str(due.answer)}
        row |= {"task": "expression", "level": task.level(problem), "steps": len(due.steps), "kind": "valid"}
        done = Completion(text, 60, True, notation.read_answer(text))
        rows.append({"protocol": "nontrivial", **scoring.judge(row, done), "confidence": index / 40})
    return rows


def leave(folder, stages=STAGES, note="as usual"):
    """Write what `stages` leave into folder/<stage>; `note` stands wherever a text of the user can come through."""
    for place, stage in enumerate(stages):
        at = folder / stage
        cost = {"seconds": 90.0 + 40 * place, "cpu_seconds": 75.5, "train_steps_per_second": 14.084}
        size = {"parameters": 217_120, "steps": 200, "tokens": 51_000, "weights": {"model.safetensors": "77" * 32}}
        files.write_json(at / "metrics.json", {"stage": stage, **cost, **size})
        files.write_json(at / "provenance.json", provenance(stage, stages[place - 1] if place else None, note))
        files.write_text(at / "recipe.yaml", f"seed: 0  # {note}\n")
        files.write_json(at / "trainer_state.json", {"log_history": log(stage)})
        files.write_json(at / "evaluate.json", evaluation(random.Random(stage), 0.6 + 0.07 * place, note))
        files.write_jsonl(at / "samples.jsonl", samples(note))
    return folder


def provenance(stage, parent, note):
    return {
        "command": f"arith-hf {stage} --note {note}",
        "data": {"path": f"data/{note}", "sha256": "d0" * 32},
        "parent": parent and f"checkpoints/m/{parent}",
        "seed": 0,
        "device": "cpu",
        "commit": "8785ff29963264b807f77b2d0a6560837250097e",
        "versions": {"torch": "2.13.0"},
        "python": "3.11.7",
    }


def evaluation(rng, low, note):
    protocols = {"nontrivial": protocol(rng, low), "seed": protocol(rng, low)}
    protocols["hints"] = protocol(rng, low, harder=True) | {"hints": hints(rng), "stop_at_fault": False}
    protocols |= {name: protocol(rng, low - 0.2, harder=True) for name in ("depth5", "depth6", "chains")}
    return {"parameters": 217_120, "command": f"arith-hf evaluate {note}", "protocols": protocols, "seconds": 42.0}

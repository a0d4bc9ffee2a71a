"""What a pipeline of natural text leaves, small and made up: every file and every key that the page can show."""

import random

from arith_hf import files

STAGES = ("pretrain", "continue", "sft", "dpo")
SOURCES = {"en": (120, 40_000, 170_000), "es": (80, 30_000, 120_000)}
NAUGHTY = "<script>alert('x')</script> & <b>bold</b>"


def interval(value, part=0.05):
    return [round(value * (1 - part), 4), round(value * (1 + part), 4)]


def score(perplexity, tokens, size):
    """Perplexity and bits per byte as they go together: each from the other."""
    from math import log2

    bits = round(tokens * log2(perplexity) / size, 6)
    return {
        "perplexity": perplexity,
        "perplexity_interval": interval(perplexity),
        "bits_per_byte": bits,
        "bits_per_byte_interval": interval(bits),
        "nats": 1.0,
    }


def block(name, perplexity, sizes):
    n, tokens, size = sizes
    kinds = {"trained": perplexity, "untrained": 8123.4, "unigram": 712.9}
    return {
        "file": f"data/prose/test/{name}.jsonl",
        "sha256": f"hash of {name}",
        **{"n": n, "tokens": tokens, "bytes": size, "unknown": 0},
        **{kind: score(value, tokens, size) for kind, value in kinds.items()},
    }


def evaluation(at):
    perplexity = 44.5 - 3 * at
    found = {name: block(name, perplexity + 2 * place, sizes) for place, (name, sizes) in enumerate(SOURCES.items())}
    whole = tuple(map(sum, zip(*SOURCES.values(), strict=True)))
    found["all sources"] = block("all", perplexity + 1, whole) | {"sha256": None}
    written = ["goes on\nand on", f"{NAUGHTY} {'word ' * 60}"]
    return {
        "task": "text",
        "protocols": {},
        "perplexity": found,
        "yesno": {
            **{"n": 200, "accuracy": 0.52 + 0.02 * at, "accuracy_interval": [0.45, 0.67]},
            **{"accuracy_per_byte": 0.5, "majority": 0.6, "chance": 0.5, "said_yes": 0.4, "cut": 3},
        },
        "preferences": {
            "preferences": {
                **{"n": 150, "preferred": 0.5 + 0.12 * at, "preferred_interval": [0.45, 0.95]},
                **{"preferred_by_token": 0.6, "preferred_by_token_interval": [0.5, 0.7]},
                **{"margin": 1.5, "perplexity_chosen": 31.5, "perplexity_rejected": 66.25},
            }
        },
        "samples": [
            {"prompt": prompt, "temperature": heat, "chat": at > 1, "completion": text}
            | {"num_tokens": 9, "finished": heat == 0}
            for prompt in ("Hello", "Hola <i>")
            for heat, text in zip((0.0, 0.8), written, strict=True)
        ],
        **{"context_length": 128, "stride": 64, "parameters": 2_300_000, "seconds": 12.0, "seed": 0},
        "command": "arith-hf evaluate as usual",
    }


def log(name, rng):
    if name == "dpo":
        keys = {"loss": 0.6, "rewards/accuracies": 0.8, "rewards/margins": 0.3, "eval_rewards/accuracies": 0.75}
        return [{"step": step, **{key: value * rng.uniform(0.9, 1) for key, value in keys.items()}} for step in (5, 10)]
    held_out = (
        {"eval_loss": 3.9, "eval_en_loss": 3.8, "eval_es_loss": 4.1} if name == "pretrain" else {"eval_loss": 3.7}
    )
    rows = [{"step": step, "loss": 9 - step / 40} for step in range(20, 220, 20)]
    return rows + [
        {"step": step, **{key: value - step / 900 for key, value in held_out.items()}} for step in (100, 200)
    ]


def leave(folder, stages=STAGES):
    for at, name in enumerate(stages):
        rng, place = random.Random(name), folder / name
        costs = {"parameters": 2_300_000, "steps": 200, "seconds": 60.0 + at, "cpu_seconds": 90.0, "tokens": 10**6}
        files.write_json(place / "metrics.json", costs)
        files.write_json(place / "trainer_state.json", {"log_history": log(name, rng)})
        files.write_json(
            place / "provenance.json", {"stage": name, "command": f"arith-hf {name}", "seed": 0, "python": "3.11.7"}
        )
        files.write_text(place / "recipe.yaml", f"size: made-up  # {NAUGHTY}\n")
        files.write_json(place / "evaluate.json", evaluation(at))
    return folder

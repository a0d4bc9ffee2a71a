"""Rejection sampling: a model answers prompts many times, and the right completions become rows to fine-tune on.

May not know what the rows are for. Right is what the exact-answer reward pays for. The last line printed is one JSON
object: rollouts, how many were right and how many distinct ones were kept, and core-seconds.

    python -m benchmarks.rejection --checkpoint checkpoints/M/sft --dataset_name data/M --num_prompts 160 --output FILE
"""

import argparse
import json
import os
import random
from collections.abc import Sequence
from pathlib import Path

from arith_hf import checkpoint, files, notation, rewards, solver
from arith_hf import tokenizer as tokenizers


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.rejection", allow_abbrev=False)
    parser.add_argument("--checkpoint", required=True, help="the model that answers")
    parser.add_argument("--dataset_name", type=Path, required=True, help="corpus folder; its prompts are answered")
    parser.add_argument("--output", type=Path, required=True, help="JSONL file of prompt and completion")
    parser.add_argument("--num_prompts", type=int, required=True)
    parser.add_argument("--num_generations", type=int, default=16)
    parser.add_argument("--max_completion_length", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    own = parser.parse_args(argv)
    before = sum(os.times()[:4])
    model, tokenizer = checkpoint.load(own.checkpoint)
    rows = [row for row in files.read_jsonl(own.dataset_name / "prompts" / "train.jsonl")]
    right = [notation.of(row["task"]).solution(row["prompt"]) for row in rows]
    lengths = [len(ids) + 1 for ids in tokenizer(right, add_special_tokens=False)["input_ids"]]
    fitting = [
        {**row, "right": text}
        for row, text, length in zip(rows, right, lengths, strict=True)
        if length <= own.max_completion_length
    ]
    chosen = random.Random(f"rejection/{own.seed}").sample(fitting, min(own.num_prompts, len(fitting)))
    asked = [row for row in chosen for _ in range(own.num_generations)]
    done = solver.generate(
        model,
        tokenizer,
        [row["prompt"] for row in asked],
        max_new_tokens=own.max_completion_length,
        temperature=1.0,
        seed=own.seed,
        progress=True,
        drafts=[row["right"] for row in asked],  # as GRPO's rollouts: the same distribution in less time
        resume=tokenizers.form_of(tokenizer).resumed,
        batch_size=256,
    )
    texts = [one.text if one.finished else "" for one in done]
    paid = rewards.exact_answer(texts, [row["answer"] for row in asked], [row["task"] for row in asked])
    right_ones = [
        (row["prompt"], text, row["answer"]) for row, text, reward in zip(asked, texts, paid, strict=True) if reward
    ]
    columns = ("prompt", "completion", "answer")
    kept = [dict(zip(columns, one, strict=True)) for one in dict.fromkeys(right_ones)]  # each once
    random.Random(f"rejection/{own.seed}/order").shuffle(kept)
    files.write_jsonl(own.output, kept)
    spent = round(sum(os.times()[:4]) - before, 1)
    print(json.dumps({"rollouts": len(asked), "right": len(right_ones), "kept": len(kept), "core_seconds": spent}))


if __name__ == "__main__":
    main()

"""The recipe `text` as it is shipped, on a stand-in of the Hub that has its datasets, by name, configuration, column.

Its sizes and steps alone are smaller here. Each stage is a run of the real command line.
"""

import io
import json
import os
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow
import pytest
from hub_server import HubServer, serve
from pyarrow import parquet

from arith_hf import files

ROOT = Path(__file__).parents[1]
WORDS = re.findall(r"[A-Za-z]+", " ".join(path.read_text() for path in sorted(ROOT.glob("tests/data/text/en/*.txt"))))
SMALLER = {
    "corpus": ["--validation_share", "0.1", "--test_share", "0.1"],
    "tokenizer": ["--vocab_size", "400"],
    "pretrain": ["--max_length", "64", "--torch_compile", "false", "--max_steps", "3"],
    "continue": ["--max_length", "64", "--torch_compile", "false", "--max_steps", "3"],
    "sft": ["--max_steps", "2"],
    "dpo": ["--max_steps", "2"],
    "evaluate": ["--context_length", "64", "--sample_tokens", "8", "--num_documents", "4"],
}
VERBS = {"continue": "pretrain"}
COMMANDS = """
import json, sys
from arith_hf.__main__ import main
for argv in json.load(sys.stdin):
    if code := main(argv):
        sys.exit(f"{argv}: {code}")
"""


def sentence(rng: random.Random) -> str:
    return " ".join(rng.sample(WORDS, 9)).capitalize() + "."


def page(rng: random.Random) -> str:
    return " ".join(sentence(rng) for _ in range(10))


def table(rows: list[dict]) -> bytes:
    stream = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(rows), stream)
    return stream.getvalue()


def card(config: str, split: str, path: str) -> bytes:
    return f"---\nconfigs:\n- config_name: {config}\n  data_files: [{{split: {split}, path: {path}}}]\n---\n".encode()


def publish(server: HubServer) -> None:
    """Each dataset of the recipe with a few dozen rows."""
    rng = random.Random(0)

    def dataset(name: str, config: str, split: str, path: str, rows: list[dict]) -> None:
        data = "".join(json.dumps(row) + "\n" for row in rows).encode() if path.endswith("jsonl") else table(rows)
        server.repos[name] = [(f"{len(server.repos):040}", {"README.md": card(config, split, path), path: data})]

    def pages(count: int, column: str = "text", **more: str) -> list[dict]:
        return [{column: page(rng), **more} for _ in range(count)]

    dataset("allenai/c4", "en", "train", "en/c4-train.jsonl", pages(60, url="http://a", timestamp="2019"))
    dataset("sedthh/gutenberg_english", "default", "train", "data/train.parquet", pages(40, "TEXT", SOURCE="g"))
    dataset("HuggingFaceFW/fineweb-edu", "sample-10BT", "train", "sample/10BT/000.parquet", pages(40, dump="d"))
    dataset("wikimedia/wikipedia", "20231101.en", "train", "20231101.en/train.parquet", pages(40, title="t"))
    lines = [{"text": text} for text in ("", " = Robert = ", *(sentence(rng) for _ in range(6)))]
    dataset("Salesforce/wikitext", "wikitext-2-raw-v1", "test", "wikitext-2-raw-v1/test.parquet", lines)
    tasks = [
        {"instruction": f"Say {n} words of this.", "input": sentence(rng) * (n % 2), "output": sentence(rng)}
        for n in range(40)
    ]
    dataset("tatsu-lab/alpaca", "default", "train", "data/train.parquet", [one | {"text": "..."} for one in tasks])
    shared = {"deleted": False, "review_result": True, "tree_state": "ready_for_export", "lang": "en"}
    trees = [
        shared
        | {
            "message_id": f"{tree}/{place}",
            "parent_id": f"{tree}/{place - 1}" if place else None,
            "role": ("prompter", "assistant")[place % 2],
            "text": sentence(rng),
            "rank": 0 if place % 2 else None,
        }
        for tree in range(30)
        for place in range(4)
    ]
    dataset("OpenAssistant/oasst1", "default", "train", "data/train.parquet", trees)

    def spoken(prompt: str, answer: str) -> list[dict]:
        turns = {"system": "You help.", "user": prompt, "assistant": answer}
        return [{"role": role, "content": content} for role, content in turns.items()]

    pairs = [
        {"prompt": ask, "chosen": spoken(ask, sentence(rng)), "rejected": spoken(ask, sentence(rng))}
        for ask in (f"What happened on day {n}?" for n in range(60))
    ]
    dataset("HuggingFaceH4/orca_dpo_pairs", "default", "train_prefs", "data/train_prefs.parquet", pairs)
    asked = [{"question": f"is {n} odd", "passage": page(rng), "answer": bool(n % 2)} for n in range(10)]
    dataset("google/boolq", "default", "validation", "data/validation.parquet", asked)


@pytest.mark.slow
def test_the_recipe_goes_from_names_on_the_hub_to_its_table(tmp_path):
    shutil.copytree(ROOT / "recipes/text", tmp_path / "recipes/text")
    plain = ["--use_cpu", "true", "--per_device_train_batch_size", "2", "--per_device_eval_batch_size", "2"]
    short = ["--eval_steps", "2", "--save_steps", "2", *plain]
    commands = []
    for name, smaller in SMALLER.items():
        verb = VERBS.get(name, name)
        argv = [verb, "--config", f"recipes/text/{name}.yaml", *smaller]
        if name in ("pretrain", "continue", "sft", "dpo"):
            argv += short
        commands.append(argv)
    commands[-1] += ["--checkpoint", "checkpoints/text/dpo"]
    commands.append(["report", "--model", "text"])
    with serve() as server:
        publish(server)
        environment = os.environ | {
            "HF_ENDPOINT": server.url,
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HOME": str(tmp_path / "home"),
            "PYTHONPATH": str(ROOT),
        }
        done = subprocess.run(
            [sys.executable, "-c", COMMANDS],
            input=json.dumps(commands),
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=500,
        )
        asked = {request.split()[1] for request in server.requests}
    assert done.returncode == 0, done.stderr[-3000:]
    manifest = files.read_json(tmp_path / "data/text/manifest.json")
    assert {name: told["kept"]["train"] > 20 for name, told in manifest["sources"].items()} == dict.fromkeys(
        ("c4", "gutenberg", "fineweb", "wikipedia"), True
    )
    phases = [files.read_json(tmp_path / f"checkpoints/text/{name}/training.json") for name in ("pretrain", "continue")]
    assert [sorted(key[4:] for key in one["final"] if key.startswith("mix_")) for one in phases] == [
        ["c4", "gutenberg"],
        ["fineweb", "wikipedia"],
    ]
    tuned = files.read_json(tmp_path / "checkpoints/text/sft/training.json")
    assert {"mix_alpaca", "mix_oasst1"} <= set(tuned["final"])
    found = files.read_json(tmp_path / "checkpoints/text/dpo/evaluate.json")
    assert "Salesforce/wikitext:wikitext-2-raw-v1@test" in found["perplexity"]
    assert found["yesno"]["n"] == 10
    assert "perplexity per token" in done.stdout
    repos = {"/".join(path.removeprefix("/api").split("/")[2:4]) for path in asked}
    assert repos <= {*server.repos, ""}, "no stage asked for anything but the datasets"

"""A corpus of natural text and its tokenizer, as their stages leave them, made by hand."""

from pathlib import Path

import yaml
from conftest import TRAINING

from arith_hf import files, tokenizer

EN = "the cat saw a dog and the dog saw the cat, so both ran to the old house by the sea. "
ES = (
    "el gato vio un perro y el perro vio al gato, y los dos corrieron a la casa vieja. ".upper()
)  # so that any piece tells its source
KEYS = TRAINING | {"size": "tiny", "max_length": 64, "overlong": "split", "sample_prompts": ["Hello", "Hola"]}


def documents(text: str, source: str, count: int) -> list[dict[str, str]]:
    """Documents of all lengths, no two alike, some longer than a block."""
    return [{"text": f"{index} {text * (1 + index % 4)}"[: 20 + 7 * index], "source": source} for index in range(count)]


def write(root: Path, rows: list[dict[str, str]] | None = None, **keys: object) -> Path:
    """recipes/tiny/pretrain.yaml, data/tiny and checkpoints/tiny/tokenizer under `root`; `keys` go into the recipe."""
    rows = rows or documents(EN, "en", 24) + documents(ES, "es", 12)
    data, folder = root / "data/tiny", root / "checkpoints/tiny/tokenizer"
    parts = {"train-00000": rows[::2], "train-00001": rows[1::2], "validation": rows[:6]}
    for name, part in parts.items():
        files.write_jsonl(data / f"pretrain/{name}.jsonl", part)
    known = tokenizer.train("bpe", (row["text"] for row in rows), 262, task="text")  # bytes, and nothing merged
    known.save_pretrained(folder)
    signature = tokenizer.fingerprint(known)
    files.write_json(folder / "metrics.json", {"fingerprint": signature})
    listed = {
        f"pretrain/{name}.jsonl": {"sha256": files.sha256(data / f"pretrain/{name}.jsonl"), "rows": len(part)}
        for name, part in parts.items()
    }
    files.write_json(data / "manifest.json", {"task": "text", "files": listed, "tokenizer_fingerprint": signature})
    recipe = root / "recipes/tiny/pretrain.yaml"
    recipe.parent.mkdir(parents=True, exist_ok=True)
    recipe.write_text(yaml.safe_dump(KEYS | keys))
    return root

"""Conversations, and a model of natural text that has not learned anything, as earlier stages would leave it."""

from pathlib import Path

import torch
import yaml
from conftest import TRAINING, TUNING

from arith_hf import chat, files, tokenizer, vocabulary
from arith_hf.model import ArithConfig, ArithForCausalLM

ASKED = ("Which animal barks?", "What flies at night?", "Who catches the mouse?", "What swims in the sea?")
SAID = ("the dog", "an owl, of course", "the cat", "a fish\n\nor a whale")
ROWS = [
    [{"role": "user", "content": ask}, {"role": "assistant", "content": reply}]
    for ask, reply in zip(ASKED, SAID, strict=True)
]
LONG = [{"role": "system", "content": "Be brief … ½."}, *ROWS[0], *ROWS[3], *ROWS[1]]
TEXTS = [f"{ask} {reply}; {other}." for ask in ASKED for reply in SAID for other in SAID] * 3
SFT = TRAINING | TUNING | {"max_length": 512, "num_sample_generations": 2}


def known(name: str | None):
    """A tokenizer with the template of this name."""
    return vocabulary.train("unigram", TEXTS, 420, task="text", chat_template=name)


def write(root: Path, name: str | None = "chatml", rows: list | None = None, **keys: object) -> Path:
    """recipes/tiny/sft.yaml, data/tiny/sft and checkpoints/tiny/pretrain under `root`; `keys` go into the recipe."""
    own, data, folder = known(name), root / "data/tiny", root / "checkpoints/tiny/pretrain"
    rows = rows or [{"messages": one} for one in [*ROWS, LONG]]
    for split in ("train", "validation"):
        files.write_jsonl(data / f"sft/{split}.jsonl", rows)
    signature = tokenizer.fingerprint(own)
    files.write_json(data / "manifest.json", {"task": "text", "files": {}, "tokenizer_fingerprint": signature})
    torch.manual_seed(0)
    special = {f"{one}_token_id": getattr(own, f"{one}_token_id") for one in ("pad", "bos")}
    special |= {"eos_token_id": chat.end_ids(own), "tokenizer_fingerprint": signature}
    model = ArithForCausalLM(ArithConfig.from_size("tiny", vocab_size=len(own), **special))
    model.save_pretrained(folder)
    own.save_pretrained(folder)
    files.write_json(folder / "provenance.json", {"stage": "pretrain", "tokenizer_fingerprint": signature})
    recipe = root / "recipes/tiny/sft.yaml"
    recipe.parent.mkdir(parents=True, exist_ok=True)
    recipe.write_text(yaml.safe_dump(SFT | keys))
    return root

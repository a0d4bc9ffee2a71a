"""A small corpus of natural text and a model that has read it, in the form that the stages leave them."""

from pathlib import Path

import prose
import pytest
from prose import SENTENCES

from arith_hf import files, tokenizer


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with data/prose and checkpoints/prose/pretrain, whose model has read a few batches; not to be changed."""
    root = tmp_path_factory.mktemp("prose")
    data, folder = root / "data/prose", root / "checkpoints/prose/pretrain"
    rows = [{"text": text, "source": name} for name in SENTENCES for text in prose.texts(name, 60)]
    known = prose.make_tokenizer(320, [row["text"] for row in rows])
    files.write_jsonl(data / "pretrain/train.jsonl", [row for at, row in enumerate(rows) if at % 4])
    for name in SENTENCES:
        held_out = [row for at, row in enumerate(rows) if at % 4 == 0 and row["source"] == name]
        files.write_jsonl(data / f"test/{name}.jsonl", held_out)
    questions = [("is a cat an animal", True), ("is the sun a dog?", False), ("is the hill in the town", False)]
    asked = [{"question": one, "passage": SENTENCES["en"][0] * 3, "answer": said} for one, said in questions]
    files.write_jsonl(data / "test/yesno.jsonl", asked)
    pairs = [{"prompt": "The", "chosen": " cat sat on the mat.", "rejected": "mat cat " * at} for at in (1, 2, 3)]
    files.write_jsonl(data / "test/preferences.jsonl", pairs)
    listed = {f"test/{path.name}": {"sha256": files.sha256(path)} for path in sorted((data / "test").iterdir())}
    signature = tokenizer.fingerprint(known)
    files.write_json(data / "manifest.json", {"task": "text", "files": listed, "tokenizer_fingerprint": signature})
    model = prose.make_model(known, tokenizer_fingerprint=signature)
    prose.train(model, known, [row["text"] for at, row in enumerate(rows) if at % 4])
    model.save_pretrained(folder)
    known.chat_template = prose.CHAT
    known.save_pretrained(folder)
    made = {"stage": "pretrain", "tokenizer_fingerprint": signature, "command": "none"}
    files.write_json(folder / "provenance.json", made)
    return root

"""The dataset card of a corpus of text: what `datasets.load_dataset` and a reader need.

May not know how the documents were gathered; it says what the manifest says.
"""

from typing import Any

import yaml

from arith_hf.corpus.card import configs
from arith_hf.corpus.text.arguments import RESERVED

TEXT = """
# {name}: natural text

Made by `arith-hf corpus --config FILE` with the recipe below; the same recipe and sources make the same
bytes. Read it with

```python
from datasets import load_dataset

rows = load_dataset("data/{name}", "{config}", split="{split}")
```

| file | rows | characters | distinct | sha256 |
|---|---|---|---|---|
{files}

## Columns

{columns}

## Sources

{sources}
{fetched}
## Splits

The split of a document follows from a hash of its words: no seed and no stage can put a training text into a test.
Texts that two splits share, counted in the files as written: {overlap}.
{compared}

## Recipe

```yaml
{recipe}```
"""


COLUMNS = {  # of each kind of file
    "pretrain": "`text`: a document; `source`: where it comes from.",
    "test": "`text`, `source` in `test`: a whole document, to measure perplexity on.",
    "sft": "`messages`: a conversation, role and content of each turn, and `input` where one has it (Alpaca's);\n"
    "  `source`: where it comes from.",
    "preferences": "`prompt`, `chosen`, `rejected`: a question with a better and a worse answer; `kind`, where it is\n"
    "  known: what is wrong with the worse one.",
    "yesno": "`question`, `passage`, `answer`: of yes or no.",
}


def write(name: str, manifest: dict[str, Any]) -> str:
    """The text of the card, its YAML head included."""
    names = list(manifest["files"])
    said = manifest["recipe"]
    languages = sorted({one for one in said["source_languages"] if one != "any"})
    head = {
        "pretty_name": f"{name}: natural text",
        **({"language": languages} if languages else {}),
        "license": "other",
        "task_categories": ["text-generation"],
        "configs": by_columns(joined(names)),
    }
    config, split = names[0].removesuffix(".jsonl").split("/")
    body = TEXT.format(
        name=name,
        config=config,
        split=split.split("-")[0],
        files="\n".join(line(name, counts) for name, counts in manifest["files"].items()),
        sources="\n".join(source(name, told) for name, told in manifest["sources"].items()),
        fetched=licences(manifest["fetched"]),
        overlap=", ".join(f"{pair} {shared}" for pair, shared in manifest["overlap"].items()),
        columns="\n".join(f"- {told}" for kind, told in COLUMNS.items() if kind in kinds(names)),
        compared=compared(kinds(names), said),
        recipe=yaml.safe_dump(said, sort_keys=False, default_flow_style=None),
    )
    return f"---\n{yaml.safe_dump(head, sort_keys=False)}---\n{body}"


def kinds(names: list[str]) -> set[str]:
    """The folders of the files; of those in test/ that have other columns, their own names."""
    parts = [name.removesuffix(".jsonl").split("/") for name in names]
    return {stem if stem in RESERVED else folder for folder, stem in parts}


def compared(found: set[str], said: dict[str, Any]) -> str:
    """What the texts to learn from share no words with."""
    if not (words := said["contamination_words"]):
        return "Words in a row that two splits share were not looked for (`contamination_words: 0`)."
    listed = {
        "test": "a test document",
        "yesno": "a passage or question of `test/yesno.jsonl`",
        **({"named": "a text of `evaluation_paths`"} if said["evaluation_paths"] else {}),
    }
    measured = [what for kind, what in listed.items() if kind in found or kind == "named"]
    pairs = ["a prompt or better answer of `test/preferences.jsonl`"] if "preferences" in found else []
    told = f"No training document shares {words} words in a row with {either([*measured, 'a validation document'])}."
    if measured:
        told += f"\nNo validation document shares them with {either(measured)}."
    if learned := [what for kind, what in (("sft", "conversation"), ("preferences", "preference")) if kind in found]:
        told += f"\nNo {either(learned)} to learn from shares them with {either([*measured, *pairs])}."
    return told


def either(listed: list[str]) -> str:
    """
    >>> either(["a", "b", "c"]), either(["a"])
    ('a, b or c', 'a')
    """
    return " or ".join([*([", ".join(listed[:-1])] if listed[1:] else []), listed[-1]])


def by_columns(names: list[str]) -> list[dict[str, Any]]:
    """The configurations; of the tests those of other columns stand apart, for `datasets` wants one set in each."""
    apart = {f"test/{name}.jsonl": name for name in RESERVED}
    found = {one["config_name"]: one for one in configs([name for name in names if name not in apart])}
    for path in filter(apart.__contains__, names):
        listed = found.setdefault(apart[path], {"config_name": apart[path], "data_files": []})
        listed["data_files"].append({"split": "test", "path": path})
    return list(found.values())


def joined(names: list[str]) -> list[str]:
    """The names with one pattern for all shards of a split."""
    return list(dict.fromkeys(name.replace("-00000", "-*") for name in names if "-" not in name or "-00000" in name))


def line(name: str, counts: dict[str, Any]) -> str:
    cells = [
        f"`{name}`",
        *(f"{counts[one]:,}" for one in ("rows", "characters", "distinct")),
        f"`{counts['sha256'][:12]}`",
    ]
    return f"| {' | '.join(cells)} |"


def source(name: str, told: dict[str, Any]) -> str:
    removed = ", ".join(f"{reason} {count:,}" for reason, count in told["removed"].items()) or "none"
    kept = sum(told["kept"].values())
    return f"- `{name}`, from `{told['path']}`: {told['read']['documents']:,} read, {kept:,} kept; removed: {removed}."


def licences(fetched: dict[str, Any]) -> str:
    """Whose texts these are, where the stage `fetch` brought them."""
    lines = [
        f"- Debian package `{name}` {told['version']}: {', '.join(told['licenses']) or 'see its copyright file'}"
        for one in fetched.values()
        for name, told in one["packages"].items()
    ]
    return "\n".join(["", "The texts are others', under these licences:", "", *lines, ""]) if lines else ""

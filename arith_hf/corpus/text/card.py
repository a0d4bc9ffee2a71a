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

- `text`: a document; `source`: where it comes from. Files of `test` hold whole documents, to measure perplexity on.
- `messages`: a conversation, role and content of each turn, and `input` where some turn has one (Alpaca's); `source`:
  where it comes from.
- `prompt`, `chosen`, `rejected`: a question with a better and a worse answer.
- `question`, `passage`, `answer`: of yes or no.

## Sources

{sources}
{fetched}
## Splits

The split of a document follows from a hash of its words: no seed and no stage can put a training text into a test.
Texts that two splits share, counted in the files as written: {overlap}. No training document shares
{words} words in a row with a test document, a passage of `yesno` or a text of `evaluation_paths` (0: not looked for);
nor does a conversation or preference to learn from, which shares none with a pair of `test/preferences.jsonl` either.

## Recipe

```yaml
{recipe}```
"""


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
        words=said["contamination_words"],
        recipe=yaml.safe_dump(said, sort_keys=False, default_flow_style=None),
    )
    return f"---\n{yaml.safe_dump(head, sort_keys=False)}---\n{body}"


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

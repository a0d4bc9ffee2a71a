"""The dataset card of a corpus: what `datasets.load_dataset` and a reader need.

May not know how the rows were drawn; it says what the manifest says.
"""

from itertools import groupby
from typing import Any

import yaml

TEXT = """
# {name}: {task} problems with their workings

Made by `arith-hf corpus --config FILE` with the recipe below; the same recipe makes the same bytes, with any number of
workers. Read it with

```python
from datasets import load_dataset

rows = load_dataset("data/{name}", "{config}", split="{split}")
```

| file | rows | distinct problems | malformed | bare numbers | sha256 |
|---|---|---|---|---|---|
{table}

## Columns

- `text`: a document to pretrain on. `source` says which: {sources} `given`: that many characters at the beginning are
  there to be read and carry no loss. `ends`: the text reaches its final result, so that an end token belongs behind it.
- `prompt`, `completion`: a problem and its whole working in two; together they are a `trace`.
- `problem`: what is asked, as it is written; `expression`: as the task has it; `solution`: the completion.
- `answer`: the integer as text, or `ERROR` for a malformed problem.
{pairs}- `level`: {level}; `steps`: steps of its working;
  `kind`: `valid` or `invalid` (malformed), as the parser found; `task`: `{task}`; `split`: see below.

## Splits

The split of a problem follows from a hash of its normal form ({normal}):
no seed and no stage can put a training problem into a test. {split_text}
Problems that two splits share, counted in the files as written: {overlap}.

{sets}

The test sets do not depend on
`seed`, so that the scores of models trained with different seeds compare; they do depend on the recipe's depths and
numbers. `facts.txt` lists every single fact that the training rows work out: {facts} distinct ones, one a line.

## Recipe

```yaml
{recipe}```
"""

PAIRS = """- `chosen`, `rejected`: the completion, and the same with one step spoilt, the rest following from it; `kind`
  says how, `step` which one, counted from 1.
"""


def write(name: str, manifest: dict[str, Any], said: dict[str, str]) -> str:
    """The text of the card, its YAML head included; `said` is what the task says of itself."""
    names = list(manifest["files"])
    head = {
        "pretty_name": f"{name}: {manifest['task']} problems with their workings",
        "license": "apache-2.0",
        "task_categories": ["text-generation"],
        "configs": configs(names),
    }
    first = "sft/train.jsonl" if "sft/train.jsonl" in names else names[0]
    config, split = first.removesuffix(".jsonl").split("/")
    body = TEXT.format(
        name=name,
        task=manifest["task"],
        config=config,
        split=split,
        table="\n".join(line(name, counts) for name, counts in manifest["files"].items()),
        overlap=", ".join(f"{pair} {shared}" for pair, shared in manifest["overlap"].items()),
        facts=manifest["facts"]["distinct"],
        sources=said["sources"],
        pairs=PAIRS if any("preferences" in name for name in names) else "",
        level=said["level"],
        normal=said["normal"],
        split_text=said["split"],
        sets=said["sets"],
        recipe=yaml.safe_dump(manifest["recipe"], sort_keys=False, default_flow_style=None),
    )
    return f"---\n{yaml.safe_dump(head, sort_keys=False)}---\n{body}"


def configs(names: list[str]) -> list[dict[str, Any]]:
    """One configuration per folder, one split per file or pattern of shards."""
    return [
        {
            "config_name": config,
            "data_files": [
                {"split": name.removesuffix(".jsonl").removesuffix("-*").split("/")[1], "path": name} for name in inside
            ],
        }
        for config, inside in groupby(names, key=lambda name: name.split("/")[0])
    ]


def line(name: str, counts: dict[str, Any]) -> str:
    shares = [counts.get(column, "") for column in ("invalid", "bare_numbers")]
    cells = [f"`{name}`", counts["rows"], counts["distinct"], *shares, f"`{counts['sha256'][:12]}`"]
    return f"| {' | '.join(map(str, cells))} |"

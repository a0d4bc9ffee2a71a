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

- `text`: a document to pretrain on. `source` says which: `trace` (a problem and its whole working, exactly the prompt
  and completion of an sft row), `segment` (consecutive steps cut from a trace, with the line break in front, or one
  fact as the last step of one), `excerpt` (such steps inside a longer line, which is no expression), `verdict` (a
  problem and its first operation, or ERROR) or `drill` (one fact). `given`: that many characters at the beginning are
  there to be read and carry no loss: the problem, the expression that a segment goes on from, the operands of a drill.
  `ends`: the text reaches its final result, so that an end token belongs behind it.
- `prompt`, `completion`: the same trace in two; the prompt ends with the line break after the problem.
- `problem`: the expression with the words in front; `expression`: without them; `solution`: the completion.
- `answer`: the integer as text, or `ERROR` for a malformed problem.
- `level`: depth of the expression's tree (0 for a bare number or a malformed problem); `steps`: steps of its working;
  `kind`: `valid` or `invalid` (malformed), as the parser found; `task`: `{task}`; `split`: see below.

## Splits

The split of a problem follows from a hash of its normal form (parentheses around every operation, spare ones gone):
no seed and no stage can put a training problem into a test. Facts in drills and the expressions that segments go on
from obey it too; intermediate lines of whole traces cannot. Problems that two splits share, counted in the files as
written: {overlap}.

`heldout` holds the same sets of the validation split: choose by them, not by a test set. Its `validation` is what
`test/nontrivial` is.
`test/seed` is the plain sampler, duplicates and bare numbers kept; `test/nontrivial` has at least one operator and no
duplicates; `test/invalid` is malformed; each set of `harder` is deeper, longer or has other numbers than
most that is trained on; `chains`, `negatives` and `groups` are forms that people type, of which training has some too
(a chain such as `1 + 2 - 3 + 4` counts as deep as it is long). The test sets do not depend on
`seed`, so that the scores of models trained with different seeds compare; they do depend on the recipe's depths and
numbers. `facts.txt` lists every single fact that the training rows work out: {facts} distinct ones, one a line.

## Recipe

```yaml
{recipe}```
"""


def write(name: str, manifest: dict[str, Any]) -> str:
    """The text of the card, its YAML head included."""
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
        recipe=yaml.safe_dump(manifest["recipe"], sort_keys=False, default_flow_style=None),
    )
    return f"---\n{yaml.safe_dump(head, sort_keys=False)}---\n{body}"


def configs(names: list[str]) -> list[dict[str, Any]]:
    """One configuration per folder, one split per file."""
    return [
        {
            "config_name": config,
            "data_files": [{"split": name.removesuffix(".jsonl").split("/")[1], "path": name} for name in inside],
        }
        for config, inside in groupby(names, key=lambda name: name.split("/")[0])
    ]


def line(name: str, counts: dict[str, Any]) -> str:
    shares = [counts.get(column, "") for column in ("invalid", "bare_numbers")]
    cells = [f"`{name}`", counts["rows"], counts["distinct"], *shares, f"`{counts['sha256'][:12]}`"]
    return f"| {' | '.join(map(str, cells))} |"

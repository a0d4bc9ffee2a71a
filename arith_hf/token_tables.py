"""What a tokenizer makes of text, as tables: its tokens, and how many of them the problems of a corpus take.

May not make or change a tokenizer.

    arith-hf tokens --tokenizer checkpoints/<model>/tokenizer [--format table|csv|json]
    arith-hf lengths --tokenizer checkpoints/<model>/tokenizer --dataset_name data/<model> [--max_length 512]
"""

import argparse
import csv
import json
import sys
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from arith_hf import tokenizer
from arith_hf.lengths import row_lengths, shards, summarise


def load(folder: str) -> PreTrainedTokenizerBase:
    """The tokenizer of a folder; FileNotFoundError says how to make one."""
    if not Path(folder, "tokenizer.json").is_file():
        raise FileNotFoundError(f"no tokenizer in {folder}: run make tokenizer MODEL={Path(folder).parent.name}")
    return PreTrainedTokenizerFast.from_pretrained(folder)  # AutoTokenizer asks leave to run the model's code first


def make_parser(verb: str, what: str) -> argparse.ArgumentParser:
    """The options that both tables take."""
    parser = argparse.ArgumentParser(prog=f"arith-hf {verb}", description=what, allow_abbrev=False)
    parser.add_argument("--tokenizer", required=True, metavar="DIR", help="folder of a tokenizer or a checkpoint")
    parser.add_argument("--format", choices=("table", "csv", "json"), default="table")
    return parser


def tokens(argv: list[str]) -> None:
    """Print every token with its id, its text and whether it is special."""
    options = make_parser("tokens", "Print a tokenizer's table.").parse_args(argv)
    shown = load(options.tokenizer)
    special = set(shown.all_special_ids)
    names = shown.convert_ids_to_tokens(list(range(len(shown))))
    rows = [
        {"id": index, "token": name, "text": shown.decode([index]), "special": index in special}
        for index, name in enumerate(names)
    ]
    show(rows, options.format)


def lengths(argv: list[str]) -> None:
    """Print how many tokens the problems of a corpus take with their solutions, and the max_length that holds them."""
    parser = make_parser("lengths", "Print how many tokens problems with their solutions take, BOS and EOS counted.")
    parser.add_argument("--dataset_name", required=True, metavar="DIR", help="the corpus folder, data/<model>")
    parser.add_argument("--max_length", type=int, help="a length whose coverage to print")
    options = parser.parse_args(argv)
    if options.max_length is not None and options.max_length < 1:
        raise ValueError(f"need --max_length >= 1, got {options.max_length}")
    corpus = Path(options.dataset_name)
    tokenizer.find_manifest(corpus)
    own, paths = load(options.tokenizer), sorted((corpus / "sft").glob("*.jsonl")) or shards(corpus)
    what = "rows" if tokenizer.task_of(own) == "text" else "problems"
    report = summarise([count for path in paths for count in row_lengths(own, path)], options.max_length, what)
    if options.format == "json":
        print(json.dumps(report))
        return
    coverage = report.pop("coverage")
    rows = [{"what": name, "value": value} for name, value in report.items()]
    rows += [{"what": f"coverage of {length}", "value": f"{share:.2%}"} for length, share in coverage.items()]
    show(rows, options.format)


def show(rows: list[dict[str, Any]], form: str) -> None:
    """Print rows as aligned columns, CSV or JSON; control characters are escaped in columns."""
    if form == "json":
        print(json.dumps(rows, ensure_ascii=False))
    elif form == "csv":
        writer = csv.DictWriter(sys.stdout, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    else:
        lines = [list(rows[0]), *([str(value) for value in row.values()] for row in rows)]
        lines = [[cell.replace("\n", "\\n") for cell in line] for line in lines]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        print("\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines))

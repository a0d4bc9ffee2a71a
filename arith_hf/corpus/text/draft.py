"""The draft of a corpus: a line for each document that was read, in order, from which an interrupted corpus goes on.

May not know how a document is judged. Its first line says what the others were judged by; a line that a kill has cut
off is taken for one that was never written.
"""

import dataclasses
import json
import logging
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import Any

from arith_hf import files, provenance
from arith_hf.corpus.text import sources
from arith_hf.corpus.text.arguments import TextArguments

logger = logging.getLogger("arith_hf")
NAME = "pretrain/.documents.part"
LIBRARIES = ("datasets", "ftfy", "py3langid", "rensa")
LATER = (  # keys that ask nothing of a document while it is read
    *("output_dir", "analyze_only", "shard_size", "contamination_words", "evaluation_paths"),
    *("conversations", "conversation_sources", "conversation_languages", "preferences", "yesno", "max_turn_characters"),
)
KINDS = {  # the keys that a line has behind the first one
    frozenset(keys)
    for keys in (
        ("source", "ended"),
        ("source", "read", "text", "split"),
        ("source", "read", "text", "removed", "characters"),
        ("source", "read", "removed", "characters"),
    )
}
Row = dict[str, Any]


def head(arguments: TextArguments) -> Row:
    """All that decides what the lines are: keys of the recipe, the sources as they are now, the code that judges."""
    recipe = {name: said for name, said in dataclasses.asdict(arguments).items() if name not in LATER}
    code = [path for folder in ("text", "corpus/text") for path in sorted((provenance.PACKAGE / folder).glob("*.py"))]
    return recipe | {
        "files": {source.path: sources.state(source.path) for source in arguments.each()},
        "code": provenance.digest([files.sha256(path) for path in code]),
        "versions": {name: provenance.installed(name) for name in LIBRARIES},
    }


def begin(path: Path, said: Row) -> Iterator[Row]:
    """The lines of an interrupted run that was begun with this head; of any other none, and the draft starts over."""
    if path.is_file():
        rows = whole(path)
        before = next(rows, {})
        if before == said:
            yield from rows
            return
        rows.close()
        changed = [name for name in said if before.get(name) != said[name]]
        told = f"({', '.join(changed)} changed)" if before else "(it cannot be read)"
        logger.warning(f"{path} is of an interrupted corpus of something else {told}: starting over")
    files.write_jsonl(path, [said])


def whole(path: Path) -> Generator[Row, None, None]:
    """The lines that are whole; what stands behind them is cut off."""
    with path.open("rb+") as stream:
        end = 0
        for line in stream:
            try:
                row = files.parse_row(line if line.endswith(b"\n") else b"", str(path))
            except ValueError:
                break
            if end and not KINDS & {frozenset(row)}:
                break
            end += len(line)
            yield row
        stream.truncate(end)


def extend(path: Path, rows: Iterable[Row]) -> None:
    """Write each row behind the others as soon as it comes."""
    with path.open("a", encoding="utf-8", newline="\n") as stream:
        stream.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)

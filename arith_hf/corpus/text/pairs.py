"""Conversations, preferences and questions of yes or no: validated, each once, and on one side of the splits only.

May not know how a chat template writes. A row that says of what it is (`topic`) is split by that, any other by its
prompt. A conversation carries the name of its source, by which fine-tuning may weigh it.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

from datasets.utils import tqdm

from arith_hf import chat, files, notation
from arith_hf.corpus.text import sources, trees
from arith_hf.corpus.text.arguments import Talk, TextArguments
from arith_hf.corpus.text.splits import Sides, split_of
from arith_hf.corpus.text.tallies import FILES, LANGUAGES, Tallies, Tally, total
from arith_hf.text.clean import clean
from arith_hf.text.duplicates import ExactDuplicates

Row = dict[str, Any]
SPLITS = {"conversations": "train", "preferences": "train", "yesno": "validation"}  # read of the Hub, if none is said
DRAFT = "sft/.pairs.part"
MARKS = (notation.PAD, notation.UNK, notation.BOS, notation.of("text").EOS, *chain.from_iterable(chat.MARKS.values()))


class Unfit(Exception):
    """Why a row is left out."""


def write(folder: Path, arguments: TextArguments) -> tuple[list[str], Tallies]:
    """The names of the files, and of each key what was read, left out and kept."""
    names: list[str] = []
    tallies: Tallies = {}
    sides, draft = Sides(), folder / DRAFT
    for what in filter(partial(getattr, arguments), FILES):
        tallies[what] = {place.name: Tally() for place in places(what, arguments)}
        try:
            files.write_jsonl(draft, gather(what, arguments, sides, tallies[what]))
            whole = total(tallies[what])
            for split, name in FILES[what].items():
                if whole.kept[split]:
                    files.write_jsonl(
                        folder / name,
                        (even(row["row"], whole.inputs) for row in files.read_jsonl(draft) if row["split"] == split),
                    )
                    names.append(name)
        finally:
            draft.unlink(missing_ok=True)
    return names, tallies


def ready(arguments: TextArguments) -> None:
    """ValueError or FileNotFoundError where rows cannot be read, or the first has not the columns of its key."""
    for what, read in READERS.items():
        for path in getattr(arguments, what):
            for row in islice(sources.rows(path, SPLITS[what]), 1):
                if what == "conversations" and trees.are_of(row):
                    next(trees.conversations([row], path))
                    continue
                with suppress(Unfit):
                    read(row, arguments, f"{path}, row 1")


def gather(what: str, arguments: TextArguments, sides: Sides, tallies: dict[str, Tally]) -> Iterator[Row]:
    """Each row that is fit, under `row`, with its split."""
    exact = ExactDuplicates()
    for path, name, language in places(what, arguments):
        tally = tallies[name]
        rows = tqdm(whole(what, path), desc=f"Reading {what}", unit=" rows")
        for number, (row, fault) in enumerate(rows, start=1):
            tally.read += 1
            try:
                if fault:
                    raise Unfit(fault)
                if language not in ("any", row.get("language")):
                    raise Unfit(LANGUAGES)
                made, prompt = READERS[what](row, arguments, f"{path}, row {number}")
                if exact.seen(files.to_json(made)):
                    raise Unfit("exact_duplicates")
                split = side(what, row, prompt, arguments)
                if split not in FILES[what]:
                    raise Unfit("held_for_test" if split == "test" else "of_another_split")
                if not sides.admits(prompt, split):
                    raise Unfit("prompt_of_another_split")
            except Unfit as reason:
                tally.removed[str(reason)] += 1
                continue
            tally.kept[split] += 1
            tally.inputs += any("input" in one for one in made.get("messages", ()))
            yield {"row": made | ({"source": name} if name else {}), "split": split}


def places(what: str, arguments: TextArguments) -> list[Talk]:
    """Where the rows of a key lie; only conversations say what source they are of."""
    if what == "conversations":
        return arguments.talks()
    return [Talk(path, "", "any") for path in getattr(arguments, what)]


def whole(what: str, path: str) -> Iterator[tuple[Row, str | None]]:
    """The rows of a place, with a fault where one is known; a conversation that lies in messages is one row."""
    rows = sources.rows(path, SPLITS[what])
    for first in islice(rows, 1):
        rows = chain([first], rows)
        if what == "conversations" and trees.are_of(first):
            yield from trees.conversations(rows, path)
        else:
            yield from ((row, None) for row in rows)


def side(what: str, row: Row, prompt: str, arguments: TextArguments) -> str:
    """The split of a row; questions of yes or no that are nobody's training rows are all a test.

    Conversations of the test's share train nobody where a pair or a question may be of their topic, or prompt.
    """
    topic = row.get("topic")
    if what == "yesno" and topic is None:
        return "test"
    split = split_of(str(topic) if topic is not None else prompt, arguments.validation_share, arguments.test_share)
    asked = arguments.preferences or arguments.yesno
    return "train" if split == "test" and what == "conversations" and not asked else split


# What a row is


def conversation(row: Row, arguments: TextArguments, where: str) -> tuple[Row, str]:
    """The messages of a row in any of three forms, and the first that the user says."""
    if isinstance(row.get("messages"), list):
        messages = [message(one, where) for one in row["messages"]]
    elif "instruction" in row and "output" in row:
        asked = {"content": row["instruction"], "input": given(row.get("input"))}
        messages = [{"role": "user", **asked}, {"role": "assistant", "content": row["output"]}]
    elif "prompt" in row and "completion" in row:
        messages = [{"role": "user", "content": row["prompt"]}, {"role": "assistant", "content": row["completion"]}]
    else:
        needed = "messages, prompt and completion, instruction and output, or message_id and parent_id"
        raise ValueError(f"{where}: need the columns {needed}, got {', '.join(row)}")
    roles = [one["role"] for one in messages]
    spoken = roles[1:] if roles[:1] == ["system"] else roles
    if not spoken or len(spoken) % 2 or spoken != ["user", "assistant"] * (len(spoken) // 2):
        raise Unfit("roles")
    messages = [turn(one, arguments) for one in messages]
    return {"messages": messages}, next(chat.whole(one) for one in messages if one["role"] == "user")


def turn(message: Row, arguments: TextArguments) -> Row:
    """A clean message; what the user asks something of stays beside it as `input`, both of them together not too long.

    The template decides how that is written.
    """
    said = {"role": message["role"], "content": fit(with_input(message), arguments)}
    if message["role"] == "user" and message.get("input"):
        return said | {key: fit(message[key], arguments) for key in ("content", "input")}
    return said


def even(row: Row, inputs: int) -> Row:
    """The row, each of its messages with an `input` where any of the corpus has one.

    `datasets` takes the keys of the first rows for those of all.
    """
    if not inputs or "messages" not in row:
        return row
    return row | {"messages": [{"input": "", **message} for message in row["messages"]]}


def message(one: Any, where: str) -> Row:
    if not isinstance(one, dict) or not {"role", "content"} <= set(one):
        raise ValueError(f"{where}: need messages of role and content, got {str(one)[:60]!r}")
    return one


def given(value: Any) -> Any:
    """What an instruction is of; None where nothing was given: a blank, or what a table has for no value."""
    return None if value != value or (isinstance(value, str) and not value.strip()) else value


def with_input(message: Row) -> Any:
    """The content of a message, with what it is asked of (Alpaca's `input`) behind it."""
    content, more = message["content"], message.get("input")
    if not more:
        return content
    return f"{content}\n\n{more}" if isinstance(content, str) and isinstance(more, str) else None


def preference(row: Row, arguments: TextArguments, where: str) -> tuple[Row, str]:
    """A prompt with a better and a worse answer; each may be a conversation, of which the last message counts.

    A row may say what is wrong with the worse one (`kind`): it is measured by that.
    """
    if not {"prompt", "chosen", "rejected"} <= set(row):
        raise ValueError(f"{where}: need the columns prompt, chosen, rejected, got {', '.join(row)}")
    said = (("prompt", "user"), ("chosen", "assistant"), ("rejected", "assistant"))
    made = {name: fit(last(row[name], role, where), arguments) for name, role in said}
    if made["chosen"] == made["rejected"]:
        raise Unfit("equal")
    kind = {"kind": row["kind"]} if isinstance(row.get("kind"), str) else {}
    return made | kind, made["prompt"]


def last(value: Any, role: str, where: str) -> Any:
    """What is said last; Unfit where another says it, or it follows from turns before that a pair has no place for."""
    if not isinstance(value, list) or not value:
        return value
    roles = [message(one, where)["role"] for one in value]
    if roles[-1] != role or roles.count("user") > 1:
        raise Unfit("turns")
    return with_input(value[-1])


def question(row: Row, arguments: TextArguments, where: str) -> tuple[Row, str]:
    if not {"question", "passage", "answer"} <= set(row):
        raise ValueError(f"{where}: need the columns question, passage, answer, got {', '.join(row)}")
    if not isinstance(row["answer"], bool):
        raise Unfit("answer")
    made = {name: fit(row[name], arguments, turn=False) for name in ("question", "passage")}
    return {**made, "answer": row["answer"]}, f"{made['passage']} {made['question']}"


def fit(text: Any, arguments: TextArguments, turn: bool = True) -> str:
    """The clean text of a turn, in which there may be a program; Unfit where it is empty or too long.

    So is a turn with a model's own token in it, such as `<eos>`: a template could not tell it from what ends a turn.
    """
    if not isinstance(text, str) or not (cleaned := clean(text, arguments.urls, indented=turn)):
        raise Unfit("empty")
    if turn and any(mark in cleaned for mark in MARKS):
        raise Unfit("special_tokens")
    if len(cleaned) > arguments.max_turn_characters:
        raise Unfit("max_turn_characters")
    return cleaned


READERS: dict[str, Callable[[Row, TextArguments, str], tuple[Row, str]]] = {
    "conversations": conversation,
    "preferences": preference,
    "yesno": question,
}


def passages(path: Path) -> Iterable[str]:
    """What the questions of yes or no are asked of, and they themselves, one after another."""
    if path.is_file():
        for row in files.read_jsonl(path):
            yield row["passage"]
            yield row["question"]

"""What a corpus of text is to be, told before anything is read.

May not know how it is made; it says what the recipe says.
"""

from dataclasses import fields

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from arith_hf.corpus.text.arguments import TextArguments
from arith_hf.text.filters import Filters


def show_plan(arguments: TextArguments) -> None:
    """The sources, with the characters to keep of each, and a line for each of what is done with their documents."""
    console = Console()
    table = Table("source", "path", "column", "split", "language", "budget", title="plan")
    table.columns[1].overflow = "fold"  # so that it can be copied
    table.columns[5].justify = "right"
    for source in arguments.each():
        table.add_row(*map(escape, source[:5]), f"{source.budget:,}" if source.budget else "all")
    console.print(table)
    for what, said in told(arguments).items():
        console.print(f"{what}: {said}", markup=False, highlight=False, soft_wrap=True)
    console.print("All of it is read to be counted; smaller source_budgets count a sample.", soft_wrap=True)


def told(arguments: TextArguments) -> dict[str, str]:
    """What is done with the documents, in its order."""
    pairs = {what: ", ".join(getattr(arguments, what)) for what in ("conversations", "preferences", "yesno")}
    shards = f", training documents in files of {arguments.shard_size:,} characters" if arguments.shard_size else ""
    return {
        "filters": ", ".join(filters(arguments)) or "none",
        "duplicates": duplicates(arguments),
        "splits": splits(arguments),
        "decontaminated against": evaluations(arguments),
        **{what: paths for what, paths in pairs.items() if paths},
        "to be written": f"{arguments.output_dir or 'nowhere: no output_dir'}{shards}",
    }


def filters(arguments: TextArguments) -> list[str]:
    """Those that are on, by their keys, with their values."""
    keys = [(one.name, one.default) for one in fields(Filters) if one.name != "languages"]
    found = [f"{name} {value}" for name, off in keys if (value := getattr(arguments, name)) != off]
    languages = [one for one in arguments.source_languages if one != "any"]
    urls = [f"urls {arguments.urls}"] if arguments.urls != "keep" else []
    return [*urls, *found, *(["the language of each source"] if languages else [])]


def duplicates(arguments: TextArguments) -> str:
    threshold = arguments.near_duplicate_threshold
    near = f", and near ones (near_duplicate_threshold {threshold:g})" if threshold < 1 else ""
    return f"exact ones are left out{near}"


def splits(arguments: TextArguments) -> str:
    held = [("validation", arguments.validation_share, arguments.num_validation)]
    held += [("test", arguments.test_share, arguments.num_test)]
    shares = [f"{name} {100 * share:g} % (at most {most:,} documents of each source)" for name, share, most in held]
    return f"{', '.join(shares)}, train the rest"


def evaluations(arguments: TextArguments) -> str:
    """The texts that nothing to train on may share words with."""
    if not arguments.contamination_words:
        return "nothing (contamination_words 0)"
    yesno = [f"the questions and passages of {', '.join(arguments.yesno)}"] if arguments.yesno else []
    against = ["the test and validation documents", *yesno, *arguments.evaluation_paths]
    return f"{', '.join(against)} (contamination_words {arguments.contamination_words})"

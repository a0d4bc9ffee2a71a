"""The closing tables of a corpus of text. May not know how it was made; they say what the manifest says."""

from typing import Any

from rich.console import Console
from rich.table import Table


def show(folder: str, manifest: dict[str, Any], seconds: float) -> None:
    """Rows and characters of each file, and what became of each source."""
    console = Console()
    console.print(of_files(f"{folder} in {seconds:.1f} s", manifest["files"]))
    show_left(manifest["sources"], manifest["pairs"])
    for name, told in manifest["sources"].items():
        if told["kept_characters"] < told.get("budget", 0):
            why = "was read until its budget" if told["budget_reached"] else "has no more"
            have = f"{told['kept_characters']:,} characters are left, of the {told['budget']:,} of its budget"
            console.print(f"{name} {why}: {have}.", soft_wrap=True)
    shared = ", ".join(f"{pair} {count}" for pair, count in manifest["overlap"].items())
    console.print(f"Texts shared between splits: {shared}.")


def show_left(sources: dict[str, Any], pairs: dict[str, Any]) -> None:
    """What became of each source, and of the rows of each key and of its sources."""
    console = Console()
    if sources:
        console.print(of_sources(sources))
    for what, told in pairs.items():
        console.print(f"{what}: {of_rows(told)}", soft_wrap=True)
        named = told.get("sources", {})
        for name, one in named.items() if len(named) > 1 else ():
            console.print(f"  {name}: {of_rows(one)}", soft_wrap=True)


def of_rows(told: dict[str, Any]) -> str:
    """
    >>> of_rows({"read": 9, "removed": {"empty": 1}, "kept": {"train": 8}})
    '9 read, train 8; removed: empty 1'
    """
    kept, removed = (
        ", ".join(f"{name} {count:,}" for name, count in told[key].items()) or "none" for key in ("kept", "removed")
    )
    return f"{told['read']:,} read, {kept}; removed: {removed}"


def of_files(title: str, listed: dict[str, Any]) -> Table:
    table = Table("file", "rows", "characters", "contents", title=title)
    table.columns[0].no_wrap = True
    table.columns[1].justify = table.columns[2].justify = "right"
    for name, counts in listed.items():
        shares = counts.get("sources", {})
        told = ", ".join(f"{one}: {100 * rows / counts['rows']:.0f} %" for one, rows in shares.items())
        table.add_row(name, f"{counts['rows']:,}", f"{counts['characters']:,}", told)
    return table


def of_sources(sources: dict[str, Any]) -> Table:
    """A column for each source, a line for each filter that removed anything."""
    table = Table("documents", *sources, title="what became of each source (characters)")
    reasons = dict.fromkeys(reason for told in sources.values() for reason in told["removed"])
    table.add_row("read", *(cell(told["read"]["documents"], told["read"]["characters"]) for told in sources.values()))
    for reason in reasons:
        counts = (
            (told["removed"].get(reason, 0), told["removed_characters"].get(reason, 0)) for told in sources.values()
        )
        table.add_row(f"- {reason}", *(cell(*one) for one in counts))
    for split in ("train", "validation", "test"):
        table.add_row(split, *(f"{told['kept'].get(split, 0):,}" for told in sources.values()))
    table.add_row("characters kept", *(f"{told['kept_characters']:,}" for told in sources.values()))
    if any("budget" in told for told in sources.values()):
        table.add_row("budget", *map(budget, sources.values()))
    return table


def budget(told: dict[str, Any]) -> str:
    if "budget" not in told:
        return ""
    return f"{told['budget']:,}" + ("" if told["budget_reached"] else " (not reached)")


def cell(documents: int, characters: int) -> str:
    return f"{documents:,} ({characters:,})" if documents else ""

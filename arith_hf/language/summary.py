"""evaluate.txt of a model of natural text: what a person reads of a report.

May not know how a number came about.
"""

from typing import Any

from arith_hf.summary import preferred

KINDS = {"trained": "this model", "untrained": "untrained", "unigram": "token frequencies"}
Row = dict[str, Any]


def summarize(report: Row) -> str:
    lines = [f"{report['checkpoint']}, {report['parameters']} parameters, {report['vocab_size']} tokens", ""]
    why = f" ({report['context_length_is']})" if "context_length_is" in report else ""  # an older report has none
    lines.append(
        f"perplexity of whole documents, each token scored once; at most {report['context_length']} tokens are seen"
        f"{why}, windows {report['stride']} apart"
    )
    for source, block in report["perplexity"].items():
        unknown = f", {block['unknown']} of them unknown" if block["unknown"] else ""
        lines.append(f"  {source}: {block['n']} documents, {block['tokens']} tokens{unknown}, {block['bytes']} bytes")
        lines += [table_row(said, block[kind]) for kind, said in KINDS.items() if kind in block]
    if found := report["yesno"]:
        low, high = found["accuracy_interval"]
        lines += ["", f"yes or no: {found['accuracy']:.2%} [{low:.2%}, {high:.2%}] right, n {found['n']}"]
        lines.append(
            f"  by byte of the answer {found['accuracy_per_byte']:.2%}; "
            f"the more frequent answer {found['majority']:.2%}, chance 50 %; said yes {found['said_yes']:.2%}"
        )
        if found["cut"]:
            lines.append(f"  passages cut from the left for want of room: {found['cut']}")
    for name, block in report.get("preferences", {}).items():
        lines += ["", f"{name}: {block['protocol']}", *preferred(block)]
    for row in report["samples"]:
        how = "greedy" if row["temperature"] == 0 else f"temperature {row['temperature']}"
        end = "" if row["finished"] else " ..."
        lines += ["", f"{row['prompt']!r}, {how}:", f"  {' / '.join(row['completion'].strip().splitlines())}{end}"]
    return "\n".join([*lines, ""])


def table_row(label: str, block: Row) -> str:
    return (
        f"    {label:<18} perplexity {number(block['perplexity'], 2):>10}{interval(block['perplexity_interval'], 2)}"
        f"  bits per byte {block['bits_per_byte']:7.4f}{interval(block['bits_per_byte_interval'], 4)}"
    )


def interval(found: list[float] | None, places: int) -> str:
    """A single document has none."""
    return "" if found is None else f" [{number(found[0], places)}, {number(found[1], places)}]"


def number(value: float, places: int) -> str:
    """
    >>> number(31.25, 1), number(1e304, 1)
    ('31.2', '1.0e+304')
    """
    return f"{value:.{places}f}" if value < 1e9 else f"{value:.1e}"

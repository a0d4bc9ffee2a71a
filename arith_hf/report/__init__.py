"""The report of a model: a results table for a terminal, and one page for a browser.

May not measure anything: it reads the files that the stages left.

    arith-hf report --model expression [--format text|markdown|json|html] [--output FILE]
"""

import argparse
from pathlib import Path
from typing import NoReturn

from arith_hf import files
from arith_hf.report import table, text_table


class Arguments(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


def main(argv: list[str]) -> None:
    parser = Arguments("arith-hf report", description="Print the results table of a model.", allow_abbrev=False)
    parser.add_argument("--model", default="expression", help="folder of recipes/ and checkpoints/")
    parser.add_argument("--checkpoints", default="checkpoints", help="where the checkpoints of all models lie")
    parser.add_argument(
        "--format", choices=[*table.FORMATS, "html"], default="text", help="html: the whole page, which is not printed"
    )
    parser.add_argument("--output", help="also write it to this file (html: default report.html beside the stages)")
    given = parser.parse_args(argv)
    folder = Path(given.checkpoints, given.model)
    if given.format == "html":
        output = Path(given.output or folder / "report.html")
        files.write_text(output, html(folder))
        print(f"wrote {output}: open it in a browser")
        return
    tables = text_table if text_table.is_text(folder) else table
    text = tables.FORMATS[given.format](tables.collect(folder))
    print(text)
    if given.output:
        files.write_text(given.output, text + "\n")


def html(folder: Path) -> str:
    """The page; ValueError where the libraries that draw it are not installed."""
    try:
        from arith_hf.report import page, text_page
    except ModuleNotFoundError as error:
        raise ValueError(f"need {error.name} for --format html: run pip install 'arith-hf[report]'") from error
    return (text_page if text_table.is_text(folder) else page).render(folder)

"""A corpus of natural text: its keys, its files, its card and its tables."""

from arith_hf.corpus.text.arguments import TextArguments as Arguments
from arith_hf.corpus.text.card import write as write_card
from arith_hf.corpus.text.draft import NAME as DRAFT
from arith_hf.corpus.text.plan import show_plan
from arith_hf.corpus.text.tables import show
from arith_hf.corpus.text.write import ready, write

__all__ = ["DRAFT", "Arguments", "ready", "show", "show_plan", "write", "write_card"]

"""A corpus of expressions: its keys, its rows, its test sets."""

from arith_hf.corpus.expression.arguments import ExpressionArguments as Arguments
from arith_hf.corpus.expression.card import CARD
from arith_hf.corpus.expression.rows import ROWS, pose, sets, whole

__all__ = ["CARD", "ROWS", "Arguments", "pose", "sets", "whole"]

"""What the dataset card says of expressions alone."""

CARD = {
    "sources": """`trace` (a problem and its whole working, exactly the prompt
  and completion of an sft row), `segment` (consecutive steps cut from a trace, with the line break in front, or one
  fact as the last step of one), `excerpt` (such steps inside a longer line, which is no expression), `verdict` (a
  problem and its first operation, or ERROR) or `drill` (one fact).""",
    "level": "depth of the expression's tree (0 for a bare number or a malformed problem)",
    "normal": "parentheses around every operation, spare ones gone",
    "split": """Facts in drills and the expressions that segments go on from obey it too; intermediate lines of
whole traces cannot.""",
    "sets": """`heldout` holds the same sets of the validation split: choose by them, not by a test set. Its
`validation` is what `test/nontrivial` is.
`test/seed` is the plain sampler, duplicates and bare numbers kept; `test/nontrivial` has at least one operator and no
duplicates; `test/invalid` is malformed; each set of `harder` is deeper, longer or has other numbers than
most that is trained on; `chains`, `negatives` and `groups` are forms that people type, of which training has some too
(a chain such as `1 + 2 - 3 + 4` counts as deep as it is long). `hints` has a wrong result beside each problem (`hint`),
off by 1, 2, 5 or 10, or drawn from all that its numbers might come to (`kind`).""",
}

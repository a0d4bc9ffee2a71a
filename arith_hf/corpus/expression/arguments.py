"""The keys of a corpus of expressions, checked before any work.

May not know how a row is drawn or written.
"""

from dataclasses import dataclass, field
from typing import Any

from arith_hf import tasks
from arith_hf.corpus.arguments import CorpusArguments, key, need

MAX_DEPTH = 12  # a tree of depth 12 has a hundred operators on average and may have 4095, all that a working can hold


@dataclass
class ExpressionArguments(CorpusArguments):
    """What to draw of expressions, and how many of which kind."""

    sampler: str = key("stratified", "`stratified`: depths evenly; `seed`: stop with probability 0.3 at any node")
    min_depth: int | None = key(None, "least depth; default 1 for `stratified`, 0 (bare numbers) for `seed`")
    max_depth: int = key(4, "greatest depth of training and test problems")
    num_range: list[int] = field(
        default_factory=lambda: [1, 20], metadata={"help": "least and greatest number in a problem"}
    )
    invalid_rate: float = key(0.05, "share of malformed problems among whole traces")
    sft_invalid_rate: float | None = key(None, "that share among sft rows and prompts; default invalid_rate")
    typed_rate: float = key(0.1, "share of what people type (chains, signs, bare numbers, spare parentheses), likewise")

    segment_rate: float = key(0.0, "share of pretraining documents that are a few steps cut from a trace")
    segment_facts: float = key(0.0, "share of segments that are one fact of a drill, the last step of a working")
    segment_steps: int = key(2, "most steps in a segment or an excerpt")
    excerpt_rate: float = key(0.0, "share of pretraining documents that are a few steps inside a longer line")
    excerpt_items: int = key(40, "most numbers and parentheses, about, around the expression of an excerpt")
    verdict_rate: float = key(0.0, "share that are a problem and its first operation, or ERROR for every other one")
    drill_rate: float = key(0.0, "share of pretraining documents that are single facts")
    drill_range: int = key(100, "facts are those of problems with numbers up to num_range's greatest .. this")
    single_rate: float = key(0.0, "share of traces that are a problem of one operator, its numbers those of a drill")
    depth_weights: list[float] | None = field(
        default=None, metadata={"help": "how often `stratified` draws each depth from min_depth on; default evenly"}
    )

    prompts_min_depth: int | None = key(None, "least depth of a prompt; default max_depth")
    prompts_max_depth: int | None = key(None, "greatest depth of a prompt; default prompts_min_depth")
    prompts_num_range: list[int] | None = field(
        default=None, metadata={"help": "numbers of the prompts; default num_range"}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        task = tasks.get(self.task)
        if self.sampler not in task.SAMPLERS:
            raise ValueError(f"unknown sampler {self.sampler!r}: need one of {', '.join(task.SAMPLERS)}")
        self.fill_in()
        self.check_amounts()
        self.check_ranges()

    def fill_in(self) -> None:
        """Give the keys that follow from others their values."""

        def default(name: str, value: Any) -> None:
            if getattr(self, name) is None:
                setattr(self, name, value)

        default("min_depth", 0 if self.sampler == "seed" else 1)
        default("sft_invalid_rate", self.invalid_rate)
        default("prompts_min_depth", self.max_depth)
        default("prompts_max_depth", self.prompts_min_depth)
        default("prompts_num_range", list(self.num_range))

    def check_amounts(self) -> None:
        for name in ("segment_steps", "excerpt_items", "drill_range"):
            need(1, name, getattr(self, name))
        for names in (
            ("invalid_rate", "typed_rate", "single_rate"),
            ("sft_invalid_rate", "typed_rate", "single_rate"),
            ("segment_rate", "excerpt_rate", "verdict_rate", "drill_rate"),
        ):
            shares = [getattr(self, name) for name in names]
            if min(shares) < 0 or sum(shares) > 1:
                said = f"{', '.join(names[:-1])} and {names[-1]}"
                raise ValueError(f"need {said} of at least 0 and together at most 1, got {shares}")
        if not 0 <= self.segment_facts <= 1:
            raise ValueError(f"need 0 <= segment_facts <= 1, got {self.segment_facts}")
        depths = self.max_depth - (self.min_depth or 0) + 1
        if self.depth_weights is not None and (len(self.depth_weights) != depths or min(self.depth_weights) < 0):
            raise ValueError(f"need {depths} depth_weights, from min_depth to max_depth, got {self.depth_weights}")

    def check_ranges(self) -> None:
        for least, greatest in (("min_depth", "max_depth"), ("prompts_min_depth", "prompts_max_depth")):
            low, high = getattr(self, least), getattr(self, greatest)
            if not 0 <= low <= high <= MAX_DEPTH:
                raise ValueError(f"need 0 <= {least} <= {greatest} <= {MAX_DEPTH}, got {low} and {high}")
        need(1, "max_depth", self.max_depth)
        for name in ("num_range", "prompts_num_range"):
            numbers = getattr(self, name)
            if len(numbers) != 2 or numbers[0] > numbers[1]:
                raise ValueError(f"need {name} to be two integers, the least first, got {numbers}")

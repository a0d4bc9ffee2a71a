"""Row `seed_evaluation`: core-seconds to answer a problem, our solver beside the seed's way, at the seed's size.

The models are not trained, so both arms are made to write exactly as many tokens as the right working has, which is
what models that are right would write. README.md says how the seed's loop is measured without waiting for all of it.
"""

from bisect import bisect_left
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import torch

from arith_hf import checkpoint, files, notation, recipe, solver, tasks
from arith_hf.model import ArithConfig, ArithForCausalLM
from benchmarks import material, seed_program
from benchmarks.measure import Row, core_seconds
from benchmarks.seed_training import overrides

LENGTHS = (8, 32, 64, 128, 192, 256, 320, 384, 448, 512)  # prefixes whose cost is measured; between them it is straight
RIGHT = 0.99  # the share of problems answered right that the draft arm is measured at


def run(folder: Path, quick: bool) -> list[Row]:
    repeats, count = (1, 4) if quick else (3, 96)
    torch.manual_seed(0)
    places = material.make("expression-seed", folder, 200 if quick else 3000)
    exam = Exam(places, count)
    ours = model("tiny" if quick else "medium", exam.tokenizer, {} if quick else overrides())
    shape = seed_program.TINY if quick else seed_program.SHAPE
    theirs = seed_program.SeedModel(len(exam.tokenizer), exam.tokenizer.pad_token_id, **shape).eval()
    batch_size = recipe.load(Path(material.recipe("expression", "evaluate"))).get("batch_size", 64)
    wrong = max(1, round((1 - RIGHT) * count))
    plain, verified, rewritten, loops = ([] for _ in range(4))
    for _ in range(repeats + 1):  # the first warms up
        loops.append(loop_seconds(theirs, exam))
        plain.append(core_seconds(lambda: exam.answer(ours, batch_size)))
        rewritten.append(core_seconds(lambda: exam.answer(ours, batch_size, wrong)))
        with agreeing(ours, exam.tokenizer.eos_token_id):
            verified.append(core_seconds(lambda: exam.answer(ours, batch_size, drafts=True)))
    middle = sorted(range(count), key=lambda index: len(exam.right[index]))[count // 2]
    walked = core_seconds(lambda: seed_program.write(theirs, exam.asked[middle], exam.right[middle]))
    facts = {
        "problems": count,
        "tokens": sum(map(len, exam.right)),
        "tokens_other": sum(map(len, exam.right)),
        "loop_measured_by_estimated": round(walked / exam.loop(prefix_costs(theirs), middle), 3),
        "batch_size": batch_size,
    }
    shared: dict[str, Any] = {
        "unit": "core-seconds per problem",
        "other": [seconds / count for seconds in loops[1:]],
        "less_is_better": True,
        "wanted": ">= 50, reach 200",
    }
    once = (1 - RIGHT) * count / wrong  # of the time that the `wrong` problems took: there may be a whole one too many
    drafted = [one + two * once for one, two in zip(verified[1:], rewritten[1:], strict=True)]
    return [
        Row(
            "seed_evaluation",
            "solver in batches with a cache | the seed's way: one problem at a time, all of the prefix at each token",
            ours=[seconds / count for seconds in plain[1:]],
            facts=facts,
            **shared,
        ),
        Row(
            "seed_evaluation_drafts",
            f"solver with drafts, {100 * RIGHT:.0f} % of them right | the seed's way",
            ours=[seconds / count for seconds in drafted],
            facts=facts | {"accuracy": RIGHT, "all_right": round(median(verified[1:]) / count, 5)},
            **shared,
        ),
    ]


class Exam:
    """Problems of the test set whose right working fits in the seed's 512 tokens, as ids: `asked` and `right`."""

    def __init__(self, places: dict[str, str], count: int) -> None:
        self.tokenizer = checkpoint.load_tokenizer(places["tokenizer_name_or_path"])
        work = tasks.get("expression").work
        self.prompts: list[str] = []
        self.workings: list[str] = []
        self.asked: list[list[int]] = []
        self.right: list[list[int]] = []
        for row in files.read_jsonl(Path(places["dataset_name"], "test/nontrivial.jsonl")):
            prompt = notation.prompt(row["problem"])
            working = notation.completion(work(row["problem"].removeprefix(notation.HEAD)))
            asked = self.tokenizer(prompt)["input_ids"]
            right = [*self.tokenizer(working, add_special_tokens=False)["input_ids"], self.tokenizer.eos_token_id]
            if len(asked) + len(right) <= seed_program.LONGEST and len(self.prompts) < count:
                self.prompts.append(prompt)
                self.workings.append(working)
                self.asked.append(asked)
                self.right.append(right)
        if len(self.prompts) < count:
            raise ValueError(
                f"need {count} problems that fit in {seed_program.LONGEST} tokens, got {len(self.prompts)}"
            )

    def answer(self, ours: Any, batch_size: int, count: int | None = None, drafts: bool = False) -> None:
        """Our arm: the caps are the right lengths, as if the model ended there."""
        solver.generate(
            ours,
            self.tokenizer,
            self.prompts[:count],
            batch_size=batch_size,
            max_new_tokens=[len(ids) for ids in self.right[:count]],
            drafts=self.workings[:count] if drafts else None,
        )

    def loop(self, costs: list[float], index: int) -> float:
        """Seconds of the seed's loop over one problem: the sum over the prefixes that it computes."""
        first = len(self.asked[index])
        return sum(between(costs, length) for length in range(first, first + len(self.right[index])))


def model(size: str, model_tokenizer: Any, fields: dict[str, Any]) -> ArithForCausalLM:
    """Untrained, and unable to end: the rows of the end token are zero, so it is never the greatest logit."""
    special = {f"{name}_token_id": getattr(model_tokenizer, f"{name}_token_id") for name in ("pad", "bos", "eos")}
    made = ArithForCausalLM(ArithConfig.from_size(size, vocab_size=len(model_tokenizer), **special, **fields)).eval()
    with torch.no_grad():
        made.get_output_embeddings().weight[model_tokenizer.eos_token_id] = 0.0
    return made


def agreeing(ours: Any, end: int) -> Any:
    """While this is open, a pass without a cache agrees with whatever it is shown, having computed what it costs.

    So a draft is taken whole, as a model takes one that is right.
    """

    def agree(_: Any, arguments: Any, options: dict[str, Any], output: Any) -> None:
        if options.get("use_cache") is False:
            ids = options["input_ids"]
            following = torch.cat((ids[:, 1:], torch.full_like(ids[:, :1], end)), dim=1)
            output.logits.scatter_(-1, following[..., None], 1e9)

    return ours.register_forward_hook(agree, with_kwargs=True)


@torch.no_grad()
def prefix_costs(theirs: seed_program.SeedModel, times: int = 3) -> list[float]:
    """Core-seconds of one forward pass over a prefix of each of `LENGTHS`."""
    ids = torch.randint(1, theirs.tokens.num_embeddings, (1, seed_program.LONGEST))

    def cost(length: int) -> float:
        return median(core_seconds(lambda: int(theirs(ids[:, :length])[0, -1].argmax())) for _ in range(times))

    return [cost(length) for length in LENGTHS]


def between(costs: list[float], length: int) -> float:
    """The cost of a prefix of `length` tokens on the straight line between two measured ones."""
    place = min(max(bisect_left(LENGTHS, length), 1), len(LENGTHS) - 1)
    (low, high), (cheap, dear) = list(pairwise(LENGTHS))[place - 1], list(pairwise(costs))[place - 1]
    return cheap + (dear - cheap) * (length - low) / (high - low)


def loop_seconds(theirs: seed_program.SeedModel, exam: Exam) -> float:
    costs = prefix_costs(theirs)
    return sum(exam.loop(costs, index) for index in range(len(exam.asked)))

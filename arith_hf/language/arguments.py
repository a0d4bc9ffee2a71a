"""The keys of `evaluate.yaml` for a model of natural text.

May not know a model.
"""

from dataclasses import dataclass, field


@dataclass
class TextArguments:
    """Keys of `evaluate.yaml` where the corpus is of natural text."""

    checkpoint: str = field(default="", metadata={"help": "Folder of a checkpoint, adapter or merged model."})
    dataset_name: str = field(
        default="", metadata={"help": "The corpus folder, data/<model>: all of its test sets are measured."}
    )
    perplexity_files: list[str] = field(
        default_factory=list,
        metadata={
            "help": "More sets to take the perplexity of, named as a corpus names its sources: files of text, or JSONL "
            "with a column `text`, or of the Hub NAME, NAME:CONFIG or either with @SPLIT, `test` if none is said."
        },
    )
    joined: bool = field(
        default=False,
        metadata={"help": "Rows of each of perplexity_files are lines of one document (so of WikiText), not each one."},
    )
    context_length: int | None = field(
        default=None,
        metadata={
            "help": "Tokens that the model sees at once (default: the max_length that it was trained with, where that "
            "is recorded, else its positions)."
        },
    )
    stride: int | None = field(
        default=None,
        metadata={
            "help": "Tokens from window to window of a document longer than that, each scored once (default: half of "
            "context_length); context_length: disjoint windows, as lm-eval-harness has them."
        },
    )
    num_documents: int | None = field(
        default=None, metadata={"help": "Documents of each set, the same at every run (default: all)."}
    )
    untrained: bool = field(
        default=True, metadata={"help": "Measure the same shape with new weights of seed 0 beside it."}
    )
    num_unigram: int = field(
        default=100_000,
        metadata={"help": "Documents of pretrain/train that the baseline counts tokens in, at most; 0: no baseline."},
    )
    num_yesno: int | None = field(
        default=None, metadata={"help": "Questions of test/yesno.jsonl, the same at every run (default: all)."}
    )
    num_preferences: int | None = field(
        default=None, metadata={"help": "Pairs of test/preferences.jsonl, the same at every run (default: all)."}
    )
    sample_prompts: list[str] = field(
        default_factory=list, metadata={"help": "What the model is given to go on with: [Hello, Hola]."}
    )
    sample_temperature: float = field(
        default=0.8, metadata={"help": "Of the second sample of each prompt; the first is greedy."}
    )
    sample_tokens: int = field(default=100, metadata={"help": "New tokens of a sample at most."})
    chat: bool | None = field(
        default=None,
        metadata={
            "help": "Put prompts into the chat template (default: where there is one and the checkpoint was tuned)."
        },
    )
    batch_size: int = field(default=32, metadata={"help": "Windows or prompts at once, on each process."})
    output_dir: str | None = field(
        default=None, metadata={"help": "Where to write (default: the checkpoint's folder)."}
    )
    seed: int = field(default=0, metadata={"help": "Seed of the samples."})

    def __post_init__(self) -> None:
        if not self.checkpoint:
            raise ValueError("need --checkpoint, a folder")
        if not self.dataset_name and not self.perplexity_files:
            raise ValueError("need --dataset_name, the folder of a corpus, or --perplexity_files")
        least = {
            "context_length": 2,
            "stride": 1,
            "num_documents": 1,
            "num_unigram": 0,
            "num_yesno": 1,
            "num_preferences": 1,
        }
        for name, needed in (least | {"sample_tokens": 1, "batch_size": 1}).items():
            value = getattr(self, name)
            if value is not None and value < needed:
                raise ValueError(f"need {name} >= {needed}, got {value}")
        if self.sample_temperature <= 0:
            raise ValueError(f"need sample_temperature above 0, got {self.sample_temperature}")

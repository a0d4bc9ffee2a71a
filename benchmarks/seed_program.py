"""The seed's way, as its document asks for it: a plain encoder under a causal mask, padded batches, no cache.

Stock classes and a few lines, as such a program would have them; nothing of `arith_hf`. The document's settings: width
256, 6 layers, 8 heads, feed-forward 1024, dropout 0.1, at most 512 tokens, batches of 16, AdamW at 1e-4, gradient clip
1.0, evaluation one problem at a time. README.md says what it leaves open and how that is read here.
"""

import json
import sys
import time

import torch
from torch import Tensor, nn

LONGEST, BATCH, CLIP, RATE, DROPOUT = 512, 16, 1.0, 1e-4, 0.1
SHAPE = {"d_model": 256, "nhead": 8, "num_layers": 6, "dim_feedforward": 1024}  # the document's own names
TINY = {"d_model": 32, "nhead": 2, "num_layers": 2, "dim_feedforward": 64}


class SeedModel(nn.Module):
    """Token and learned position embeddings, stock encoder layers, a head; ids (B, T) -> logits (B, T, V)."""

    def __init__(
        self, vocab_size: int, pad: int, d_model: int, nhead: int, num_layers: int, dim_feedforward: int
    ) -> None:
        super().__init__()
        self.pad = pad
        self.tokens = nn.Embedding(vocab_size, d_model, padding_idx=pad)
        self.positions = nn.Embedding(LONGEST, d_model)
        self.dropout = nn.Dropout(DROPOUT)
        layer = nn.TransformerEncoderLayer(d_model, nhead, dim_feedforward, DROPOUT, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, num_layers, enable_nested_tensor=False)
        self.head = nn.Linear(d_model, vocab_size)

    def forward(self, ids: Tensor) -> Tensor:
        length = ids.shape[1]
        causal = torch.triu(torch.ones(length, length, dtype=torch.bool, device=ids.device), diagonal=1)
        x = self.dropout(self.tokens(ids) + self.positions(torch.arange(length, device=ids.device)))
        return self.head(self.layers(x, mask=causal, src_key_padding_mask=ids == self.pad))


class SeedTraining:
    """One epoch after another over padded batches in the order of the rows."""

    def __init__(self, model: SeedModel) -> None:
        self.model = model.train()
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=RATE)

    def epoch(self, rows: list[list[int]], to_longest: bool = False) -> None:
        """Batches padded to the 512 tokens of the document, or to the longest row of each batch."""
        for start in range(0, len(rows), BATCH):
            batch = rows[start : start + BATCH]
            width = max(map(len, batch)) if to_longest else LONGEST
            ids = torch.tensor([row + [self.model.pad] * (width - len(row)) for row in batch])
            logits = self.model(ids[:, :-1])
            loss = nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), ignore_index=self.model.pad)
            self.optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), CLIP)
            self.optimizer.step()


@torch.no_grad()
def write(model: SeedModel, prompt: list[int], right: list[int]) -> None:
    """Answer one problem: the whole prefix anew at each token. The token written is the right one, as if it were known.

    So it ends where a right working does, at the cost of a model that finds it; what an untrained one would write is
    computed and not used.
    """
    written = list(prompt)
    for token in right[: LONGEST - len(prompt)]:
        int(model(torch.tensor([written]))[0, -1].argmax())
        written.append(token)


def main() -> None:
    """Train on the documents that standard input holds as JSON; print core-seconds of an epoch after one warm batch."""
    job = json.load(sys.stdin)
    torch.manual_seed(0)
    training = SeedTraining(SeedModel(job["vocab_size"], job["pad"], **job["shape"]))
    training.epoch(job["rows"][:BATCH], job["to_longest"])
    started = time.process_time()
    training.epoch(job["rows"], job["to_longest"])
    print(time.process_time() - started)


if __name__ == "__main__":
    main()

import copy

import torch
from torch import nn

from arith_hf.model import ArithConfig, ArithForCausalLM
from arith_hf.train.muon import Muon, MuonFactory, orthogonalize


def test_orthogonal_to_a_tenth():
    for shape in [(3, 16, 16), (2, 8, 32), (2, 32, 8)]:
        values = torch.linalg.svdvals(orthogonalize(torch.randn(shape, generator=torch.Generator().manual_seed(0))))
        assert values.min() > 0.85
        assert values.max() < 1.15


def model() -> ArithForCausalLM:
    torch.manual_seed(0)
    return ArithForCausalLM(ArithConfig.from_size("tiny", vocab_size=11, qk_norm=True))


def steps(model: nn.Module, optimizer: torch.optim.Optimizer, first: int, last: int) -> None:
    for step in range(first, last):
        ids = torch.randint(11, (4, 9), generator=torch.Generator().manual_seed(step))
        model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()


def make(model: nn.Module) -> Muon:
    return MuonFactory()(model, lr=1e-3, muon_lr=1e-2, embedding_lr=3e-3, betas=(0.9, 0.95), weight_decay=0.1)


def test_hidden_matrices_go_to_muon_and_every_parameter_to_one_group():
    one = model()
    muon, embeddings, *rest = make(one).param_groups
    names = {id(param): name for name, param in one.named_parameters()}
    assert all("proj" in names[id(param)] for param in muon["params"])
    assert len(muon["params"]) == 2 * 7
    assert [names[id(param)] for param in embeddings["params"]] == ["model.embed_tokens.weight"]
    assert embeddings["lr"] == 3e-3
    assert "model.norm.weight" in {names[id(param)] for group in rest for param in group["params"]}
    assert sum(len(group["params"]) for group in (muon, embeddings, *rest)) == len(names)


def test_adamw_half_equals_torch():
    mine, theirs = model(), model()
    ours = Muon([{"params": list(mine.parameters()), "weight_decay": 0.1, "betas": (0.9, 0.95)}], lr=1e-2)
    stock = torch.optim.AdamW(theirs.parameters(), lr=1e-2, weight_decay=0.1, betas=(0.9, 0.95))
    steps(mine, ours, 0, 5)
    steps(theirs, stock, 0, 5)
    for a, b in zip(mine.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_resumes_exactly_from_its_state():
    whole, cut = model(), model()
    optimizer = make(whole)
    steps(whole, optimizer, 0, 6)
    half = make(cut)
    steps(cut, half, 0, 3)
    state = copy.deepcopy(half.state_dict())
    again = make(cut)
    again.load_state_dict(state)
    steps(cut, again, 3, 6)
    for a, b in zip(whole.parameters(), cut.parameters(), strict=True):
        assert torch.equal(a, b)

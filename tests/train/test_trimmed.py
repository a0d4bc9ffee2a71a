import pytest
import torch
from conftest import prepared_grpo
from trl import GRPOTrainer


@pytest.fixture(scope="module")
def trainer(road, tmp_path_factory):
    return prepared_grpo(road, tmp_path_factory.mktemp("grpo"))


def padded(lengths, prompt, longest):
    """Ids and mask (B, prompt + longest) of (prompt tokens, completion tokens) a row: padded left, and right."""
    ids = torch.randint(5, 20, (len(lengths), prompt + longest), generator=torch.Generator().manual_seed(0))
    mask = torch.zeros_like(ids)
    for row, (asked, written) in enumerate(lengths):
        mask[row, prompt - asked : prompt + written] = 1
    return ids * mask, mask


@pytest.mark.parametrize("lengths", [[(3, 9), (5, 2), (4, 30), (1, 1)] * 9, [(5, 30)], [(2, 0), (5, 7)]])
def test_probabilities_and_entropies_are_those_of_trl(trainer, lengths):
    """A row without a completion is one that was cut off, masked: its numbers count for nothing."""
    model = trainer.accelerator.unwrap_model(trainer.model).eval()
    ids, mask = padded(lengths, prompt=5, longest=30)
    with torch.no_grad():
        ours = trainer._get_per_token_logps_and_entropies(model, ids, mask, 30, compute_entropy=True)
        theirs = GRPOTrainer._get_per_token_logps_and_entropies(trainer, model, ids, mask, 30, compute_entropy=True)
    counted = mask[:, 5:].bool()
    for mine, other in zip(ours[:2], theirs[:2], strict=True):
        assert mine.shape == other.shape == (len(lengths), 30)
        torch.testing.assert_close(mine[counted], other[counted], atol=2e-5, rtol=1e-4)


def test_gradients_are_those_of_trl(trainer):
    model = trainer.accelerator.unwrap_model(trainer.model).eval()
    ids, mask = padded([(3, 9), (5, 2), (4, 30)] * 8, prompt=5, longest=30)
    found = []
    for way in (type(trainer), GRPOTrainer):
        model.zero_grad()
        logps = way._get_per_token_logps_and_entropies(trainer, model, ids, mask, 30)[0]
        (logps * mask[:, 5:]).sum().backward()
        found.append(torch.cat([weight.grad.flatten() for weight in model.parameters() if weight.grad is not None]))
    torch.testing.assert_close(*found, atol=1e-3, rtol=1e-3)

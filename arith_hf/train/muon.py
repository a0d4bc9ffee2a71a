"""Muon: each step of a hidden matrix is made orthogonal; AdamW for all other parameters, in one optimizer.

May not know which stage uses it. One `torch.optim.Optimizer`, so the Trainer's schedule, saving and exact resume hold.
`torch.optim.Muon` iterates in bfloat16, matrix by matrix; here matrices of one shape go together and in float32, which
a CPU without bfloat16 units needs. Method: Jordan et al. 2024; the coefficients: Polar Express, Amsel et al. 2025.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

# Coefficients (a, b, c) of five odd polynomials a X + b X X'X + c X (X'X)^2 that together send every singular value
# between 0.001 and 1 near 1.
POLYNOMIALS = (
    (8.28721201814563, -23.595886519098837, 17.300387312530933),
    (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
    (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
    (3.3184196573706015, -2.488488024314874, 0.51004894012372),
    (2.300652019954817, -1.6689039845747493, 0.4188073119525673),
)


def orthogonalize(matrices: Tensor) -> Tensor:
    """The nearest semi-orthogonal matrices to `matrices` (N, rows, columns): singular values within 15 % of 1."""
    wide = matrices if matrices.size(-2) <= matrices.size(-1) else matrices.mT
    wide = wide / (torch.linalg.matrix_norm(wide, keepdim=True) * 1.01 + 1e-7)
    for a, b, c in POLYNOMIALS:
        gram = wide @ wide.mT
        wide = a * wide + torch.baddbmm(gram, gram, gram, beta=b, alpha=c) @ wide
    return wide if matrices.size(-2) <= matrices.size(-1) else wide.mT


class Muon(torch.optim.Optimizer):
    """Groups with `orthogonal: True` hold matrices and step by Muon (`momentum`); the rest by AdamW (`betas`, `eps`).

    Weight decay is decoupled in both. A Muon step is scaled by sqrt(max(1, rows / columns)).
    """

    def __init__(self, params: Iterable[Any], lr: float = 1e-3) -> None:
        defaults = {"orthogonal": False, "lr": lr, "momentum": 0.95, "betas": (0.9, 0.95), "eps": 1e-8}
        super().__init__(params, defaults | {"weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            params = [param for param in group["params"] if param.grad is not None]
            if params and group["weight_decay"]:
                torch._foreach_mul_(params, 1 - group["lr"] * group["weight_decay"])
            if params:
                (self.step_orthogonal if group["orthogonal"] else self.step_adamw)(params, group)
        return loss

    def step_orthogonal(self, params: list[Tensor], group: dict[str, Any]) -> None:
        """p -= lr * scale * orthogonalize(Nesterov momentum), matrices of one shape in one batch."""
        grads = gradients(params)
        buffers = self.buffers(params, "momentum_buffer")
        torch._foreach_lerp_(buffers, grads, 1 - group["momentum"])
        updates = torch._foreach_lerp(grads, buffers, group["momentum"])
        shapes = defaultdict(list)
        for index, param in enumerate(params):
            shapes[param.shape].append(index)
        for (rows, columns), indices in shapes.items():
            orthogonal = orthogonalize(torch.stack([updates[index] for index in indices]))
            scale = group["lr"] * max(1, rows / columns) ** 0.5
            torch._foreach_add_([params[index] for index in indices], list(orthogonal), alpha=-scale)

    def step_adamw(self, params: list[Tensor], group: dict[str, Any]) -> None:
        """AdamW with bias correction; the count of steps is kept on the first parameter."""
        beta1, beta2 = group["betas"]
        grads = gradients(params)
        means, squares = self.buffers(params, "exp_avg"), self.buffers(params, "exp_avg_sq")
        count = self.state[params[0]]["step"] = self.state[params[0]].get("step", 0) + 1
        torch._foreach_lerp_(means, grads, 1 - beta1)
        torch._foreach_mul_(squares, beta2)
        torch._foreach_addcmul_(squares, grads, grads, 1 - beta2)
        scales = torch._foreach_sqrt(squares)
        torch._foreach_div_(scales, (1 - beta2**count) ** 0.5)
        torch._foreach_add_(scales, group["eps"])
        torch._foreach_addcdiv_(params, means, scales, value=-group["lr"] / (1 - beta1**count))

    def buffers(self, params: list[Tensor], name: str) -> list[Tensor]:
        for param in params:
            if name not in self.state[param]:
                self.state[param][name] = torch.zeros_like(param)
        return [self.state[param][name] for param in params]


def gradients(params: list[Tensor]) -> list[Tensor]:
    return [param.grad for param in params if param.grad is not None]


class MuonFactory:
    """What `Trainer` calls with the model: hidden matrices to Muon at `muon_lr`, all else to AdamW.

    Embeddings step at `embedding_lr`: a row of one learns only when its token occurs. Tied, the head is the embedding.
    """

    def __call__(
        self,
        model: PreTrainedModel,
        lr: float,
        muon_lr: float,
        embedding_lr: float,
        betas: tuple[float, float],
        weight_decay: float,
    ) -> Muon:
        embeddings = {
            id(param) for module in model.modules() if isinstance(module, nn.Embedding) for param in module.parameters()
        }
        head = model.get_output_embeddings()
        heads = {id(param) for param in head.parameters()} if head is not None else set()
        groups: dict[str, list[nn.Parameter]] = defaultdict(list)
        for param in model.parameters():
            if param.requires_grad:
                matrix = param.ndim == 2 and id(param) not in heads
                groups["embedding" if id(param) in embeddings else "matrix" if matrix else "rest"].append(param)
        steps: dict[str, dict[str, Any]] = {
            "matrix": {"orthogonal": True, "lr": muon_lr, "weight_decay": weight_decay},
            "embedding": {"lr": embedding_lr, "betas": betas},
            "rest": {"lr": lr, "betas": betas},
        }
        return Muon([{"params": groups[kind], **step} for kind, step in steps.items() if groups[kind]], lr=lr)

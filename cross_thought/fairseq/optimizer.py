"""Adam in one pass over the weights: importing this module registers it with fairseq as the optimizer `fused_adam`.

It makes the updates of fairseq's own `adam` to rounding, takes its flags (`--adam-betas`, `--adam-eps`,
`--weight-decay`) and reads and writes its state, so that a run may go on from a checkpoint of either; but fairseq's
goes over weights, gradients and moments a dozen times. Import it after `bridge.install()`.
"""

import argparse
import math
from collections import defaultdict
from collections.abc import Callable, Iterable

import torch
from fairseq.optim import FairseqOptimizer, register_optimizer
from fairseq.optim.adam import Adam, FairseqAdam, FairseqAdamConfig
from torch import Tensor


class OnePassAdam(Adam):
    """fairseq's Adam with PyTorch's fused kernel; the state is the same."""

    @torch.no_grad()
    def step(self, closure: Callable | None = None, scale: float | Tensor = 1.0) -> None:
        """Update the weights.

        Args:
            closure: not supported, as fairseq has no use for it.
            scale: what the gradients are divided by on the way.
        """
        assert closure is None
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            by_step: dict[int, list[tuple[Tensor, Tensor]]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:  # a weight without a gradient keeps its step
                    by_step[self._next_step(parameter)].append((parameter, parameter.grad))
            for step, pairs in by_step.items():
                parameters, gradients = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
                states = [self.state[parameter] for parameter in parameters]
                device = parameters[0].device
                torch._fused_adamw_(
                    parameters,
                    gradients,
                    [state["exp_avg"] for state in states],
                    [state["exp_avg_sq"] for state in states],
                    [],
                    [torch.tensor(float(step), device=device)] * len(parameters),
                    lr=group["lr"],
                    beta1=beta1,
                    beta2=beta2,
                    weight_decay=group["weight_decay"],
                    # fairseq adds epsilon to the root of the second moment before that is corrected for its bias
                    eps=group["eps"] / math.sqrt(1 - beta2**step),
                    amsgrad=False,
                    maximize=False,
                    grad_scale=torch.as_tensor(scale, dtype=torch.float32, device=device),
                )

    def _next_step(self, parameter: Tensor) -> int:
        """Count a weight's step and return it; at the first, its moments begin at zero."""
        state = self.state[parameter]
        if not state:
            state |= {"step": 0, "exp_avg": torch.zeros_like(parameter), "exp_avg_sq": torch.zeros_like(parameter)}
        state["step"] += 1
        return state["step"]


@register_optimizer("fused_adam", dataclass=FairseqAdamConfig)
class FusedAdam(FairseqAdam):
    """fairseq's Adam, which scales gradients while it reads them anyway: neither normalising nor clipping is a pass."""

    def __init__(self, args: argparse.Namespace, params: Iterable[Tensor]) -> None:
        FairseqOptimizer.__init__(self, args)
        self._optimizer = OnePassAdam(params, **self.optimizer_config)
        self._factor: float | Tensor = 1.0  # that the gradients are yet to be multiplied by

    def zero_grad(self) -> None:
        """Drop the gradients, and what they were to be multiplied by."""
        super().zero_grad()
        self._factor = 1.0

    def multiply_grads(self, c: float | Tensor) -> None:
        """Multiply the gradients by a number, in the coming step."""
        self._factor = self._factor * c

    def clip_grad_norm(self, max_norm: float, aggregate_norm_fn: Callable | None = None) -> Tensor:
        """Scale the gradients down to a norm of `max_norm` (0: any), in the coming step; return the old norm."""
        norm = super().clip_grad_norm(0.0, aggregate_norm_fn) * self._factor
        if max_norm > 0:
            self.multiply_grads((max_norm / (norm + 1e-6)).clamp(max=1))
        return norm

    def step(self, closure: Callable | None = None, scale: float = 1.0) -> None:
        """Update the weights, with gradients divided by `scale`."""
        self.optimizer.step(closure, scale=scale / self._factor)
        self._factor = 1.0  # with --fp16 fairseq drops the gradients itself


# fairseq goes on from a checkpoint only if its optimizer's class has the name of this one's: the states are the same
FusedAdam.__name__ = FairseqAdam.__name__

"""Linear layers with an adapter in one step, without PEFT's copies of every output.

PEFT 0.21 makes ``W x``, ``B A x``, its scaled copy and their sum as four tensors of the output's size, and as many
gradients; with frozen weights in bfloat16 it also takes the states to float32 and back. Here the adapter's product
is added into the output in place, in the precision of the frozen weights; results are equal but for rounding.
"""

import functools
import types
from typing import Any


@functools.cache
def _adapted_product() -> Any:
    """Define the autograd function on first use, since torch is imported lazily."""
    import torch

    class AdaptedProduct(torch.autograd.Function):  # type: ignore[misc]
        """``y = W x + b + s B A x`` with ``W`` and ``b`` frozen (LoRA, arXiv 2106.09685, equation 3)."""

        @staticmethod
        def forward(ctx: Any, states: Any, weight: Any, bias: Any, down: Any, up: Any, scaling: float) -> Any:
            rows = states.reshape(-1, states.shape[-1])
            low = rows @ down.t()
            output = torch.nn.functional.linear(rows, weight, bias)
            output.addmm_(low, up.t(), alpha=scaling)
            ctx.save_for_backward(rows, weight, down, up, low)
            ctx.scaling = scaling
            return output.view(*states.shape[:-1], -1)

        @staticmethod
        def backward(ctx: Any, gradient: Any) -> Any:
            rows, weight, down, up, low = ctx.saved_tensors
            shape = (*gradient.shape[:-1], rows.shape[-1])
            gradient = gradient.reshape(-1, gradient.shape[-1])
            low_gradient = (gradient @ up).mul_(ctx.scaling)
            states_gradient = None
            if ctx.needs_input_grad[0]:
                states_gradient = (gradient @ weight).addmm_(low_gradient, down).view(shape)
            up_gradient = (gradient.t() @ low).mul_(ctx.scaling)
            return states_gradient, None, None, low_gradient.t() @ rows, up_gradient, None

    return AdaptedProduct


def install(model: Any) -> int:
    """Replace the forward of every plain LoRA layer of a PEFT model; return how many were replaced.

    Layers with dropout, DoRA, merged or several adapters, or another precision keep PEFT's forward.
    """
    import torch
    from peft.tuners.lora import Linear

    def forward(self: Any, states: Any) -> Any:
        base = self.get_base_layer()
        if self.disable_adapters:
            return base(states)
        (name,) = self.active_adapters
        adapter = (self.lora_A[name].weight, self.lora_B[name].weight)
        states, down, up = (tensor.to(base.weight.dtype) for tensor in (states, *adapter))
        return _adapted_product().apply(states, base.weight, base.bias, down, up, self.scaling[name])

    def plain(layer: Any) -> bool:
        base = layer.get_base_layer()
        adapters = [item.weight for item in (*layer.lora_A.values(), *layer.lora_B.values())]
        return (
            type(base) is torch.nn.Linear
            and len(layer.active_adapters) == 1
            and not layer.merged
            and not layer.use_dora[layer.active_adapters[0]]
            and not layer.lora_variant
            and not layer.lora_bias[layer.active_adapters[0]]
            and all(getattr(dropout, "p", 0.0) == 0.0 for dropout in layer.lora_dropout.values())
            and base.weight.dtype in (torch.float32, torch.bfloat16)
            and all(weight.dtype == torch.float32 for weight in adapters)
            and not base.weight.requires_grad
        )

    layers = [layer for layer in model.modules() if isinstance(layer, Linear) and plain(layer)]
    for layer in layers:
        layer.forward = types.MethodType(forward, layer)
    return len(layers)

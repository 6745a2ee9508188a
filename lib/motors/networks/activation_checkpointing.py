"""Activation checkpointing: less memory in training, for one more forward pass."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


def checkpointed(network: nn.Module) -> nn.Module:
    """Apply activation checkpointing to the blocks of `network`, in place, and return it.

    Activations inside a block are recomputed in the backward pass; keys, outputs, gradients and batch-norm statistics
    stay the same. A block is a member of a sequence that has two or more convolutions but no smaller block.
    """
    for block in _blocks(network):
        block.forward = partial(_forward, block, block.forward)
    return network


def _forward(block: nn.Module, forward: Callable, *inputs: Any, **settings: Any) -> Any:
    """Run the block's own `forward`, with checkpointing in training."""
    if not block.training:
        return forward(*inputs, **settings)
    inputs = [list(i) if isinstance(i, list) else i for i in inputs]  # a DenseNet appends to its list afterwards
    return checkpoint(
        forward, *inputs, use_reentrant=False, context_fn=lambda: (nullcontext(), _once(block)), **settings
    )


@contextmanager
def _once(block: nn.Module) -> Iterator[None]:
    """Leave the statistics of batch norms unchanged during the second pass."""
    layers = [m for m in block.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    before = [(layer.momentum, layer.num_batches_tracked.clone()) for layer in layers]
    for layer in layers:
        layer.momentum = 0.0
    try:
        yield
    finally:
        for layer, (momentum, count) in zip(layers, before, strict=True):
            layer.momentum = momentum
            layer.num_batches_tracked.copy_(count)


def _blocks(module: nn.Module, inside_sequence: bool = False) -> list[nn.Module]:
    """Return the smallest members of sequences that hold at least two convolutions."""
    is_sequence = isinstance(module, (nn.Sequential, nn.ModuleList, nn.ModuleDict))
    smaller = [block for child in module.children() for block in _blocks(child, is_sequence)]
    convolutions = sum(isinstance(m, (nn.Conv2d, nn.Conv3d)) for m in module.modules())
    return smaller or ([module] if inside_sequence and convolutions >= 2 else [])

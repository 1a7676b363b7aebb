"""Linear layers in int8: weights by output channel, activations by call, sums in int32.

One layer at a time is rounded and replaced, so that the weights are never there twice. The rest
of the model computes in float32.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch.ao.nn.quantized import dynamic
from torch.ao.quantization import per_channel_dynamic_qconfig

from edge.errors import StartupError

# Kernels for integers, best first: x86, then ARM.
_KERNELS = ("x86", "onednn", "qnnpack")


def round_weights(model: Any) -> None:
    """Replace the linear layers of `model`, in place.

    Raises `StartupError` where this build of torch has no integer kernels, or where the model has
    no linear layer.
    """
    supported = torch.backends.quantized.supported_engines
    kernels = next((name for name in _KERNELS if name in supported), None)
    if kernels is None:
        raise StartupError(["EDGE_QUANTIZE is int8, and torch has no integer kernels here"])
    torch.backends.quantized.engine = kernels
    found = [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        if type(child) is torch.nn.Linear
    ]
    if not found:
        raise StartupError(["EDGE_QUANTIZE is int8, and the model has no linear layer"])
    while found:
        parent, name, child = found.pop()
        setattr(parent, name, _rounded(child))
    model.float()


def _rounded(layer: torch.nn.Linear) -> torch.nn.Module:
    exact = layer.float()
    exact.qconfig = per_channel_dynamic_qconfig
    with warnings.catch_warnings():
        # Of later releases, which the lock does not let in.
        warnings.simplefilter("ignore")
        rounded: torch.nn.Module = dynamic.Linear.from_float(exact)
    return rounded

"""Files of weights: read with any wrapper, compared with a network, loaded completely or not at all."""

import os
import pickle
import re
import struct
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

WRAPPERS = ("state_dict", "model_state", "model")  # keys of the weights in some files
# Raised by a network's loader for weights that do not fit, and by torch for a damaged file.
UNFIT = (RuntimeError, ValueError, TypeError, LookupError, AttributeError, AssertionError)
DAMAGED = (*UNFIT, pickle.UnpicklingError, SafetensorError, struct.error, EOFError, OverflowError)


def fill(network: nn.Module, weights: dict[str, Tensor]) -> None:
    """Copy `weights` into a network: all of its tensors, and nothing else.

    A tensor shared by several names may come under any of them. Raises ValueError if a tensor is missing, unknown or of
    another shape; nothing is copied then.
    """
    ours = network.state_dict()
    places = {tensor.data_ptr() for key, tensor in ours.items() if key in weights}
    missing = [key for key, tensor in ours.items() if tensor.data_ptr() not in places]
    unknown = [key for key in weights if key not in ours]
    reshaped = [key for key, tensor in weights.items() if key in ours and tensor.shape != ours[key].shape]
    if found := differences(missing, unknown, reshaped):
        raise ValueError(f"these are the weights of another network: {found}")
    for key, tensor in weights.items():
        ours[key].copy_(tensor)


def distinct(network: nn.Module) -> dict[str, Tensor]:
    """Return the tensors of a network, each under the first of its names."""
    distinct = {tensor.data_ptr(): (key, tensor) for key, tensor in reversed(network.state_dict().items())}
    return dict(reversed(distinct.values()))


_scalar, (_dtype, _) = np.float64(0).__reduce__()


def _number(*state) -> np.generic:
    """Return a NumPy scalar: checkpoints may hold some, besides tensors and plain values."""
    return _scalar(*state)


_number.__module__, _number.__name__, _number.__qualname__ = "numpy.core.multiarray", "scalar", "scalar"  # in NumPy 1
NUMBERS = [_number, _scalar, np.dtype, type(_dtype)]


def read(path: Path) -> dict:
    """Return the content of a file of torch (.pth, .pt, .pyth, .ckpt) or safetensors, without running code in it.

    Raises FileNotFoundError without a file, ValueError if it is neither, truncated, or holds more than plain values.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there are no weights at {path}")
    path.open("rb").close()  # safetensors calls missing what may not be read
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                return {key: file.get_tensor(key) for key in file.keys()}
        with torch.serialization.safe_globals(NUMBERS):
            held = torch.load(path, map_location="cpu", weights_only=True)
    except DAMAGED as error:
        foreign = re.search(r"GLOBAL ([A-Za-z_]\w*(?:\.\w+)*) (?:was|whose)", str(error))
        if foreign and not _ends_within(path, foreign[1]):
            raise ValueError(
                f"{path} asks for {foreign[1]}, which is neither a tensor nor a plain value: it is not opened, because"
                " such a file can run anything"
            ) from None
        raise ValueError(f"{path} is not a file of weights, or is cut short: fetch it again") from None
    if not isinstance(held, dict):
        raise ValueError(f"{path} holds a {type(held).__name__}, but weights come by name: save a state_dict")
    return held


def pretrained(path: Path) -> dict[str, Tensor]:
    """Return weights of torchvision, timm or SlowFast by their keys there; raises as `read`, or if there are none."""
    held = read(path)
    for wrapper in WRAPPERS:
        held = held.get(wrapper, held) if isinstance(held, dict) else held
    return tensors(held, path)


def differences(missing: list[str], unknown: list[str], reshaped: list[str]) -> str:
    """Return in one line how many tensors are missing, unknown or of another shape, with two names; "" if none."""
    faults = (("missing", missing), ("unknown", unknown), ("of another shape", reshaped))
    found = [f"{len(keys)} are {what} ({', '.join(keys[:2])}, ...)" for what, keys in faults if keys]
    return f"of its tensors {'; '.join(found)}" if found else ""


def complaint(error: Exception) -> str:
    """Return an error of torch or timm in one line: as `differences` does where it names tensors."""
    text = str(error)
    lists = [re.findall(rf"{word} key\(s\) in state_dict: (.*)", text) for word in ("Missing", "Unexpected")]
    missing, unknown = (re.findall(r'"([^"]+)"', " ".join(lines)) for lines in lists)
    short = f"{type(error).__name__}: {' '.join(text.split()):.200}"
    return differences(missing, unknown, re.findall(r"size mismatch for (\S+):", text)) or short


def _ends_within(path: Path, name: str) -> bool:
    """Return whether a file is cut off in the line that ends in `name`, whose last byte torch drops."""
    last = name.rpartition(".")[2].encode()
    with path.open("rb") as file:
        file.seek(-min(len(last) + 1, path.stat().st_size), os.SEEK_END)
        tail = file.read()
    return tail[:-1] == last and tail[-1:] != b"\n"


def tensors(held: object, path: Path) -> dict[str, Tensor]:
    """Return what was read from a file, if it is weights: tensors by name, at least one, and nothing else."""
    if not isinstance(held, dict):
        found = f"a {type(held).__name__}"
    elif strange := [key for key, tensor in held.items() if not (isinstance(key, str) and isinstance(tensor, Tensor))]:
        found = f"{strange[0]!r} ({type(held[strange[0]]).__name__}) among its weights"
    elif not held:
        found = "nothing"
    else:
        return dict(held)
    raise ValueError(f"{path} holds {found}, but weights are tensors by name: save the state_dict of a network")

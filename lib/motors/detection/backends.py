"""Inference backends: each machine uses the fastest whose output agrees with eager PyTorch."""

import importlib.util
import json
import os
import platform
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from motors.detection.engine import kept_pages
from motors.detection.tiling import Plan
from motors.experiments.config import Experiment
from motors.geometry import Shape
from motors.networks.factory import channels_last
from motors.networks.rewriting import rewritten
from motors.workspace.code_hash import code_of
from motors.workspace.files import json_sha256, read_json, write_json
from motors.workspace.provenance import versions

AGREE = 1e-3  # largest difference of float32 logits that counts as rounding error
ROUGHLY = 0.1  # the same for bfloat16: changes a probability of 0.5 by 0.025
COSTLY = {"openvino": 30.0, "compiled": 120.0}  # seconds to build: only tried if inference takes ten times as long
TRIED = 2  # tiles per batch in a trial: with one, torch computes small 3D convolutions on a slow path
MANY = 100  # tomograms of one size assumed for a choice
TIMED = ("motors.detection.backends", "motors.networks.factory")  # modules whose changes invalidate cached choices
KEPT = 2  # built networks kept in memory: each may hold its own weights and activations
CACHE = "MOTORS_CACHE"  # environment variable: folder of cached choices, instead of the user's cache folder


class Backends:
    """A network built for several backends, once per shape of tiles; the last few are kept."""

    def __init__(self, network: Callable[[Tensor], Tensor], experiment: Experiment) -> None:
        self.network, self.experiment = network, experiment
        self.made: dict[tuple, Callable[[Tensor], Tensor]] = {}  # by name, device and perhaps tile shape
        self._chosen: dict[str, str] = {}

    def get(self, name: str, tiles: Plan, device: torch.device) -> Callable[[Tensor], Tensor]:
        """Return the network built by backend `name` for such tiles; "auto" uses the fastest, see `choose`.

        A network that is not of `motors.networks`, or in training mode, is returned unchanged.
        """
        if name == "eager" or getattr(self.network, "training", True) or not hasattr(self.network, "scaling"):
            return self.network
        network, where, made = self.network.to(device), str(device), None
        if name == "auto":
            if where not in self._chosen:
                about = {"device": device, "tiles": MANY * len(tiles.starts), "batch": tiles.batch}
                self._chosen[where], made = choose(network, self.experiment, tiles.tile, **about)
            name = self._chosen[where]
        shape = (tiles.tile, tiles.batch)
        if (key := (name, where, *(shape if name in COSTLY else ()))) not in self.made:
            while len(self.made) >= KEPT:
                del self.made[next(iter(self.made))]
            self.made[key] = made or make(name, network, _example(self.experiment, *shape, device))
        return self.made[key]


def available(device: torch.device) -> list[str]:
    """Return the names of the backends that this machine can try on a device, "eager" first."""
    names = ["eager", "rewritten", "channels-last"]
    if device.type == "cpu":
        names += ["bfloat16"] if has_bfloat16() else []
        names += ["compiled", "openvino"] if importlib.util.find_spec("openvino") else ["compiled"]
    return names


def has_bfloat16() -> bool:
    """Return whether the CPU supports bfloat16 natively, and ONEDNN_MAX_CPU_ISA allows it."""
    asked = os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper()
    flags = Path("/proc/cpuinfo")
    native = flags.is_file() and bool({"avx512_bf16", "amx_bf16"} & set(flags.read_text(encoding="utf-8").split()))
    return native and asked in ("", "DEFAULT", "AVX512_CORE_BF16", "AVX512_CORE_AMX", "AVX10_1_512_AMX")


def check(name: str, device: str) -> None:
    """Raise ValueError unless `name` is "auto" or a backend available on this device."""
    known = ["auto", *available(torch.device(device))]
    if name not in known:
        raise ValueError(f"there is no backend {name!r} here: choose one of {', '.join(known)}")


def make(name: str, network: nn.Module, example: Tensor) -> Callable[[Tensor], Tensor]:
    """Return a network built by backend `name` for tiles like `example`; raises ValueError if unavailable."""
    if name == "eager":
        return network
    quick = rewritten(network)
    if name == "rewritten":
        return quick
    if name == "channels-last":
        layout = torch.channels_last_3d if example.ndim == 5 else torch.channels_last
        quick = channels_last(quick)
        return lambda tiles: quick(tiles.to(memory_format=layout))  # sets strides even of a single channel
    if name == "bfloat16":
        return torch.autocast("cpu", torch.bfloat16)(lambda tiles: quick(tiles).float())
    if name == "compiled":
        return torch.compile(quick, dynamic=False)
    if name == "openvino" and name in available(example.device):
        return _openvino(quick, example)
    raise ValueError(f"there is no backend {name!r} here: choose one of {', '.join(available(example.device))}")


def choose(
    network: nn.Module, experiment: Experiment, tile: Shape, *, device: torch.device, tiles: int, batch: int = 1
) -> tuple[str, Callable[[Tensor], Tensor]]:
    """Return the name of the fastest backend here whose output agrees with the network's, and what it built.

    The network is in evaluation mode, on `device`; `tile` is `(z, y, x)` in voxels. `tiles` is the expected number of
    tiles, `batch` at once: backends that are slow to build are tried only if that pays.
    """
    whole = _example(experiment, tile, batch, device)
    key, known = _key(experiment, tuple(whole.shape), device), _remembered()
    if known.get(key) in available(device):
        return known[key], make(known[key], network, whole)
    seconds, networks = {}, {}
    few = whole[:TRIED] if device.type == "cpu" else whole
    expected, seconds["eager"] = _timed(network, few)
    networks["eager"] = network
    for name in available(device)[1:]:
        if seconds["eager"] * tiles / len(few) < 10 * COSTLY.get(name, 0.0):
            continue
        try:
            made = make(name, network, few)
            found, took = _timed(made, few)
        except (RuntimeError, ImportError) as error:  # no compiler, too little memory
            warnings.warn(f"{experiment.name} cannot be computed by {name} ({str(error)[:80]}): left out", stacklevel=2)
            continue
        if (found - expected).abs().max() <= (ROUGHLY if name == "bfloat16" else AGREE):
            seconds[name], networks[name] = took, made
    best = min(seconds, key=seconds.__getitem__)
    if tiles / len(few) >= 10 * max(COSTLY.values()) / seconds["eager"]:  # all were tried: worth remembering
        _remember(key, best)
    again = best in COSTLY and len(few) < batch  # was built for the batch size of the trial
    return best, make(best, network, whole) if again else networks[best]


def _example(experiment: Experiment, tile: Shape, batch: int, device: torch.device) -> Tensor:
    """Return a batch of noise, the same every time."""
    shape = (batch, *tile) if experiment.is_2d else (batch, 1, *tile)
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(0)).float().to(device)


@torch.inference_mode()
def _timed(network: Callable[[Tensor], Tensor], example: Tensor) -> tuple[Tensor, float]:
    """Return the output of a network and its seconds, the better of two runs after a warm-up."""
    took = []
    with kept_pages():
        network(example)
        for _ in range(2):
            begin = time.perf_counter()
            found = network(example)
            if example.device.type == "cuda":
                torch.cuda.synchronize(example.device)
            took.append(time.perf_counter() - begin)
    return found.float(), min(took)


def _openvino(network: nn.Module, example: Tensor) -> Callable[[Tensor], Tensor]:
    """Return the network in OpenVINO, in float32; `convert_model` gives the same in three times the time."""
    import openvino
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    with warnings.catch_warnings(), torch.no_grad():  # else autograd keeps gigabytes per tile
        warnings.simplefilter("ignore")  # the trace fixes shapes, as intended
        traced = torch.jit.trace(network, example, check_trace=False)  # `choose` compares the output
        decoder = TorchScriptPythonDecoder(traced, example_input=example)  # must outlive the conversion
        frontend = FrontEndManager().load_by_framework("pytorch")
        model = frontend.convert(frontend.load(decoder))
    model.reshape(list(example.shape))
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    settings["ENABLE_CPU_PINNING"] = False  # else all processes are pinned to the same first cores
    compiled = openvino.Core().compile_model(model, "CPU", settings)
    size = len(example)

    def predict(tiles: Tensor) -> Tensor:
        missing = size - len(tiles)  # in the last batch
        full = torch.cat([tiles, tiles.new_zeros(missing, *tiles.shape[1:])]) if missing else tiles
        return torch.from_numpy(compiled(full.contiguous().numpy())[0].copy())[: len(tiles)]

    return predict


def _key(experiment: Experiment, shape: tuple[int, ...], device: torch.device) -> str:
    """Return a hash of all that a choice depends on: network, tiles, processor, versions, the code timed."""
    settings: dict[str, Any] = json.loads(experiment.to_json())
    network = {name: settings[name] for name in ("encoder", "encoder_options", "neck", "decoder_channels", "stride")}
    chip = torch.cuda.get_device_name(device) if device.type == "cuda" else torch.backends.cpu.get_cpu_capability()
    isa = [os.environ.get(name, "") for name in ("ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY")]
    about = [network, shape, platform.node(), chip, isa, versions(), torch.get_num_threads(), available(device)]
    return json_sha256([*about, code_of(*TIMED)])[:16]


def _file() -> Path:
    folder = os.environ.get(CACHE) or os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(folder) / "motors" / "backends.json"


def _remembered() -> dict[str, str]:
    """Return the cached choices of earlier runs; none if the file cannot be read."""
    try:
        return read_json(_file())
    except (OSError, ValueError):
        return {}


def _remember(key: str, name: str) -> None:
    """Cache a choice; warn if the folder is not writable, which costs another trial next time."""
    try:
        _file().parent.mkdir(parents=True, exist_ok=True)
        write_json(_file(), _remembered() | {key: name})
    except OSError as error:
        sentence = f"the choice of a backend cannot be remembered ({error}): it will be made again the next time"
        warnings.warn(sentence, stacklevel=3)

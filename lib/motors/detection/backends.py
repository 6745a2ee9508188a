"""Ways to compute what a network predicts: on each machine the fastest that agrees on a real tile is kept."""

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
from motors.workspace.files import json_sha256, write_json
from motors.workspace.provenance import versions

AGREE = 1e-3  # the largest difference of logits that is called rounding, of float32
ROUGHLY = 0.1  # the same for bfloat16: a probability of one half moves by a fortieth
COSTLY = {"openvino": 30.0, "compiled": 120.0}  # seconds to make: only tried where ten times as much is to be done
TRIED = 2  # tiles at once in a trial: of one, torch computes small 3D convolutions by its slow way
MANY = 100  # tomograms of one size that a choice is made for
TIMED = ("motors.detection.backends", "motors.networks.factory")  # a choice is made anew when these modules change
KEPT = 2  # shapes of tiles that a network stays made for: each may hold weights and activations of its own
CACHE = "MOTORS_CACHE"  # environment variable: where choices are remembered, instead of the user's cache folder


class Backends:
    """A network as backends compute it: each is made once for a shape of tiles, and the last few are kept."""

    def __init__(self, network: Callable[[Tensor], Tensor], experiment: Experiment) -> None:
        self.network, self.experiment = network, experiment
        self.made: dict[tuple, Callable[[Tensor], Tensor]] = {}  # by name, device and perhaps shape
        self._chosen: dict[str, str] = {}

    def get(self, name: str, tiles: Plan, device: torch.device) -> Callable[[Tensor], Tensor]:
        """Return the network as the backend called `name` computes such tiles; "auto" tries all, on the first ones.

        A network that is none of `motors.networks`, or still trains, comes back as it is.
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
    """Return whether the processor multiplies bfloat16 itself, and is not asked to refrain from it."""
    asked = os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper()
    flags = Path("/proc/cpuinfo")
    native = flags.is_file() and bool({"avx512_bf16", "amx_bf16"} & set(flags.read_text(encoding="utf-8").split()))
    return native and asked in ("", "DEFAULT", "AVX512_CORE_BF16", "AVX512_CORE_AMX", "AVX10_1_512_AMX")


def check(name: str, device: str) -> None:
    """Raise ValueError if there is no such backend on this device; "auto" is one."""
    known = ["auto", *available(torch.device(device))]
    if name not in known:
        raise ValueError(f"there is no backend {name!r} here: choose one of {', '.join(known)}")


def make(name: str, network: nn.Module, example: Tensor) -> Callable[[Tensor], Tensor]:
    """Return a network as the backend `name` computes tiles like `example`; raises ValueError if it is none here."""
    if name == "eager":
        return network
    quick = rewritten(network)
    if name == "rewritten":
        return quick
    if name == "channels-last":
        layout = torch.channels_last_3d if example.ndim == 5 else torch.channels_last
        quick = channels_last(quick)
        return lambda tiles: quick(tiles.to(memory_format=layout))  # also the strides of a single channel
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
    """Return the name of the fastest backend here whose output is that of the network, and what it made of that.

    The network is in evaluation mode, on `device`; `tile` is `(z, y, x)` in voxels. There will be so many `tiles`,
    `batch` at once: what takes long to make is only tried where that pays.
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
    again = best in COSTLY and len(few) < batch  # is made for as many as it was tried with
    return best, make(best, network, whole) if again else networks[best]


def _example(experiment: Experiment, tile: Shape, batch: int, device: torch.device) -> Tensor:
    """Tiles of noise, the same every time."""
    shape = (batch, *tile) if experiment.is_2d else (batch, 1, *tile)
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(0)).float().to(device)


@torch.inference_mode()
def _timed(network: Callable[[Tensor], Tensor], example: Tensor) -> tuple[Tensor, float]:
    """What a network says and the seconds it takes, the better of two after one to warm up."""
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
    """The network in OpenVINO, in float32; its `convert_model` would take three times as long to the same end."""
    import openvino
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    with warnings.catch_warnings(), torch.no_grad():  # or activations are kept: gigabytes for each tile
        warnings.simplefilter("ignore")  # shapes are constants of the trace, as they should be
        traced = torch.jit.trace(network, example, check_trace=False)  # `choose` compares what it says
        decoder = TorchScriptPythonDecoder(traced, example_input=example)  # held until all is converted
        frontend = FrontEndManager().load_by_framework("pytorch")
        model = frontend.convert(frontend.load(decoder))
    model.reshape(list(example.shape))
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    settings["ENABLE_CPU_PINNING"] = False  # every process would take the first cores, and leave the others idle
    compiled = openvino.Core().compile_model(model, "CPU", settings)
    size = len(example)

    def predict(tiles: Tensor) -> Tensor:
        missing = size - len(tiles)  # of the last batch
        full = torch.cat([tiles, tiles.new_zeros(missing, *tiles.shape[1:])]) if missing else tiles
        return torch.from_numpy(compiled(full.contiguous().numpy())[0].copy())[: len(tiles)]

    return predict


def _key(experiment: Experiment, shape: tuple[int, ...], device: torch.device) -> str:
    """What a choice depends on: the network, the tiles, the processor, the versions, the code that was timed."""
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
    """The choices of earlier runs on this machine; none where they cannot be read."""
    try:
        return json.loads(_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _remember(key: str, name: str) -> None:
    """Write a choice down; a folder that cannot be written to costs a trial the next time, no more."""
    try:
        _file().parent.mkdir(parents=True, exist_ok=True)
        write_json(_file(), _remembered() | {key: name})
    except OSError as error:
        sentence = f"the choice of a backend cannot be remembered ({error}): it will be made again the next time"
        warnings.warn(sentence, stacklevel=3)

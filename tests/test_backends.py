"""Whatever computes a network, it answers the same; the fastest that does is taken, and remembered."""

import importlib
import json
import os
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from motors.detection import backends
from motors.detection.tiling import Plan
from motors.experiments import catalogue
from motors.networks.factory import build
from motors.networks.rewriting import GreyStem, rewritten
from motors.workspace.code_hash import code_of

pytestmark = pytest.mark.kernel  # networks are built and computed
CPU = torch.device("cpu")
NAMES = ("resnext50", "densenet121", "x3d_m", "maxvit_tiny", "efficientnet_lite0")


def trained(name: str) -> tuple[nn.Module, torch.Tensor]:
    """A small network whose batch norms have seen something, and grey levels with three different sides."""
    experiment = catalogue.of(name, "smoke")
    network, generator = build(experiment).eval(), torch.Generator().manual_seed(1)
    for layer in (layer for layer in network.modules() if isinstance(layer, _BatchNorm)):
        layer.running_mean.normal_(0, 0.3, generator=generator)
        layer.running_var.uniform_(0.5, 2.0, generator=generator)
        nn.init.uniform_(layer.weight, 0.5, 1.5, generator=generator)
        nn.init.normal_(layer.bias, 0.0, 0.2, generator=generator)
    shape = (1, 3, *experiment.patch[1:]) if experiment.is_2d else (1, 1, 32, 64, 96)
    return network, torch.randint(0, 256, shape, generator=generator).float()


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_a_rewritten_network_says_the_same_to_the_last_cell(name):
    """With statistics that matter, at the border too; the network itself stays as it was."""
    network, tiles = trained(name)
    norms = sum(isinstance(layer, _BatchNorm) for layer in network.modules())
    quick, expected = rewritten(network), network(tiles)
    torch.testing.assert_close(quick(tiles), expected, atol=1e-4, rtol=0)
    assert sum(isinstance(layer, _BatchNorm) for layer in quick.modules()) < norms
    assert any(isinstance(layer, GreyStem) for layer in quick.modules()) == (tiles.ndim == 5)
    assert sum(isinstance(layer, _BatchNorm) for layer in network.modules()) == norms


@torch.no_grad()
def test_a_convolution_of_single_voxels_waits_for_the_mean_of_eight():
    """In all three transitions of a DenseNet: it has an eighth to do then."""
    network, tiles = trained("densenet121")
    quick, order = rewritten(network), []
    for layer in quick.modules():
        if isinstance(layer, nn.AvgPool3d | nn.Conv3d):
            layer.register_forward_hook(lambda each, *_: order.append(each))
    quick(tiles)
    after = [order[k + 1] for k, each in enumerate(order) if isinstance(each, nn.AvgPool3d)]
    assert len(after) == 3 and all(each.kernel_size == (1, 1, 1) and each.stride == (1, 1, 1) for each in after)


class Rectified(nn.Sequential):
    """A mean of what is rectified in place."""

    def __init__(self) -> None:
        super().__init__(nn.Conv3d(1, 4, 1), nn.ReLU(inplace=True), nn.AvgPool3d(2))
        self.scaling = nn.Identity()

    def forward(self, tiles: torch.Tensor) -> torch.Tensor:
        return self[2](self[1](self[0](self.scaling(tiles))))


@torch.no_grad()
def test_what_is_done_in_place_between_two_layers_stays_between_them():
    """The mean of what is left after a ReLU is another than what a ReLU leaves of the mean."""
    torch.manual_seed(0)
    network, tiles = Rectified().eval(), torch.randn(1, 1, 4, 6, 8)
    torch.testing.assert_close(rewritten(network)(tiles), network(tiles))
    with torch.inference_mode():
        torch.testing.assert_close(rewritten(network)(tiles), network(tiles))


COMPARED = [name for name in backends.available(CPU) if name not in ("compiled", "bfloat16")]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.kernel if name == "openvino" else ()) for name in COMPARED]
)
@torch.no_grad()
def test_every_backend_says_the_same_also_to_a_last_batch_that_is_smaller(name):
    """The compiled one takes minutes to make: the benchmark tries it."""
    network, tiles = trained("x3d_m")
    made = backends.make(name, network, tiles.repeat(3, 1, 1, 1, 1))
    torch.testing.assert_close(
        made(tiles.repeat(2, 1, 1, 1, 1)).float(), network(tiles.repeat(2, 1, 1, 1, 1)), atol=1e-3, rtol=0
    )


@pytest.mark.parametrize("name", [name for name in COMPARED if name != "eager"])
@torch.no_grad()
def test_a_network_of_slices_in_a_volume_is_computed_by_every_backend(name):
    """Its kernels are of 2D and its tiles of 3D: both lie channels last, each in its own way."""
    network, tiles = trained("EXP09")
    assert {weights.ndim for weights in network.parameters()} >= {4, 5} and tiles.ndim == 5
    torch.testing.assert_close(backends.make(name, network, tiles)(tiles), network(tiles), atol=1e-3, rtol=0)


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_bfloat16_says_about_the_same(name):
    """Where the processor has it: eight bits of a number are kept, which a hundred layers add up."""
    if not backends.has_bfloat16():
        pytest.skip("this processor does not multiply bfloat16")
    network, tiles = trained(name)
    expected, found = network(tiles), backends.make("bfloat16", network, tiles)(tiles)
    assert found.dtype == torch.float32
    assert 0 < (found - expected).abs().max() < 0.15 * max(1.0, float(expected.std()))


def test_a_benchmark_counts_the_time_of_reference_kernels(monkeypatch):
    """By what oneDNN says of the primitives that it executes: here of three, one of them by its slow way."""
    monkeypatch.syspath_prepend(Path(__file__).parent / "benchmarks")
    detection = importlib.import_module("detection")
    said = {"jit:avx512_core": 15, "ref:any": 4.5, "brgemm:amx": 0.5}
    lines = [f"onednn_verbose,v1,primitive,exec,cpu,convolution,{name},forward,a,b,{s}" for name, s in said.items()]
    told = "\n".join(["onednn_verbose,v1,info,cpu,runtime:OpenMP", *lines, ""])
    assert detection.reference_share(lambda _: os.write(1, told.encode()), torch.zeros(1)) == pytest.approx(4.5 / 20)
    assert detection.reference_share(lambda _: None, torch.zeros(1)) == 0


def test_a_benchmark_in_which_reference_kernels_took_over_two_percent_is_refused(monkeypatch):
    """Its figures would be of oneDNN's slow way; at two percent it goes on, here to its first timing."""
    monkeypatch.syspath_prepend(Path(__file__).parent / "benchmarks")
    detection = importlib.import_module("detection")
    tiles, about = SimpleNamespace(tile=(1, 2, 3), batch=1), ("a", 0.1, 1, "auto", None, 1.0)
    monkeypatch.setattr(detection, "setting", lambda *_: (None, SimpleNamespace(is_2d=False), None, tiles))
    monkeypatch.setattr(detection, "ours", lambda *_: (None, "bfloat16"))
    monkeypatch.setattr(detection, "apart", lambda *_: 1 / 0)
    for share, outcome in ((0.021, pytest.raises(SystemExit, match="2% of the time of a by bfloat16")),
                           (0.02, pytest.raises(ZeroDivisionError))):  # fmt: skip
        monkeypatch.setattr(detection, "reference_share", lambda *_, share=share: share)
        with outcome:
            detection.measure(*about)


@pytest.mark.kernel
def test_openvino_keeps_no_activations_when_a_network_is_made_for_it():
    """What a 2D network of full size keeps for gradients is 4 GiB for each tile: four of them ended the process."""
    pytest.importorskip("openvino")
    (network, tiles), recorded = trained("coat_medium"), []
    network.register_forward_hook(lambda *_: recorded.append(torch.is_grad_enabled()))
    backends.make("openvino", network, tiles)
    assert recorded and not any(recorded)


@pytest.mark.kernel
def test_openvino_reports_nothing_and_leaves_cores_to_the_process_beside(monkeypatch):
    """Its own way to convert counts that over the internet; pinned, two processes computed on the first core alone."""
    openvino, compiled = pytest.importorskip("openvino"), []
    telemetry = pytest.importorskip("openvino.tools.ovc.telemetry_utils")
    monkeypatch.setattr(telemetry, "init_telemetry_class", lambda **_: pytest.fail("tells its makers"))
    make = openvino.Core.compile_model
    monkeypatch.setattr(openvino.Core, "compile_model", lambda *given: compiled.append(make(*given)) or compiled[0])
    backends.make("openvino", *trained("efficientnet_lite0"))
    assert not compiled[0].get_property("ENABLE_CPU_PINNING")


@pytest.fixture
def tried(monkeypatch, tmp_path):
    """Backends that take as long as they are told and answer with an error of their own; what was made is noted."""
    monkeypatch.setenv(backends.CACHE, str(tmp_path / "cache"))
    seconds = {"eager": 2.0, "rewritten": 1.0, "channels-last": 0.5, "openvino": 0.1}
    wrong, made = {"channels-last": 0.5}, []
    monkeypatch.setattr(backends, "available", lambda device: list(seconds))

    def make(name, network, example):
        made.append(name)
        return name

    def timed(network, example):
        name = network if isinstance(network, str) else "eager"
        return torch.full((2,), wrong.get(name, 0.0)), seconds[name]

    monkeypatch.setattr(backends, "make", make)
    monkeypatch.setattr(backends, "_timed", timed)
    return made


def choose(tiles: int, **options) -> tuple[str, object]:
    """The backend for so many tiles of a small network, and what it made."""
    experiment = catalogue.of("x3d_m", "smoke")
    return backends.choose(nn.Identity(), experiment, experiment.patch, device=CPU, tiles=tiles, **options)


def test_the_fastest_that_agrees_is_taken(tried):
    """Channels-last would be faster, but answers otherwise; OpenVINO is not worth its making for five tiles."""
    assert choose(tiles=5) == ("rewritten", "rewritten") and tried == ["rewritten", "channels-last"]


def test_what_was_found_for_much_work_is_remembered(tried, tmp_path):
    """And made without a trial the next time; a broken note is a trial again."""
    assert choose(tiles=10**6)[0] == "openvino"
    tried.clear()
    assert choose(tiles=5) == ("openvino", "openvino") and tried == ["openvino"]
    note = tmp_path / "cache" / "motors" / "backends.json"
    assert list(json.loads(note.read_text()).values()) == ["openvino"]
    for broken in ("{", "[]"):
        note.write_text(broken)
        assert choose(tiles=5)[0] == "rewritten"


@pytest.mark.parametrize("changed", ["versions", "code_of"])
def test_what_was_remembered_of_other_code_or_other_versions_is_tried_again(tried, monkeypatch, changed):
    """As choices were that had been timed before pages of memory were kept."""
    before = getattr(backends, changed)
    monkeypatch.setattr(backends, changed, lambda *about: before(*about) | {"openvino": "0.1"})
    assert choose(tiles=10**6)[0] == "openvino"
    monkeypatch.setattr(backends, changed, before)
    assert choose(tiles=5)[0] == "rewritten"
    assert choose(tiles=10**6)[0] == "openvino"
    tried.clear()
    assert choose(tiles=5)[0] == "openvino" and tried == ["openvino"]
    assert {"detection.engine", "networks.rewriting", "networks.encoders.x3d"} <= set(code_of(*backends.TIMED))


def test_two_tiles_of_a_batch_are_enough_for_a_trial(tried, monkeypatch):
    """Eight of a 2D network take a minute by each backend; one that is made for a shape is then made for all eight."""
    sizes, make = [], backends.make
    monkeypatch.setattr(backends, "make", lambda *given: sizes.append((given[0], len(given[2]))) or make(*given))
    assert choose(tiles=10**6, batch=8)[0] == "openvino"
    assert sizes == [("rewritten", 2), ("channels-last", 2), ("openvino", 2), ("openvino", 8)]


def test_what_was_chosen_for_the_first_tiles_computes_those_of_another_shape(tried):
    """Tomograms have many shapes, and a trial of each would take longer than it saves. Not all of them are kept."""
    experiment = catalogue.of("x3d_m", "smoke")
    network = nn.Identity().eval()
    network.scaling = None
    kept = backends.Backends(network, experiment)
    shapes = [(32 * k, 64, 96) for k in range(1, backends.KEPT + 3)]
    tiles = [Plan(shape, np.zeros((10**5, 3), int), 1) for shape in shapes]
    assert {kept.get("auto", each, CPU) for each in tiles} == {"openvino"}
    assert tried == ["rewritten", "channels-last", "openvino"] + ["openvino"] * (len(shapes) - 1)
    assert len(kept.made) == backends.KEPT
    kept.get("auto", tiles[-1], CPU)
    assert len(tried) == len(shapes) + 2
    kept.get("rewritten", tiles[0], CPU)
    kept.get("rewritten", tiles[1], CPU)
    assert tried[-1] == "rewritten" and len(tried) == len(shapes) + 3


def test_a_cache_that_cannot_be_written_costs_a_sentence(tried, tmp_path, monkeypatch):
    """The choice holds for this time."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(backends.CACHE, str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="cannot be remembered"):
        assert choose(tiles=10**6)[0] == "openvino"


def test_a_backend_that_cannot_be_made_is_left_out(tried, monkeypatch):
    """No compiler, an operation that is not there: said, and the next one is tried."""

    def make(name, network, example):
        if name != "channels-last":
            raise RuntimeError("no such operation")
        return name

    monkeypatch.setattr(backends, "make", make)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert choose(tiles=5)[0] == "eager"
    assert "cannot be computed by rewritten (no such operation)" in str(said[0].message)


def test_bfloat16_is_offered_only_where_the_processor_has_it(monkeypatch):
    """Elsewhere it is emulated, slower than float32; asked to refrain from it, a processor has none."""
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert not backends.has_bfloat16() and "bfloat16" not in backends.available(CPU)


def test_an_unknown_backend_is_refused():
    """With those there are."""
    network, tiles = trained("x3d_m")
    with pytest.raises(ValueError, match="no backend 'tensorrt' here: choose one of eager, rewritten"):
        backends.make("tensorrt", network, tiles)

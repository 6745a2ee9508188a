"""Training: its numbers against the original's, and kills, workers and devices that must not change the result."""

import contextlib
import csv
import functools
import json
import logging
import math
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from safetensors.torch import load_file
from torch import nn
from torch.utils.data import Dataset

from motors.experiments import catalogue
from motors.experiments.config import Experiment
from motors.networks import checkpoints
from motors.networks.factory import build, channels_last
from motors.training import callbacks, module, run as training_run
from motors.training.callbacks import SharedNorms, WeightAverage
from motors.training.module import Stream, Training, learning_rate, loss
from motors.training.watch import Watch
from motors.volumes.prepared import write_prepared
from motors.workspace import code_hash
from motors.workspace.provenance import read_inputs, write_inputs

REFERENCE = Path(__file__).parent / "reference" / "training"
RECORDED = json.loads((REFERENCE / "training.json").read_text())
# 8 optimiser steps of 3 micro-batches of 2 patches: samples 0 to 47; checkpoints after 3, 6 and 8 steps
TINY = replace(
    catalogue.get("resnext50_smoke"),
    name="tiny",
    patch=(32, 32, 64),
    batch=2,
    accumulate=3,
    optimiser="adamw",
    learning_rate=1e-2,
    warmup=3,
    steps=10,
    stop_at=8,
    save_every=3,
    average=0.9,
    seed=7,
    stride=16,
)


class Tiny(nn.Module):
    """A network with all that can go wrong: batch norm, a buffer of whole numbers, dropout; logits at stride 16."""

    def __init__(self, norm: nn.Module | None = None, dropout: float = 0.2):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(1)
            self.stem = nn.Conv3d(1, 6, 4, stride=4)
            self.norm = norm or nn.BatchNorm3d(6)
            self.dropout = nn.Dropout(dropout)
            self.head = nn.Conv3d(6, 1, 4, stride=4)

    def forward(self, volume):
        return self.head(self.dropout(torch.relu(self.norm(self.stem(volume / 128 - 1)))))


class Samples(Dataset):
    """Made-up samples, functions of their number; one of them may be deadly, and all may be noted down."""

    def __init__(self, deadly: int | None = None, notes: Path | None = None, like=TINY):
        self.deadly, self.notes, self.experiment, self.process = deadly, notes, like, os.getpid()

    def __getitem__(self, k):
        if k == self.deadly:
            os.kill(self.process, signal.SIGKILL)
        if self.notes:
            with self.notes.open("a") as file:
                file.write(f"{k}\n")
        rng, experiment = np.random.default_rng([3, k]), self.experiment
        shapes = (
            [experiment.patch, experiment.grid] if experiment.is_2d else [(1, *experiment.patch), (1, *experiment.grid)]
        )
        image = rng.integers(0, 256, shapes[0], dtype=np.uint8)
        return {"image": image, "target": rng.random(shapes[1], dtype=np.float32)}


class HeldOut(Samples):
    """Four other samples, of which every other one shows a motor, to be watched."""

    def __len__(self):
        return 4

    def __getitem__(self, k):
        return super().__getitem__(1000 + k) | {"motors": k % 2}


class Silent:
    """A progress line that is remembered instead of shown."""

    shown: list["Silent"] = []

    def __init__(self, total=None, title=""):
        self.total, self.title, self.count, self.numbers = total, title, 0, {}
        Silent.shown.append(self)

    def advance(self, n=1, **numbers):
        self.count, self.numbers = self.count + n, numbers

    def close(self):
        self.closed = True

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """The bytes are promised for a number of threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def train(output, experiment=TINY, dataset=None, network=None, **options):
    """Train the tiny network."""
    options = {"workers": 0, "accelerator": "cpu", "progress": Silent} | options
    return training_run.train(experiment, dataset or Samples(), output, network=network or Tiny(), **options)


def rows(output):
    """The journal."""
    with (output / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def result(output):
    """What must be the same after a kill: the bytes of the weights, and the journal without its clock."""
    return (output / "weights" / "weights.safetensors").read_bytes(), [row | {"seconds": ""} for row in rows(output)]


def train_until(output, deadly_sample=None, deadly_save=False, workers=0, optimiser="adamw", watched=False):
    """Train, up to a sample or the middle of writing a checkpoint, where the process is killed."""
    multiprocessing.set_start_method("fork", force=True)  # workers start as they do in a notebook
    torch.set_num_threads(1)
    save = torch.save

    def save_half(content, path):
        save(content, path)
        os.truncate(path, os.path.getsize(path) // 2)
        os.kill(os.getpid(), signal.SIGKILL)

    torch.save = save_half if deadly_save else save
    experiment = replace(TINY, optimiser=optimiser)
    samples = Samples(deadly_sample, notes=output.with_suffix(".notes"), like=experiment)
    train(output, experiment, samples, workers=workers, watch=Watch(HeldOut(), experiment) if watched else None)


def run(function, *arguments, **options):
    """Call a function of this file in a process of its own and return the exit code."""
    context = multiprocessing.get_context("forkserver")  # a clean process, which has only read what all of them read
    context.set_forkserver_preload(["read_before_training"])
    process = context.Process(target=function, args=arguments, kwargs=options)
    with mock.patch.dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)):  # the server of forks finds these tests
        process.start()
    process.join(300)  # a busy machine is no failure
    assert process.exitcode is not None, "the training hangs"
    return process.exitcode


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The run that nothing happened to."""
    return train(tmp_path_factory.mktemp("undisturbed")).parent


# ---- the numbers of the original solution


@pytest.mark.parametrize(
    "case", RECORDED["learning_rate"], ids=lambda case: f"{case['experiment']}-{case['steps_per_epoch']}"
)
def test_the_learning_rate_is_that_of_the_original_at_every_recorded_step(case):
    """Warm-up and cosine of the five final networks agree to a relative 1e-9."""
    experiment = catalogue.get(case["experiment"])
    rates = [learning_rate(experiment, step) for step in case["steps"]]
    np.testing.assert_allclose(rates, case["lr"], rtol=1e-9, atol=0)


@pytest.mark.parametrize("case", RECORDED["learning_rate"][::2], ids=lambda case: case["experiment"])
def test_the_optimiser_is_that_of_the_original_and_takes_those_rates(case):
    """AdamW in one group, and its rate before each of the first steps is the recorded one."""
    module = Training(Tiny(), catalogue.get(case["experiment"]), Samples(), 0)
    made = module.configure_optimizers()
    optimiser, schedule = made["optimizer"], made["lr_scheduler"]["scheduler"]
    (group,) = optimiser.param_groups
    assert type(optimiser).__name__ == case["optimizer"]
    assert (list(group["betas"]), group["eps"], group["weight_decay"]) == (
        case["betas"],
        case["eps"],
        case["weight_decay"],
    )
    assert len(group["params"]) == len(list(module.parameters()))
    for step, rate in zip(range(3), case["lr"], strict=False):
        assert case["steps"][step] == step
        assert group["lr"] == pytest.approx(rate, rel=1e-9)
        optimiser.step()
        schedule.step()


def test_muon_moves_a_matrix_equally_along_all_directions_of_its_gradient():
    """By five rates along each, whether its singular value is 3 or 1; a bias moves by a rate or two, whatever it is."""
    layer = nn.Linear(7, 5)
    before = layer.weight.detach().clone(), layer.bias.detach().clone()
    experiment = replace(TINY, optimiser="muon", learning_rate=0.01, warmup=0)
    optimiser = Training(layer, experiment, Samples(), 0).configure_optimizers()["optimizer"]
    layer.weight.grad = torch.diag(torch.tensor([3.0, 2.5, 2.0, 1.5, 1.0])) @ torch.eye(5, 7)
    layer.bias.grad = torch.tensor([1e3, 1.0, -1.0, 0.1, -0.01])
    optimiser.step()
    matrix, bias = (old - new.detach() for old, new in zip(before, layer.parameters(), strict=True))
    torch.testing.assert_close(matrix, 5 * 0.01 * torch.eye(5, 7), atol=0.005, rtol=0)
    assert torch.equal(bias.sign(), layer.bias.grad.sign())
    assert ((bias.abs() > 0.009) & (bias.abs() < 0.021)).all()


@pytest.mark.parametrize("key", RECORDED["loss"])
def test_the_loss_and_its_gradient_are_those_of_the_original(key):
    """Mean cross-entropy over all cells: value and gradient within 1e-6."""
    with np.load(REFERENCE / "loss.npz") as arrays:
        logits, target, gradient = (torch.from_numpy(arrays[f"{key}_{part}"]) for part in ("pred", "target", "grad"))
    logits.requires_grad_()
    value = loss(logits, target)
    value.backward()
    assert value.item() == pytest.approx(RECORDED["loss"][key], abs=1e-6)
    np.testing.assert_allclose(logits.grad, gradient, atol=1e-6)


def test_the_loss_is_counted_in_float32():
    """Half-precision logits and targets give a float32 loss: softplus(2) - 2 * 0.5 by hand."""
    value = loss(torch.full((1, 1, 2, 3, 4), 2.0).half(), torch.full((1, 1, 2, 3, 4), 0.5).half())
    assert value.dtype == torch.float32
    assert float(value) == pytest.approx(math.log(1 + math.e**2) - 1, rel=1e-6)


def test_cells_with_a_motor_can_weigh_more():
    """By hand: softplus(-2) for the half that is a motor, four times, and softplus(2) for the other half."""
    value = loss(torch.full((2, 1, 3), 2.0), torch.full((2, 1, 3), 0.5), positive_weight=4.0)
    assert float(value) == pytest.approx(4 * 0.5 * math.log1p(math.exp(-2)) + 0.5 * math.log1p(math.exp(2)), rel=1e-6)


def test_the_tversky_loss_is_one_minus_the_index_and_can_be_mixed_in():
    """By hand, of two cells: one hit of 0.75 and one false alarm of 0.25, smoothed by one."""
    logits, target = torch.tensor([math.log(3), -math.log(3)]), torch.tensor([1.0, 0.0])
    index = (0.75 + 1) / (0.75 + 0.3 * 0.25 + 0.7 * 0.25 + 1)
    assert float(loss(logits, target, tversky=1.0)) == pytest.approx(1 - index, rel=1e-6)
    mixed = 0.75 * -math.log(0.75) + 0.25 * (1 - index)
    assert float(loss(logits, target, tversky=0.25)) == pytest.approx(mixed, rel=1e-6)


def test_cells_that_nobody_is_sure_of_add_nothing():
    """By hand: of three cells the two others, log 2 each; what is predicted where nobody is sure does not count."""
    logits, target = torch.tensor([0.0, 9.0, 0.0], requires_grad=True), torch.tensor([1.0, math.nan, 0.0])
    value = loss(logits, target)
    value.backward()
    assert value.item() == pytest.approx(2 * math.log(2) / 3, rel=1e-6)
    assert logits.grad.tolist() == pytest.approx([-0.5 / 3, 0.0, 0.5 / 3])
    index = (0.5 + 1) / (0.5 + 0.3 * 0.5 + 0.7 * 0.5 + 1)
    assert float(loss(logits, target, tversky=1.0).detach()) == pytest.approx(1 - index, rel=1e-6)


# ---- the stream and the average


@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 4), st.integers(1, 5), st.data())
def test_all_devices_together_take_every_sample_once_in_order(share, world, accumulate, steps, data):
    """From any start, the micro-batches of all devices are the rest of 0, 1, 2, ... up to the last step."""
    batch = share * world
    experiment = replace(TINY, batch=batch, accumulate=accumulate, steps=steps, stop_at=None)
    start = data.draw(st.integers(0, steps * accumulate))
    streams = [Stream(experiment, start=start, rank=rank, world=world) for rank in range(world)]
    taken = [sorted(sum(parts, [])) for parts in zip(*streams, strict=True)]
    assert sum(taken, []) == list(range(start * batch, steps * accumulate * batch))
    assert all(len(part) == batch for part in taken)


def test_devices_that_cannot_share_a_batch_are_refused(tmp_path):
    """Three devices and a batch of two are one sentence, before anything is written."""
    with pytest.raises(ValueError, match="3 devices cannot share the 2 patches"):
        train(tmp_path / "run", devices=3)
    assert not (tmp_path / "run").exists()


def test_the_average_starts_with_the_initial_weights_and_copies_whole_numbers():
    """By hand: 1 moves to 0.9 + 0.1 * 11 = 2, then to 1.8 + 0.1 * 11 = 2.9; so do running means; a count is copied."""
    network = nn.BatchNorm1d(1)
    average = WeightAverage(network, 0.9)
    nn.init.constant_(network.weight, 11.0)
    network.running_mean.fill_(10.0)
    network.num_batches_tracked.fill_(5)
    for weight, mean in ((2.0, 1.0), (2.9, 1.9)):
        average.on_train_batch_end(None, type("Module", (), {"network": network}))
        moved = average.average.module
        assert moved.weight.item() == pytest.approx(weight)
        assert moved.running_mean.item() == pytest.approx(mean)
        assert moved.num_batches_tracked.item() == 5


def test_training_is_the_plain_loop_with_an_average_after_every_micro_batch(tmp_path):
    """The saved weights are those of twenty lines of torch: the average, not the last weights."""
    train(tmp_path, network=Tiny(dropout=0.0))
    network, samples = channels_last(Tiny(dropout=0.0)), Samples()
    average = {name: value.clone() for name, value in network.state_dict().items()}
    optimiser = torch.optim.AdamW(network.parameters(), betas=(0.9, 0.999), eps=1e-7, weight_decay=0.0, fused=True)
    losses = []
    for step in range(8):
        optimiser.param_groups[0]["lr"] = learning_rate(TINY, step)
        for micro in range(3):
            numbers = [2 * (3 * step + micro), 2 * (3 * step + micro) + 1]
            image = torch.stack([torch.from_numpy(samples[k]["image"]) for k in numbers]).float()
            target = torch.stack([torch.from_numpy(samples[k]["target"]) for k in numbers]).float()
            value = nn.functional.binary_cross_entropy_with_logits(network(image), target) / 3
            value.backward()
            losses.append(value.item())
            if micro == 2:
                optimiser.step()
                optimiser.zero_grad()
            for name, now in network.state_dict().items():
                average[name] = 0.9 * average[name] + 0.1 * now if now.is_floating_point() else now.clone()
    saved = load_file(tmp_path / "weights" / "weights.safetensors")
    assert saved.keys() == average.keys()
    for name, value in saved.items():
        torch.testing.assert_close(value, average[name], rtol=1e-5, atol=1e-6)
    assert not torch.allclose(saved["head.weight"], network.head.weight, atol=1e-4)
    assert [float(row["loss"]) for row in rows(tmp_path)] == pytest.approx(
        np.reshape(losses, (8, 3)).sum(axis=1), rel=1e-5
    )


# ---- kills


@pytest.mark.kernel
def test_a_run_killed_again_and_again_ends_with_the_same_bytes(tmp_path, undisturbed):
    """SIGKILL inside a window of accumulation, between two, while a checkpoint is written; at last with a worker."""
    output, killed = tmp_path / "run", -signal.SIGKILL
    assert run(train_until, output, deadly_sample=2 * 4) == killed  # step 2, second micro-batch
    assert callbacks.newest(output / "checkpoints") is None
    assert run(train_until, output, deadly_sample=2 * (3 * 4)) == killed  # after step 4, between two optimiser steps
    assert callbacks.newest(output / "checkpoints").name == "step_0000003.ckpt"
    assert run(train_until, output, deadly_save=True) == killed  # the checkpoint of step 6, half written
    assert [path.name for path in output.glob("checkpoints/*.ckpt")] == ["step_0000003.ckpt"]
    assert run(train_until, output, deadly_sample=2 * (3 * 6 + 2)) == killed  # after step 6, third micro-batch
    assert callbacks.newest(output / "checkpoints").name == "step_0000006.ckpt"
    assert run(train_until, output, deadly_save=True) == killed  # the last checkpoint
    assert run(train_until, output, workers=1) == 0
    assert result(output) == result(undisturbed)


@pytest.mark.kernel
def test_a_run_with_muon_ends_with_the_same_bytes_after_a_kill_too(tmp_path):
    """Its momentum is in the checkpoint; that it is another optimiser is seen by the weights."""
    whole, killed, adamw = tmp_path / "whole", tmp_path / "killed", tmp_path / "adamw"
    assert run(train_until, killed, deadly_sample=2 * 3 * 5, optimiser="muon") == -signal.SIGKILL
    for output, optimiser in ((whole, "muon"), (killed, "muon"), (adamw, "adamw")):
        assert run(train_until, output, optimiser=optimiser) == 0
    assert result(killed) == result(whole) != result(adamw)


@pytest.mark.kernel
def test_a_resumed_run_takes_the_stream_up_where_its_checkpoint_left_it(tmp_path):
    """After a kill in step 5 the samples from the checkpoint of step 3 on come again, each once, in order."""
    output = tmp_path / "run"
    assert run(train_until, output, deadly_sample=2 * 3 * 5 - 1) == -signal.SIGKILL
    assert run(train_until, output) == 0
    taken = [int(k) for k in output.with_suffix(".notes").read_text().split()]
    assert taken == [*range(2 * 3 * 5 - 1), *range(2 * 3 * 3, 2 * 3 * 8)]


@pytest.mark.kernel
def test_a_watched_run_ends_with_the_same_bytes_and_figures_after_a_kill(tmp_path, undisturbed):
    """What is held out is judged at the same steps with the same weights, and changes none of them."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert run(train_until, killed, deadly_sample=2 * 3 * 5, watched=True) == -signal.SIGKILL
    assert run(train_until, killed, watched=True) == run(train_until, whole, watched=True) == 0
    assert result(killed) == result(whole)
    assert [bool(row["validation_f2"]) for row in rows(killed)] == [False, True] * 4
    assert result(whole)[0] == result(undisturbed)[0]


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_any_number_of_workers_gives_the_same_bytes(workers, tmp_path, undisturbed):
    """What random numbers there are belong to a sample or a micro-batch, not to the process that makes them."""
    train(tmp_path, workers=workers)
    assert result(tmp_path) == result(undisturbed)


def test_a_run_killed_before_its_weights_were_written_writes_them_without_training(tmp_path, undisturbed, monkeypatch):
    """The last checkpoint is enough."""
    with monkeypatch.context() as patch, pytest.raises(KeyError):
        patch.setattr(checkpoints, "save", lambda *_: {}["killed"])
        train(tmp_path)
    assert not (tmp_path / "weights").exists()
    train(tmp_path, dataset=Samples(deadly=0))
    assert result(tmp_path) == result(undisturbed)


def test_a_finished_run_returns_at_once_and_says_so(tmp_path, undisturbed, caplog):
    """No sample is taken, the files stay as they are, the log and the progress line tell."""
    before = {path: path.stat().st_mtime_ns for path in undisturbed.rglob("*")}
    caplog.set_level(logging.INFO, "motors")
    assert train(undisturbed, dataset=Samples(deadly=0)) == undisturbed / "weights"
    assert {path: path.stat().st_mtime_ns for path in undisturbed.rglob("*")} == before
    assert "tiny was trained before" in caplog.text
    assert Silent.shown[-1].title == "tiny, trained before"
    assert Silent.shown[-1].count == Silent.shown[-1].total == 8


def test_a_damaged_checkpoint_is_left_aside(tmp_path, undisturbed, caplog):
    """A newest checkpoint with changed bytes, more than its padding has, or without its end gives way to the older."""
    train(tmp_path)
    (tmp_path / "weights").rename(tmp_path / "moved away")
    older, newer = sorted((tmp_path / "checkpoints").glob("*.ckpt"))
    content = bytearray(newer.read_bytes())
    for k in range(len(content) // 2, len(content) // 2 + 128):
        content[k] ^= 255
    newer.write_bytes(content)
    assert callbacks.newest(tmp_path / "checkpoints") == older
    newer.write_bytes(content[:-100])
    train(tmp_path)
    assert "step_0000008.ckpt is damaged" in caplog.text
    assert result(tmp_path) == result(undisturbed)


def test_a_folder_with_damaged_checkpoints_only_is_refused(tmp_path):
    """Nobody's work is silently begun again."""
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "step_0000003.ckpt").write_bytes(b"PK, but no archive")
    with pytest.raises(ValueError, match=r"all checkpoints in .*checkpoints are damaged: move them away"):
        train(tmp_path)


def copy_of(folder, output, what="*"):
    """A copy of a training, or of a part of it."""
    for path in folder.rglob(what):
        if path.is_file():
            target = output / path.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target)
    return output


def test_other_settings_are_refused(tmp_path, undisturbed):
    """Finished or not: the sentence names those that differ; nothing is written."""
    other = replace(TINY, learning_rate=2e-2, seed=8)
    changed = r"learning_rate is 0.01 there, 0.02 here; seed is 7 there, 8 here"
    copy_of(undisturbed, tmp_path)
    for part in ("weights", "checkpoints"):
        before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        with pytest.raises(ValueError, match=rf"trained with other inputs \({changed}\)"):
            train(tmp_path, other, dataset=Samples(like=other))
        assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
        shutil.rmtree(tmp_path / part)


def known(labels="labels", folder=None, *tomo_ids):
    """Samples that know their labels and volumes."""
    samples = Samples(deadly=0)
    samples.label_digest, samples.folder, samples.tomo_ids = labels, folder, tomo_ids
    return samples


@pytest.fixture
def trained(tmp_path, undisturbed):
    """A finished training on two volumes and their labels, and a function that asks for it again."""
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        write_prepared(tmp_path / "volumes", name, rng.integers(0, 256, (5, 6, 7), dtype=np.uint8))
    output = copy_of(undisturbed, tmp_path / "run")
    (output / "inputs.json").unlink()
    inputs = training_run._inputs(TINY, known("labels", tmp_path / "volumes", "a", "b"), Tiny())
    write_inputs(output, inputs)

    def again(labels="labels", names=("a", "b"), **options):
        return train(output, dataset=known(labels, tmp_path / "volumes", *names), **options)

    return again


def test_a_training_with_other_labels_volumes_or_first_weights_is_refused(trained, tmp_path):
    """Each alone is named; the same inputs return at once."""
    weights = trained()
    with pytest.raises(ValueError, match=r"other inputs \(the label table\)"):
        trained("other labels")
    with pytest.raises(ValueError, match=r"\(the volume b \(gone\); the volume c \(new\)\)"):
        write_prepared(tmp_path / "volumes", "c", np.zeros((2, 3, 4), np.uint8))
        trained(names=("a", "c"))
    network = Tiny()
    with torch.no_grad():
        network.head.bias += 1e-6
    with pytest.raises(ValueError, match=r"\(the first weights\)"):
        trained(network=network)
    voxels = np.load(tmp_path / "volumes" / "a.npy")
    voxels[4, 5, 6] ^= 1
    np.save(tmp_path / "volumes" / "a.npy", voxels)
    with pytest.raises(ValueError, match=r"\(the volume a\)"):
        trained()
    voxels[4, 5, 6] ^= 1
    np.save(tmp_path / "volumes" / "a.npy", voxels)
    assert trained() == weights


def test_a_training_by_other_code_is_refused_until_that_is_accepted(trained, tmp_path, monkeypatch):
    """The loss was edited; a comment or a docstring is no change. What was accepted stays on record."""
    library = copy_of(code_hash.LIBRARY, tmp_path / "motors", "*.py")
    monkeypatch.setattr(code_hash, "LIBRARY", library)
    module = library / "training" / "module.py"
    original = module.read_text(encoding="utf-8")
    weights = trained()
    module.write_text(original.replace('"""', '"""Said otherwise. ', 1) + "# a remark\n", encoding="utf-8")
    assert trained() == weights
    module.write_text(original + "THREE = 3\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"\(the code of training.module\)"):
        trained()
    before = read_inputs(tmp_path / "run")
    monkeypatch.setenv("MOTORS_ACCEPT_CODE", "1")
    assert trained() == weights
    with pytest.raises(ValueError, match="the label table"):
        trained("other labels")
    monkeypatch.delenv("MOTORS_ACCEPT_CODE")
    assert trained() == weights
    assert read_inputs(tmp_path / "run").noted == {"accepted code": [before.code]}


def test_a_training_of_an_older_version_is_refused_until_it_is_accepted(tmp_path, undisturbed, monkeypatch):
    """It says nothing of what it was made from."""
    copy_of(undisturbed, tmp_path)
    (tmp_path / "inputs.json").unlink()
    with pytest.raises(ValueError, match="has no inputs.json"):
        train(tmp_path)
    monkeypatch.setenv("MOTORS_ACCEPT_CODE", "1")
    assert train(tmp_path, dataset=Samples(deadly=0)) == tmp_path / "weights"


def test_a_folder_without_weights_is_not_trained(tmp_path, undisturbed):
    """Settings alone, or an empty folder: the weights are written, from the last checkpoint here."""
    copy_of(undisturbed, tmp_path)
    (tmp_path / "weights" / "weights.safetensors").unlink()
    train(tmp_path, dataset=Samples(deadly=0))
    assert result(tmp_path) == result(undisturbed)


def test_the_names_of_the_tomograms_travel_with_the_weights(tmp_path):
    """So that nobody judges a network by what it has seen; of others nothing is known."""
    samples = Samples()
    samples.tomo_ids, samples.folder = ("b", "a"), tmp_path
    for name in samples.tomo_ids:
        write_prepared(tmp_path, name, np.zeros((2, 3, 4), np.uint8))
    experiment = replace(TINY, steps=2, stop_at=None, warmup=1)
    samples.experiment = experiment
    assert checkpoints.trained_on(train(tmp_path, experiment, dataset=samples)) == {"a", "b"}
    assert checkpoints.trained_on(tmp_path) is None


def test_samples_made_for_another_experiment_are_refused(tmp_path):
    """A dataset that knows its experiment must know this one."""
    with pytest.raises(ValueError, match=r"the dataset is of another experiment \(seed is 8 there, 7 here\)"):
        train(tmp_path, dataset=Samples(like=replace(TINY, seed=8)))


# ---- what is left behind


def test_the_last_two_checkpoints_and_a_row_per_step_are_kept(undisturbed):
    """Steps 6 and 8 of 3, 6 and 8; eight rows with the rate that each step took."""
    kept = sorted(path.name for path in (undisturbed / "checkpoints").iterdir())
    assert kept == ["step_0000006.ckpt", "step_0000008.ckpt"]
    table = rows(undisturbed)
    assert list(table[0])[:4] == ["step", "loss", "learning_rate", "seconds"]
    assert {value for row in table for value in list(row.values())[4:]} == {""}  # nothing was watched
    assert [int(row["step"]) for row in table] == list(range(1, 9))
    rates = [learning_rate(TINY, step) for step in range(8)]
    assert [float(row["learning_rate"]) for row in table] == pytest.approx(rates, rel=1e-8)
    seconds = [float(row["seconds"]) for row in table]
    assert seconds == sorted(seconds) and 0 <= seconds[-1] < 100
    experiment = Experiment.read(undisturbed / "weights" / "experiment.json")
    assert experiment == TINY


def test_a_network_of_the_project_is_built_trained_saved_and_loaded_back(tmp_path):
    """The smallest experiment, two steps: what `train` returns is what `networks.load` takes."""
    experiment = replace(catalogue.get("resnext50_smoke"), steps=2, save_every=1)
    folder = training_run.train(
        experiment, Samples(like=experiment), tmp_path, workers=0, accelerator="cpu", progress=Silent
    )
    network, again = checkpoints.load(folder)
    assert (folder, again, network.training) == (tmp_path / "weights", experiment, False)
    initial = build(experiment).state_dict()
    moved = [name for name, value in network.state_dict().items() if not torch.equal(value, initial[name])]
    assert {name for name, _ in network.named_parameters()} <= set(moved)
    assert network(torch.full((1, 1, *experiment.patch), 127.0)).shape == (1, 1, *experiment.grid)


def test_training_says_nothing_and_leaves_the_global_random_numbers_alone(tmp_path, capfd):
    """No print, no warning, no log line of Lightning, whose level is what it was; torch's generator has not moved."""
    torch.manual_seed(5)
    before, level = torch.get_rng_state(), logging.getLogger("lightning.pytorch").level
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train(tmp_path, workers=1)
    assert torch.equal(torch.get_rng_state(), before)
    assert logging.getLogger("lightning.pytorch").level == level
    assert capfd.readouterr() == ("", "")


def test_denormals_are_0_in_a_training_and_numbers_again_after_it(tmp_path):
    """A CPU takes a hundred times as long for each number below 1e-38: there are many among the gradients of GELU."""
    network, seen = Tiny(), []
    tiny = torch.tensor(1e-39)
    network.head.register_full_backward_hook(lambda *_: seen.append(float(tiny * 1)))
    train(tmp_path, network=network)
    assert len(seen) == 24 and set(seen) == {0.0} and float(tiny * 1) == pytest.approx(1e-39)
    nn.init.constant_(network.head.bias, math.nan)
    with pytest.raises(ValueError, match="loss of tiny is nan"):
        train(tmp_path / "nan", network=network)
    assert float(tiny * 1) > 0
    torch.set_flush_denormal(True)
    try:  # who wants it so keeps it
        train(tmp_path / "flushed")
        assert float(tiny * 1) == 0
    finally:
        torch.set_flush_denormal(False)


def test_variables_of_a_cluster_do_not_start_what_nobody_asked_for(tmp_path, monkeypatch):
    """In a session of SLURM with four tasks, or of LSF, a training is one process, as everywhere."""
    names = dict.fromkeys(("JOB_ID", "PROCID", "LOCALID", "NODEID"), "0") | {"NTASKS": "4", "JOB_NAME": "work"}
    for name, value in names.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    monkeypatch.setenv("LSB_JOBID", "1")
    monkeypatch.setenv("LSB_DJOB_RANKFILE", str(tmp_path / "gone"))
    monkeypatch.setenv("JSM_NAMESPACE_LOCAL_RANK", "0")
    monkeypatch.setenv("JSM_NAMESPACE_SIZE", "4")
    train(tmp_path)
    assert Silent.shown[-1].count == 8


@pytest.mark.parametrize(("batches", "workers"), [(0.5, 0), (2.9, 0), (3, 1), (6.9, 2), (99, 3)])
def test_shared_memory_decides_how_many_workers_there_can_be(tmp_path, monkeypatch, caplog, batches, workers):
    """Docker gives 64 MB, a batch of the whole ResNeXt is 90: two batches ahead for each worker, and one in use."""
    batch = TINY.batch * (math.prod(TINY.patch) + 4 * math.prod(TINY.grid))
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: SimpleNamespace(free=batches * batch))
    monkeypatch.setattr(module, "SHARED", tmp_path)
    taken = Training(nn.Identity(), TINY, Samples(), 3)._workers_that_fit()
    assert (taken, "--shm-size" in caplog.text) == (workers, workers < 3)
    monkeypatch.setattr(module, "SHARED", tmp_path / "of macOS")
    assert Training(nn.Identity(), TINY, Samples(), 3)._workers_that_fit() == 3


def test_the_progress_line_counts_what_is_left_to_do(tmp_path):
    """A new run counts its steps and shows the loss; a resumed one counts from its checkpoint on and says which."""
    train(tmp_path)
    line = Silent.shown[-1]
    assert (line.title, line.total, line.count, line.closed) == ("tiny", 8, 8, True)
    assert line.numbers["loss"] == pytest.approx(float(rows(tmp_path)[-1]["loss"]))
    (tmp_path / "weights").rename(tmp_path / "moved away")
    (tmp_path / "checkpoints" / "step_0000008.ckpt").unlink()
    train(tmp_path)
    line = Silent.shown[-1]
    assert (line.title, line.total, line.count) == ("tiny, from step 6", 2, 2)
    assert len(rows(tmp_path)) == 8


def test_a_loss_that_is_not_a_number_ends_the_training_with_a_sentence(tmp_path):
    """It is noticed at the step it happens, before a checkpoint could keep it."""
    network = Tiny()
    nn.init.constant_(network.head.bias, math.nan)
    with pytest.raises(ValueError, match=r"the loss of tiny is nan at step 1: look at the samples"):
        train(tmp_path, network=network)
    assert not list(tmp_path.glob("checkpoints/*.ckpt"))


def test_an_interrupted_training_can_be_interrupted_again(tmp_path, request):
    """Ctrl-C arrives as such, its handler is still there, and the training goes on when called again."""
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, usual))

    class Interrupted(Samples):
        """Samples of which one arrives together with Ctrl-C."""

        def __getitem__(self, k):
            if k == 25:
                signal.raise_signal(signal.SIGINT)
            return super().__getitem__(k)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, dataset=Interrupted())
    assert signal.getsignal(signal.SIGINT) is before
    assert Silent.shown[-1].closed
    train(tmp_path)
    assert Silent.shown[-1].title == "tiny, from step 3"


# ---- several devices


def keep_gradients(output):
    """Let every optimiser step of this process leave its gradients in `output`, those of the first device."""

    def keep(module, optimiser):
        if module.global_rank == 0:
            gradients = [weight.grad.clone() for weight in module.network.parameters()]
            torch.save(gradients, output / f"gradients_{module.trainer.global_step}.pt")

    output.mkdir(exist_ok=True)
    Training.on_before_optimizer_step = keep


class Frozen(nn.Module):
    """Batch norm with fixed statistics, whose scale and shift are learnt."""

    def __init__(self, channels: int):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.register_buffer("mean", torch.linspace(-1, 1, channels))
        self.register_buffer("variance", torch.linspace(0.5, 2, channels))

    def forward(self, features):
        return nn.functional.batch_norm(features, self.mean, self.variance, self.weight, self.bias)


# Without dropout, which draws for each device on its own. CoaT is the project's, on slices, with layer norms.
COAT = replace(
    catalogue.get("coat_medium_smoke"),
    patch=(3, 64, 64),
    learning_rate=2e-3,
    **{
        key: getattr(TINY, key)
        for key in ("batch", "accumulate", "optimiser", "warmup", "steps", "stop_at", "save_every", "average")
    },
)
ALIKE = {
    "none": (TINY, lambda: Tiny(norm=nn.Identity(), dropout=0.0)),
    "frozen": (TINY, lambda: Tiny(norm=Frozen(6), dropout=0.0)),
    "batch norm": (TINY, lambda: Tiny(dropout=0.0)),
    "CoaT": (COAT, lambda: build(COAT)),
}


def train_on(devices, output, kind, interactive=False, threads=1):
    """Train one of these networks; the two processes of a notebook are forked from this one."""
    torch.set_num_threads(threads)
    if threads > 1:
        os.environ["OMP_NUM_THREADS"] = str(threads)  # else Lightning chooses, and on two cores it chooses one
        torch.rand(500, 500) @ torch.rand(500, 500)  # now its threads are there, and will not be in a fork
    if interactive:
        sys.ps1 = ">>> "  # how Python says that it is a notebook or a prompt
    keep_gradients(output)
    experiment, network = ALIKE[kind]
    samples = Samples(notes=output / "notes", like=experiment)
    train(output, experiment, dataset=samples, network=network(), devices=devices)


@pytest.fixture(scope="module")
def one_device(tmp_path_factory):
    """What makes the run of one process, which takes micro-batches of two patches, with a kind of network."""

    @functools.cache
    def run_on_one(kind):
        output = tmp_path_factory.mktemp("one_device")
        assert run(train_on, 1, output, kind) == 0
        return output

    return run_on_one


def agree(output, other):
    """Every loss and every gradient are the same to float tolerance, from the same samples."""
    for row, expected in zip(rows(output), rows(other), strict=True):
        assert float(row["loss"]) == pytest.approx(float(expected["loss"]), rel=1e-5)
    for step in range(TINY.optimiser_steps):
        pair = (torch.load(folder / f"gradients_{step}.pt", weights_only=True) for folder in (output, other))
        for mine, theirs in zip(*pair, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-6)
    taken = [sorted(int(k) for k in (folder / "notes").read_text().split()) for folder in (output, other)]
    assert taken[0] == taken[1] == list(range(48))


@pytest.mark.kernel
@pytest.mark.parametrize("kind", ["none", "frozen", "CoaT"])
def test_two_processes_of_a_notebook_train_like_one_with_the_doubled_batch(kind, tmp_path, one_device):
    """Two forked processes with one patch each have the losses and gradients of one with two, unless norms see both."""
    assert run(train_on, 2, tmp_path, kind, interactive=True) == 0
    agree(tmp_path, one_device(kind))
    if kind != "CoaT":  # the shifts of its keys have no gradient but rounding, which AdamW makes whole steps of
        weights = (load_file(folder / "weights" / "weights.safetensors") for folder in (tmp_path, one_device(kind)))
        torch.testing.assert_close(*weights, rtol=1e-3, atol=1e-5)


@pytest.mark.kernel
def test_on_cpus_batch_norms_see_the_patches_of_their_own_process(tmp_path, one_device):
    """From the same weights and samples, the first loss of two processes is another than that of one."""
    assert run(train_on, 2, tmp_path, "batch norm", interactive=True) == 0
    first, expected = (float(rows(folder)[0]["loss"]) for folder in (tmp_path, one_device("batch norm")))
    assert abs(first - expected) > 1e-4 * expected


@pytest.mark.parametrize(
    ("accelerator", "devices", "shared", "says"),
    [
        ("gpu", 2, True, "the batch norms of tiny see the patches of all 2 GPUs"),
        ("cpu", 2, False, "the batch norms of tiny see only the patches of their own process"),
        ("gpu", 1, False, ""),
    ],
)
def test_batch_norms_are_shared_between_gpus_and_it_is_said(
    tmp_path, accelerator, devices, shared, says, monkeypatch, caplog
):
    """What Lightning is asked for; nothing is said where there is one device, or no batch norm."""

    def stop(**settings):
        asked.append(any(isinstance(plugin, SharedNorms) for plugin in settings["plugins"]))
        raise InterruptedError

    asked: list[bool] = []
    monkeypatch.setattr("motors.training.run.Trainer", stop)
    caplog.set_level(logging.INFO, "motors")
    for norm, expected in ((None, says), (nn.Identity(), "")):
        caplog.clear()
        with pytest.raises(InterruptedError):
            train(
                tmp_path / f"{devices} {accelerator}", network=Tiny(norm=norm), accelerator=accelerator, devices=devices
            )
        assert caplog.text.strip().endswith(expected) and bool(caplog.text) == bool(expected)
    assert asked == [shared, shared]


@pytest.mark.parametrize("name", ["maxvit_tiny_smoke", "densenet121_smoke", "x3d_m_smoke"])
def test_shared_batch_norms_keep_what_a_network_answers(name):
    """Nothing is lost on the way to several GPUs, such as activations inside norms; tensors stay the same, in order."""
    network = build(catalogue.get(name))
    patch = catalogue.get(name).patch
    image = torch.randint(0, 256, (1, *patch) if len(patch) == 3 and patch[0] == 3 else (1, 1, *patch)).float()
    before, tensors = network.eval()(image), list(network.state_dict().items())
    shared = SharedNorms().apply(network)
    assert any(isinstance(layer, nn.SyncBatchNorm) for layer in shared.modules())
    torch.testing.assert_close(shared(image), before, rtol=0, atol=0)
    for (key, tensor), (old_key, old) in zip(shared.state_dict().items(), tensors, strict=True):
        assert key == old_key and tensor.data_ptr() == old.data_ptr()


@pytest.mark.kernel
def test_processes_forked_from_one_with_several_threads_do_not_wait_for_them(tmp_path, one_device):
    """As in a notebook on a machine with many cores, whose threads have been at work."""
    assert run(train_on, 2, tmp_path, "none", interactive=True, threads=3) == 0
    agree(tmp_path, one_device("none"))


@pytest.mark.slow
@pytest.mark.kernel
def test_two_processes_of_a_script_train_like_one_with_the_doubled_batch(tmp_path, one_device):
    """The same where a script is started once per device; slow, because both import everything anew."""
    script = tmp_path / "script.py"
    script.write_text(
        f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_training import train_on
train_on(2, Path({str(tmp_path / "two")!r}), "none")
"""
    )
    process = subprocess.Popen([sys.executable, str(script)], start_new_session=True)
    try:
        assert process.wait(300) == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # the process it started, too, if one of them hangs
    agree(tmp_path / "two", one_device("none"))

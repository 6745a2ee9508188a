"""The pretrained weights of the five original encoders, downloaded by `motors download pretrained`."""

import re
from collections.abc import Callable
from pathlib import Path

import timm
import torch
from torchvision.models import DenseNet121_Weights, ResNeXt50_32X4D_Weights

from motors.networks import weights
from motors.workspace.files import renamed

DATASET = "pretrained"  # their dataset, also in `experiments.yaml`
X3D_M = "https://dl.fbaipublicfiles.com/pyslowfast/x3d_models/x3d_m.pyth"  # SlowFast's model zoo, Kinetics-400
TIMM = ("maxvit_tiny_tf_512.in1k", "coat_lite_medium_384.in1k")


def addresses() -> dict[str, str]:
    """Return the URLs of the weights, by the names of their files here."""
    files = [ResNeXt50_32X4D_Weights.IMAGENET1K_V1.url, DenseNet121_Weights.IMAGENET1K_V1.url, X3D_M]
    hub = {name: f"https://huggingface.co/{timm.get_pretrained_cfg(name).hf_hub_id}/resolve/main" for name in TIMM}
    return {url.rpartition("/")[2]: url for url in files} | {
        f"{name}.safetensors": f"{url}/model.safetensors" for name, url in hub.items()
    }


def fetch(folder: Path, urls: dict[str, str], *, show: Callable[[str], None] = lambda line: None) -> list[Path]:
    """Download the files that are missing in `folder`, each atomically, and return the paths of all.

    A file whose name ends with part of its hash, as torchvision's do, is checked against it. Every file is also read: a
    transfer that breaks off would go unnoticed otherwise. `show` is called with a line per file downloaded. Raises
    OSError if a file cannot be downloaded, or arrives damaged.
    """
    for name, url in urls.items():
        if (folder / name).is_file():
            continue
        show(f"{name} from {url}")
        checksum = re.search(r"-([0-9a-f]{8})\.", name)
        try:
            with renamed(folder / name) as partial:
                torch.hub.download_url_to_file(url, str(partial), checksum and checksum[1])
                weights.read(partial)
        except (OSError, RuntimeError, ValueError) as error:
            raise OSError(f"{url} cannot be had ({error}): fetch it otherwise and put it at {folder / name}") from None
    return [folder / name for name in urls]

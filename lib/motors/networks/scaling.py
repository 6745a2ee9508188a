"""Scaling of intensities for the encoders."""

import torch
from torch import Tensor, nn

# Mean and standard deviation of the three channels of each set of weights, for intensities 0..255.
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # torchvision's
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))  # TensorFlow's, of MaxViT
KINETICS = ((0.45, 0.45, 0.45), (0.225, 0.225, 0.225))  # SlowFast's, of X3D
SCALES = {"imagenet": IMAGENET, "half": HALF, "kinetics": KINETICS}


class Scaling(nn.Module):
    """Scales intensities 0..255, of one channel or three, to the three channels an encoder expects.

    `axes` are 2 for images, 3 for volumes. Raises KeyError if `name` is not in `SCALES`.
    """

    def __init__(self, name: str, axes: int) -> None:
        super().__init__()
        for key, values in zip(("mean", "std"), SCALES[name], strict=True):
            self.register_buffer(key, torch.tensor(values).view(1, 3, *[1] * axes) * 255, persistent=False)

    def forward(self, grey: Tensor) -> Tensor:
        """Return `(b, 3, ...)` floats from `(b, 1, ...)` or `(b, 3, ...)` intensities."""
        return (grey - self.mean) / self.std

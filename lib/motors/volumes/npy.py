"""Reading of NumPy `.npy` files."""

from pathlib import Path

import numpy as np

from motors.volumes.axes import Stored
from motors.volumes.units import DAMAGE


def read_npy(path: Path, image: int | None = None) -> Stored:
    """Return the voxels, on disk; the last axes are taken as z, y, x. Raises ValueError if damaged or no numbers."""
    try:
        voxels = np.lib.format.open_memmap(path, "r")
    except (*DAMAGE, ValueError) as error:
        if "objects" in str(error):
            raise ValueError("it holds objects of Python, not real numbers: save it as numbers") from error
        raise ValueError(f"it is not an array of numpy, or damaged ({error!r:.200}): copy it again") from error
    if (size := path.stat().st_size) != (stated := voxels.offset + voxels.nbytes):
        raise ValueError(f"it has {size} bytes, its header says {stated}: copy it again")
    if voxels.ndim == 4 and voxels.shape[-1] <= 4 and voxels.shape[0] > 1:
        return Stored(voxels, "zyxs")  # samples per pixel
    return Stored(voxels, ("?" * voxels.ndim + "zyx")[-voxels.ndim :] if voxels.ndim else "")

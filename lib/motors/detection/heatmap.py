"""Heatmaps with their position in a tomogram: candidates, resampling onto another grid, files."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import ndimage

from motors import geometry, heatmaps
from motors.geometry import MATCH_RADIUS, Shape, Spacing
from motors.tables import CANDIDATE, POINT, join
from motors.workspace.files import read_json, renamed

ABOUT = ("size", "shape", "spacing")  # attributes of a grid in its file
# What NumPy raises for a damaged archive, besides OSError.
DAMAGE = (ValueError, LookupError, TypeError, EOFError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True, eq=False)
class Grid:
    """A heatmap of a tomogram; cell k is centred (k + 1/2) cells from the first corner."""

    cells: np.ndarray  # `(z, y, x)` probabilities
    size: Spacing  # sides of a cell, in ångström
    shape: Shape  # of the tomogram, in voxels
    spacing: float  # of the tomogram, in ångström per voxel

    def candidates(
        self, name: str, run: str, symmetry: str, *, threshold: float, most: int = 100, refine: bool = True
    ) -> pd.DataFrame:
        """Return the peaks, at least 1000 ångström from each other, as candidates of the tomogram called `name`.

        They are at the centres of cells, as in the original solution, unless `refine` interpolates between cells.
        """
        radius = MATCH_RADIUS / min(self.size)
        found, scores = heatmaps.peaks(self.cells, threshold=threshold, radius_cells=radius, most=most)
        found = heatmaps.between_cells(self.cells, found) if refine else found
        points = geometry.cell_to_voxel(found, np.divide(self.size, self.spacing))
        table = pd.DataFrame(points.clip(0, np.subtract(self.shape, 1)), columns=POINT)
        return join([table.assign(tomo_id=name, score=scores, run=run, symmetry=symmetry)])

    def onto(self, other: Grid) -> np.ndarray:
        """Return this heatmap interpolated at the centres of the cells of `other`, float32.

        Beyond its outermost centres the nearest value is used.
        """
        step = np.divide(other.size, self.size)
        cells = self.cells.astype(np.float32, copy=False)
        return ndimage.affine_transform(cells, step, (step - 1) / 2, other.cells.shape, order=1, mode="nearest")


def save_heatmaps(path: Path, grids: Mapping[str, Grid]) -> None:
    """Write the heatmaps of one tomogram by symmetry, rounded to float16, to a compressed `.npz` file."""
    first = next(iter(grids.values()))
    about = {key: getattr(first, key) for key in ABOUT}
    arrays = {symmetry: grid.cells.astype(np.float16) for symmetry, grid in grids.items()}
    with renamed(path) as partial:
        np.savez_compressed(partial, **about, **arrays)


def read_heatmaps(path: Path) -> dict[str, Grid]:
    """Return the heatmaps of one tomogram by symmetry, as `save_heatmaps` wrote them; raises ValueError if damaged."""
    try:
        with np.load(path) as arrays:
            size, shape, spacing = (arrays[key].tolist() for key in ABOUT)
            about = {"size": tuple(size), "shape": tuple(shape), "spacing": spacing}
            return {symmetry: Grid(arrays[symmetry], **about) for symmetry in arrays if symmetry not in ABOUT}
    except DAMAGE as error:
        raise ValueError(f"{path} holds no heatmaps ({error!r:.200}): remove it and run again") from error


def read_candidates(path: str | Path) -> pd.DataFrame:
    """Return the candidates in a file, exactly as written; raises ValueError if columns are missing."""
    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False).astype(CANDIDATE)
    except LookupError as error:
        raise ValueError(f"{path} holds no candidates ({error}): remove it and run again") from error


def load_heatmaps(output: str | Path, name: str) -> dict[tuple[str, str], Grid]:
    """Return the heatmaps of a tomogram that `detect_all` saved in `output`, by run and symmetry.

    For a run with several weights or settings, the newest are used. `output` is as given to `detect_all`, possibly
    for several networks. Raises FileNotFoundError if there is none, ValueError if one is damaged.
    """
    paths = sorted(Path(output).glob("*/settings.json"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    newest: dict[str, tuple] = {}  # weights and code of a run, whose symmetries may be in several folders
    grids: dict[tuple[str, str], Grid] = {}
    for path in paths:
        about = read_json(path)
        run, made = about.get("run"), (about.get("weights"), about.get("code"))
        if run and newest.setdefault(run, made) == made and path.with_name(f"{name}.npz").is_file():
            for symmetry, grid in read_heatmaps(path.with_name(f"{name}.npz")).items():
                grids.setdefault((run, symmetry), grid)
    if not grids:
        raise FileNotFoundError(f"no heatmap of {name} in {output}: detect with save_heatmaps=True")
    return grids

"""The three planes through a point of a tomogram as JPEG, fast enough for live scrolling."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from motors.geometry import MOTOR_WIDTH
from motors.visualization import plots
from motors.visualization.marks import CORNERS, CROSS, bar_length
from motors.volumes.cuts import layer
from motors.volumes.tomogram import Tomogram

WIDTH = 640  # pixels of the longer side of the XY plane; smaller tomograms are enlarged, at most four times
QUALITY, STILL = 88, 70  # of JPEG: in a live viewer, and in a file
AXES = ((1, 2), (0, 2), (1, 0))  # down and right, in the XY, XZ and YZ plane


def _colour(name: str) -> tuple[int, ...]:
    """Return blue, green, red of "#rrggbb"."""
    return tuple(bytes.fromhex(name[1:])[::-1])


@dataclass
class Look:
    """Display settings of planes."""

    slab: int = 2  # slices averaged on each side of the one shown
    levels: tuple[float, float] = (0, 255)  # intensities shown as black and white
    opacity: float = 0.5  # of the heatmap, in [0, 1]
    motors: bool = True  # whether they are drawn; likewise below
    candidates: bool = True
    crosshair: bool = True


@dataclass
class Planes:
    """The planes of one tomogram."""

    tomogram: Tomogram  # with its spacing
    motors: np.ndarray  # `(n, 3)` zyx in voxels
    candidates: np.ndarray  # likewise
    scores: Sequence[float] = ()  # of the candidates
    heatmap: np.ndarray | None = None  # `(z, y, x)` in [0, 1], a grid that covers the tomogram
    asked: np.ndarray | None = None  # zyx of the point in question, drawn in thick white
    _greys: dict = field(default_factory=dict)

    @property
    def zoom(self) -> float:
        """Pixels per voxel."""
        return min(WIDTH / max(self.tomogram.voxels.shape[1:]), 4.0)

    def jpeg(self, plane: int, point: Sequence[int], look: Look) -> bytes:
        """Return plane 0, 1 or 2, XY, XZ or YZ, through a point (zyx, in voxels) as JPEG."""
        return cv2.imencode(".jpg", self.picture(plane, point, look), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()

    def picture(self, plane: int, point: Sequence[int], look: Look) -> np.ndarray:
        """Return plane 0, 1 or 2, XY, XZ or YZ, through a point (zyx, in voxels): `(height, width, 3)`, BGR."""
        down, right = AXES[plane]
        low, high = look.levels
        steps = ((np.arange(256) - low) * (255 / max(high - low, 1))).clip(0, 255)
        grey = cv2.LUT(self._grey(plane, point[plane], look.slab), steps.astype(np.uint8))
        image = self._tinted(grey, plane, point[plane], look.opacity)
        if look.crosshair:
            _crosshair(image, (point[down] + 0.5) * self.zoom, (point[right] + 0.5) * self.zoom)
        if look.candidates:
            self._mark(image, plane, point, self.candidates, CROSS, plots.CANDIDATE, self.scores)
        if look.motors:
            self._mark(image, plane, point, self.motors, CORNERS, plots.MOTOR)
        if self.asked is not None:
            self._mark(image, plane, point, self.asked[None], 1.35 * CORNERS, "#ffffff", width=3)
        if plane == 0:
            length, below = bar_length(image.shape[1] * self.tomogram.spacing / self.zoom), len(image) - 12
            end = 12 + round(length / self.tomogram.spacing * self.zoom)
            for thick, grey in ((7, (0,) * 3), (3, (255,) * 3)):
                cv2.line(image, (12, below), (end, below), grey, thick)
            _write(image, (12, below - 8), f"{length / 10:g} nm", "#ffffff")
        return image

    def still(self, point: Sequence[int], look: Look) -> bytes:
        """Return all three planes side by side as one JPEG, for where no kernel runs."""
        xy, xz, yz = (self.picture(plane, point, look) for plane in range(3))
        sides = len(xy) + len(xz) + 4, xy.shape[1] + yz.shape[1] + 4
        sheet = np.full((*sides, 3), 255, np.uint8)
        sheet[: len(xy), : xy.shape[1]] = xy
        sheet[-len(xz) :, : xz.shape[1]] = xz
        sheet[: len(yz), -yz.shape[1] :] = yz
        return cv2.imencode(".jpg", sheet, [cv2.IMWRITE_JPEG_QUALITY, STILL])[1].tobytes()

    def _grey(self, plane: int, index: int, reach: int) -> np.ndarray:
        """Return the mean of the slices around one, at display size; the last one of each plane is cached."""
        if self._greys.get(plane, (None,))[0] != (index, reach):
            voxels = np.asarray(self.tomogram.voxels)
            near = range(max(index - reach, 0), min(index + reach + 1, voxels.shape[plane]))
            every = int(max(1 / self.zoom, 1)) if plane == 2 else 1  # along x, each voxel read costs a cache line
            parts = [voxels[(slice(None),) * plane + (k,)][:, ::every] for k in near]
            total = np.zeros(parts[0].shape, np.uint16)
            for part in parts:
                total += part
            grey = cv2.convertScaleAbs(total, alpha=1 / len(near))
            grey = np.ascontiguousarray(grey.T if plane == 2 else grey)
            sides = [max(round(voxels.shape[axis] * self.zoom), 1) for axis in AXES[plane][::-1]]
            how = cv2.INTER_AREA if self.zoom < 1 else cv2.INTER_LINEAR
            self._greys[plane] = (index, reach), cv2.resize(grey, sides, interpolation=how)
        return self._greys[plane][1]

    def _tinted(self, grey: np.ndarray, plane: int, index: int, opacity: float) -> np.ndarray:
        """Return grey as BGR, tinted where the heatmap is high; all computation is in bytes, for speed."""
        if self.heatmap is None or opacity <= 0:
            return cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)
        seen = layer(self.heatmap, index, self.tomogram.voxels.shape[plane], axis=plane)
        seen = (255 * opacity * (seen.T if plane == 2 else seen)).clip(0, 255).astype(np.uint8)
        share = cv2.resize(seen, grey.shape[::-1], interpolation=cv2.INTER_LINEAR)
        left = cv2.multiply(grey, 255 - share, scale=1 / 255)
        return cv2.merge([left + cv2.convertScaleAbs(share, alpha=c / 255) for c in _colour(plots.CANDIDATE)])

    def _mark(self, image, plane: int, point, points, lines, colour: str, scores=(), width: int = 2) -> None:
        """Draw the points that lie within half a motor's width of the plane."""
        spacing, (down, right) = self.tomogram.spacing, AXES[plane]
        reach = MOTOR_WIDTH / spacing * self.zoom
        for k, each in enumerate(points):
            if abs(each[plane] - point[plane]) * spacing > MOTOR_WIDTH / 2:
                continue
            place = (np.array([each[right], each[down]]) + 0.5) * self.zoom
            strokes = np.split(lines * reach + place, np.flatnonzero(np.isnan(lines[:, 0])))
            strokes = [stroke[~np.isnan(stroke[:, 0])].round().astype(np.int32) for stroke in strokes]
            for thick, bgr in ((width + 2, (0, 0, 0)), (width, _colour(colour))):
                cv2.polylines(image, strokes, False, bgr, thick, cv2.LINE_AA)
            if k < len(scores):
                corner = (place + (0.25 * reach, -0.45 * reach)).round().astype(int).tolist()
                _write(image, corner, f"{scores[k]:.2f}", plots.SCORE)


def _write(image: np.ndarray, corner: Sequence[int], words: str, colour: str) -> None:
    """Write words with a dark rim, all in one thickness, because thicker letters are also wider in OpenCV 5."""
    rim = [(right, down, (0, 0, 0)) for right in (-1, 0, 1) for down in (-1, 0, 1)]
    for right, down, bgr in (*rim, (0, 0, _colour(colour))):
        place = corner[0] + right, corner[1] + down
        cv2.putText(image, words, place, cv2.FONT_HERSHEY_SIMPLEX, 0.55, bgr, 1, cv2.LINE_AA)


def _crosshair(image: np.ndarray, y: float, x: float) -> None:
    y, x, gap = round(y), round(x), 14
    row, column = image[y : y + 1], image[:, x : x + 1]
    for part in (row[:, : max(x - gap, 0)], row[:, x + gap :], column[: max(y - gap, 0)], column[y + gap :]):
        part[:] = (np.array(part, np.uint16) + 255) // 2

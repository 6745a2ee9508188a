"""Simulated imaging and reconstruction of a density: contrast transfer, missing wedge, noise, intensities."""

from dataclasses import dataclass

import numpy as np
from scipy import fft

from motors.geometry import Shape
from motors.simulate.fields import CoarseGrid, Field
from motors.volumes.tomogram import by_plane, for_each

WAVELENGTH = 0.0197  # ångström, electrons of 300 kV
NOISE = 0.22  # standard deviation in a typical tomogram; the contrast of a membrane is about twice that
CLIPPED = 13.1  # ångström per voxel of the tomograms with clipped intensities
ROWS = 8  # of the spectrum processed at a time


@dataclass(frozen=True)
class Optics:
    """Imaging conditions of a tomogram."""

    defocus: float  # underfocus, in ångström
    tilt: float  # largest, to either side about the y axis, in degrees
    amplitude: float  # phase of the amplitude contrast, in radians
    damping: float  # B factor of the envelope, in square ångström
    noise: float  # standard deviation per voxel

    def transfer(self, squared: np.ndarray) -> np.ndarray:
        """Return the contrast transfer at squared frequencies (per square ångström): dense is dark."""
        phase = np.pi * WAVELENGTH * self.defocus * squared + self.amplitude
        return -np.sin(phase) * np.exp(-self.damping / 4 * squared)


def random_optics(rng: np.random.Generator, noise: float) -> Optics:
    """Return random settings of the microscope, typical of tomograms of whole cells."""
    return Optics(
        defocus=rng.uniform(50_000, 110_000),
        tilt=rng.uniform(54, 62),
        amplitude=rng.uniform(0.20, 0.35),
        damping=rng.uniform(2500, 4500),
        noise=NOISE * noise * rng.uniform(0.75, 1.3),
    )


def blank(shape: Shape) -> tuple[np.ndarray, np.ndarray]:
    """Return a `(z, y, x // 2 + 1)` complex spectrum and, in the same memory, the `(z, y, x)` float32 volume."""
    spectrum = np.zeros((*shape[:2], shape[2] // 2 + 1), np.complex64)
    return spectrum, spectrum.view(np.float32)[..., : shape[2]]


def image(spectrum: np.ndarray, shape: Shape, spacing: float, optics: Optics, seed: tuple[int, ...]) -> None:
    """Replace the density in the memory of `spectrum` (see `blank`) by its reconstruction from projections.

    Only a few planes are held besides. The `seed` is of the noise, which lacks the same wedge as the signal.
    """
    volume = spectrum.view(np.float32)[..., : shape[2]]
    frequencies = fft.fftfreq(shape[0]), fft.fftfreq(shape[1]), fft.rfftfreq(shape[2])
    kz, ky, kx = np.ix_(*(each.astype(np.float32) for each in frequencies))
    seen = np.abs(kz) <= np.float32(np.tan(np.radians(optics.tilt))) * kx  # beyond the tilts is the missing wedge
    # Projections crowd around the tilt axis, and so does their noise: power falls with the distance from it.
    weight = seen / np.sqrt(np.maximum(np.hypot(kz, kx), 0.008))
    squares = (weight.astype(np.float64) ** 2).mean(axis=(0, 1))
    # Each column but the first, and the last of an even width, stands for its mirror image too, which is not stored.
    squares *= np.where(2 * np.arange(len(squares)) % shape[2], 2, 1)
    weight *= optics.noise * np.sqrt(np.prod(shape) / 2 / (squares.sum() / shape[2]))
    curve = optics.transfer(np.arange(4096) / 4096 * 0.76 / spacing**2).astype(np.float32)

    def forward(z: int) -> None:
        spectrum[z] = fft.rfft2(volume[z])

    def through(block: int) -> None:
        rows = slice(block * ROWS, (block + 1) * ROWS)
        part = fft.fft(spectrum[:, rows], axis=0)
        squared = kz**2 + ky[:, rows] ** 2 + kx**2
        part *= seen * curve[(squared * np.float32(4096 / 0.76)).astype(np.int32)]
        rng = np.random.default_rng([*seed, block])
        part += weight * rng.standard_normal((*part.shape, 2), dtype=np.float32).view(np.complex64)[..., 0]
        spectrum[:, rows] = fft.ifft(part, axis=0, overwrite_x=True)

    def back(z: int) -> None:
        volume[z] = fft.irfft2(spectrum[z], s=shape[1:])

    for_each(forward, shape[0])
    for_each(through, -(-shape[1] // ROWS))
    for_each(back, shape[0])


def develop(volume: np.ndarray, grid: CoarseGrid, rng: np.random.Generator) -> np.ndarray:
    """Return `(z, y, x)` uint8 intensities of a reconstruction: shaded, with edges, percentiles mapped to 0 and 255.

    In the competition the tomograms of 13.1 Å have about 0.9 % of their voxels at either end, all others hardly any.
    """
    few = volume[:: max(1, len(volume) // 8)]
    level, deviation = float(few.mean()), float(few.std())
    shade = Field(grid, rng.uniform(0.1, 1.5) * deviation * np.exp(rng.uniform(0.4, 1.3) * grid.smooth(rng, 2500.0)))
    kept, halo = _frame(grid, rng)
    lost = level + rng.uniform(-0.6, 0.3) * deviation  # grey where no projection contributes
    clipped = abs(grid.spacing - CLIPPED) < 0.05
    saturated = rng.uniform(1.1, 1.5) if clipped else rng.uniform(0.1, 1.0)  # percent at either end

    def shaded(z: int) -> None:
        volume[z] += shade.plane(z) + halo * deviation
        volume[z] -= (1 - kept) * 0.75 * (volume[z] - lost)

    for_each(shaded, len(volume))
    few = volume[:: max(1, len(volume) // 40)][:, ::2, ::2]
    low, high = np.percentile(few, [saturated, 100 - saturated])
    shift = np.float32(rng.normal(-0.08, 0.08))

    def digitised(z: int) -> np.ndarray:
        level = (volume[z] - (low + high) / 2) * np.float32(2 / (high - low))
        if not clipped:  # levels approach 0 and 255 smoothly
            level += shift
            level /= np.cbrt(np.sqrt(1 + np.square(level * level * level)))  # a power takes twenty times as long
        return np.clip(127.5 * level + 128, 0, 255)

    return by_plane(digitised, volume.shape)


def _frame(grid: CoarseGrid, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return two `(y, x)` planes: how much of the specimen is seen, and how much brighter it is near the edges."""
    _, y, x = grid.voxels
    y, x = y[0], x[0]
    size, slope = grid.size, np.tan(np.radians(rng.uniform(-7, 7)))
    rise, run = slope * (x - size[2] / 2), slope * (y - size[1] / 2)
    frayed = np.abs(rng.normal(0, 30, (1, x.size)))  # by shifts between the tilts
    far = rng.uniform(-0.05, 0.25, 4) * size[[1, 1, 2, 2]]  # extent of the specimen beyond the image
    ends = np.minimum(y + far[0] - rise, size[1] + far[1] + rise - y) - frayed
    flanks = np.minimum(x + far[2] + run, size[2] + far[3] - run - x)
    kept = np.clip(ends / 40, 0, 1) * np.clip(flanks / 60, 0, 1)
    halo = rng.uniform(0.5, 4.0) * np.exp(-np.maximum(flanks, 0) / rng.uniform(150, 600))
    return kept.astype(np.float32), halo.astype(np.float32)

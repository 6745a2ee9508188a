"""The density of a scene, voxel by voxel: vitreous ice is zero, the outer membrane about one."""

import cv2
import numpy as np

from motors.simulate.fields import Field, box
from motors.simulate.scene import Filament, Machine, Scene
from motors.volumes.tomogram import for_each

CYTOPLASM, PERIPLASM = 0.65, 0.32
MEMBRANE = 20.0  # standard deviation of a membrane's profile, in ångström: two leaflets that are not resolved
STEP = 3.0  # ångström between the entries of a profile across the envelope
DISTANCE = (np.arange(256, dtype=np.float32) - 128) * STEP  # of entries; positive outside


def _ridge(distance: np.ndarray, place: float, width: float) -> np.ndarray:
    return np.exp(-0.5 * ((distance - place) / width) ** 2)


def _below(distance: np.ndarray, place: float = 0.0) -> np.ndarray:
    """Return a step: one below `place`, zero above, over two nanometres."""
    return 1 / (1 + np.exp(np.clip((distance - place) / 8, -60, 60)))


# Profiles of density across the outer membrane (with the wall below it), the inner membrane, and a receptor array.
OUTER = 1.1 * _ridge(DISTANCE, 0, MEMBRANE) + 0.25 * _ridge(DISTANCE, -95, 16) + PERIPLASM * _below(DISTANCE)
INNER = 0.8 * _ridge(DISTANCE, 0, MEMBRANE) + (CYTOPLASM - PERIPLASM) * _below(DISTANCE)

ARRAY = (
    0.9 * _ridge(DISTANCE, -255, 22)
    + 0.25 * _below(DISTANCE, -15) * (1 - _below(DISTANCE, -255))
    - 0.25 * _below(DISTANCE)
)

# Rings and rods of a machine as blurred circles: radius and height (in ångström, 0 at the inner membrane, outwards, the
# outer membrane at 1 000), the widths of the ring across and along the axis, density.
TOP = 1000.0

PARTS: dict[str, tuple[tuple[float, float, float, float, float], ...]] = {
    "motor": (
        (195, -165, 28, 50, 1.8),  # C ring, 450 Å wide
        (130, -85, 40, 24, 1.1),  # its upper part
        (70, -15, 50, 24, 1.4),  # MS ring
        (0, -190, 50, 40, 1.2),  # export apparatus
        (235, 45, 30, 34, 0.8),  # stators
        (0, 60, 36, 45, 1.4),  # rod
        (0, 140, 36, 45, 1.4),
        (95, TOP - 90, 30, 24, 1.2),  # P ring
        (95, TOP - 5, 30, 24, 1.2),  # L ring
    ),
    "needle": (
        (90, -30, 35, 25, 1.0),
        (0, -110, 60, 30, 0.7),
        (0, 60, 30, 60, 1.2),
        (70, TOP - 60, 32, 50, 1.2),
        (70, TOP, 28, 25, 0.5),
    ),
    "plug": ((60, 60, 60, 45, 1.0), (0, TOP - 80, 80, 60, 1.2), (60, TOP + 30, 60, 30, 0.5)),
    "lump": ((0, -170, 120, 95, 1.4), (80, -60, 70, 60, 0.8)),
}

RADIUS, HEIGHT, TABLE = 520.0, 520.0, 5.0  # reach of a machine, and ångström between the entries of its table


def density(scene: Scene, seed: int, k: int, out: np.ndarray) -> None:
    """Write the density of a scene into the float32 volume `out`, `(z, y, x)`.

    The `seed` and `k` determine the fine texture, on which no label depends.
    """
    for_each(lambda z: _plane(scene, np.random.default_rng([seed, k, 1, z]), z, out[z]), len(out))
    _ribosomes(scene, np.random.default_rng([seed, k, 2]), out)
    for machine in scene.machines:
        _machine(scene, machine, out)
    for filament in scene.filaments:
        _filament(scene, filament, out)
    _vesicles(scene, out)
    _beads(scene, out)


def _plane(scene: Scene, rng: np.random.Generator, z: int, out: np.ndarray) -> None:
    """Write one plane: membranes, cytoplasm, thick objects and texture."""
    inner = _entries(scene.envelope.inner, z)
    out[:] = cv2.LUT(_entries(scene.envelope.outer, z), OUTER) + cv2.LUT(inner, INNER)
    np.maximum(out, scene.solid.plane(z), out=out)
    if scene.receptors.values.any():
        out += scene.receptors.plane(z) * cv2.LUT(inner, ARRAY)
    out += rng.standard_normal(out.shape, dtype=np.float32) * scene.grain.plane(z)


def _entries(distance: Field, z: int) -> np.ndarray:
    """Return the index of each voxel of a plane in a profile."""
    return np.clip(distance.plane(z) * np.float32(1 / STEP) + np.float32(128.5), 0, 255).astype(np.uint8)


def _ribosomes(scene: Scene, rng: np.random.Generator, out: np.ndarray) -> None:
    """Add grains of 250 Å, each one of a dozen shapes."""
    spacing = scene.grid.spacing
    half = int(np.ceil(150 / spacing))
    z, y, x = np.ix_(*[np.arange(-half, half + 1, dtype=np.float32) * spacing] * 3)
    shapes = [
        sum(0.55 * np.exp(-((z - a) ** 2 + (y - b) ** 2 + (x - c) ** 2) / (2 * 38.0**2)) for a, b, c in balls)
        for balls in rng.normal(0, 52, (12, 7, 3))
    ]
    centres = np.round(scene.ribosomes / spacing).astype(int)
    for centre, shape in zip(centres, rng.integers(12, size=len(centres)), strict=True):
        low, high = np.maximum(centre - half, 0), np.minimum(centre + half + 1, out.shape)
        part = tuple(map(slice, low - centre + half, high - centre + half))
        out[tuple(map(slice, low, high))] += shapes[shape][part]


def _machine(scene: Scene, machine: Machine, out: np.ndarray) -> None:
    """Add a machine: a table of density over radius and height, rotated about its axis."""
    heights, radii = np.arange(-HEIGHT, HEIGHT, TABLE, np.float32)[:, None], np.arange(0, RADIUS, TABLE, np.float32)
    table = np.zeros((len(heights), len(radii)), np.float32)
    parts = list(PARTS[machine.kind])
    if machine.disc:
        parts += [(radius, TOP - 110, 35, 20, 0.5) for radius in np.arange(130, machine.disc, 50)]
    for radius, height, across, along, dense in parts:
        if height > TOP / 2:
            height += machine.seat.gap - TOP
        else:
            height, radius, across = height * machine.size, radius * machine.size, across * machine.size
        ring = np.exp(-0.5 * ((radii - radius) / across) ** 2 - 0.5 * ((heights - height) / along) ** 2)
        table = np.maximum(table, machine.density * dense * ring)
    cut, (z, y, x), _ = box(scene.grid.voxels, machine.seat.centre, HEIGHT)
    normal = machine.seat.normal.astype(np.float32)
    height = z * normal[0] + y * normal[1] + x * normal[2]
    radius = np.sqrt(np.maximum(z**2 + y**2 + x**2 - height**2, 0))
    rows = np.clip((height + HEIGHT) / TABLE + 0.5, 0, len(heights) - 1).astype(np.int32)
    columns = np.clip(radius / TABLE + 0.5, 0, len(radii) - 1).astype(np.int32)
    out[cut] += table.ravel()[rows * len(radii) + columns]


def _filament(scene: Scene, filament: Filament, out: np.ndarray) -> None:
    """Add a filament: the union of balls along it."""
    spacing = scene.grid.spacing
    for start, end in zip(filament.points[:-1], filament.points[1:], strict=True):
        for share in (0.0, 0.5):
            cut, _, away = box(scene.grid.voxels, start + share * (end - start), filament.radius + spacing)
            ball = np.clip((np.float32(filament.radius) - away) / spacing + 0.5, 0, 1)
            out[cut] = np.maximum(out[cut], np.float32(filament.density) * ball)


def _vesicles(scene: Scene, out: np.ndarray) -> None:
    for vesicle in scene.vesicles:
        cut, (z, y, x), away = box(scene.grid.voxels, vesicle.centre, vesicle.reach)
        dz, dy, dx = (vesicle.centre - vesicle.middle).astype(np.float32)
        outside = np.sqrt((z + dz) ** 2 + (y + dy) ** 2 + (x + dx) ** 2) - np.float32(vesicle.radius)
        near = np.clip((np.float32(vesicle.reach) - away) / 60, 0, 1)
        out[cut] += np.exp(-0.5 * (outside / MEMBRANE) ** 2) * near


def _beads(scene: Scene, out: np.ndarray) -> None:
    """Add beads of gold, 100 Å wide."""
    spacing = scene.grid.spacing
    for centre in scene.beads:
        cut, _, away = box(scene.grid.voxels, centre, 50 + spacing)
        out[cut] += 12 * np.clip((50 - away) / spacing + 0.5, 0, 1)

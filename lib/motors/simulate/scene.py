"""The content of one tomogram: cells, motors, and everything dark that is not a motor."""

from dataclasses import dataclass

import numpy as np
from scipy.fft import next_fast_len

from motors.simulate import cell
from motors.simulate.background import AREA, Crowd, Vesicle
from motors.simulate.cell import Envelope, Seat
from motors.simulate.fields import CoarseGrid, Field
from motors.simulate.recipe import Recipe, TomogramPlan

MARGIN = 250.0, 350.0, 350.0  # ångström from a motor to the ends of the volume, if it is large enough
BEADS = 5.0  # of gold, per AREA
IMPOSTORS = 0.5  # machines and lumps of the envelope that are no motors, per tomogram
KINDS = {"needle": 0.2, "plug": 0.3, "lump": 0.5}  # of those, and how often each occurs
FILAMENT = 0.7  # share of motors with a visible filament: a guess, not measured on real tomograms


@dataclass(frozen=True)
class Machine:
    """One machine in the envelope: its kind, its seat, its size relative to the usual one, and its density."""

    kind: str
    seat: Seat
    size: float
    density: float
    disc: float = 0.0  # radius of a disc below the outer membrane, as some species have; 0 for none


@dataclass(frozen=True)
class Filament:
    """A hook, filament or pilus: `(n, 3)` points zyx in ångström, less than its width apart."""

    points: np.ndarray
    radius: float
    density: float


@dataclass(frozen=True)
class Scene:
    """The content of one tomogram. Points are zyx in ångström from the centre of the first voxel."""

    grid: CoarseGrid
    envelope: Envelope
    solid: Field  # density of thick objects: granules, ice, carbon
    grain: Field  # strength of fine texture: cytoplasm, ice, carbon
    receptors: Field  # where a chemoreceptor array lies below the inner membrane
    machines: list[Machine]
    filaments: list[Filament]
    ribosomes: np.ndarray  # `(n, 3)`
    beads: np.ndarray  # `(n, 3)`
    vesicles: list[Vesicle]

    @property
    def motors(self) -> list[Machine]:
        """The motors among the machines."""
        return [machine for machine in self.machines if machine.kind == "motor"]

    @property
    def points_zyx(self) -> np.ndarray:
        """The motors' centres, `(n, 3)` float64 in voxels: whole numbers, as in the competition's labels."""
        centres = [machine.seat.centre for machine in self.motors]
        return np.round(np.reshape(centres, (-1, 3)) / self.grid.spacing)


def arrange(recipe: Recipe, plan: TomogramPlan, seed: int) -> Scene:
    """Return the scene of the tomogram of `plan`: a function of the recipe, the seed and the plan only.

    Raises ValueError if the recipe's field of view has no room for a motor.
    """
    rng = np.random.default_rng([seed, plan.k])
    grid = CoarseGrid(_shape(rng, recipe, plan.spacing), plan.spacing)
    for _ in range(100):
        envelope = cell.grow(rng, grid, recipe.radius, recipe.length, recipe.cells)
        # Room for one motor even if there is none, or the position of the cell would reveal the label.
        if seats := _seats(rng, envelope, max(plan.motors, 1)):
            break
    else:
        raise ValueError(f"recipe {recipe.name}: no motor fits into the field of view; make it or the cells larger")
    machines = _motors(rng, seats[: plan.motors], recipe.contrast) + _impostors(rng, envelope, seats)
    crowd = Crowd(rng, envelope, np.reshape([machine.seat.centre for machine in machines], (-1, 3)))
    crowd.fill()
    return Scene(
        grid=grid,
        envelope=envelope,
        solid=Field(grid, crowd.solid),
        grain=Field(grid, crowd.grain),
        receptors=Field(grid, crowd.receptors),
        machines=machines,
        filaments=_filaments(rng, envelope, machines),
        ribosomes=crowd.ribosomes(),
        beads=crowd.outside(rng.poisson(BEADS * crowd.area), 150.0),
        vesicles=crowd.vesicles(),
    )


def _shape(rng: np.random.Generator, recipe: Recipe, spacing: float) -> tuple[int, int, int]:
    """Return three different sides, in voxels, that are fast to Fourier transform."""
    sides: list[int] = []
    for low, high in recipe.field:
        side = next_fast_len(max(16, round(rng.uniform(low, high) / spacing)))
        while side in sides:
            side = next_fast_len(side + 1)
        sides.append(side)
    return tuple(sides)


def _seats(rng: np.random.Generator, envelope: Envelope, count: int) -> list[Seat]:
    """Return up to `count` seats for motors, apart from each other and from the edges of the volume.

    Of two places the one farther from the centre is taken: in so small a view the centre would be near every motor.
    """
    size = envelope.outer.grid.size
    margin = np.minimum(MARGIN, 0.2 * size)
    seats: list[Seat] = []
    for _ in range(20 * count):
        pair = [seat for seat in (envelope.seat(rng, margin), envelope.seat(rng, margin)) if seat]
        seat = max(pair, key=lambda seat: np.linalg.norm(seat.centre - size / 2), default=None)
        if seat and all(np.linalg.norm(seat.centre - other.centre) > 600 for other in seats):
            seats.append(seat)
        if len(seats) == count:
            break
    return seats


def _motors(rng: np.random.Generator, seats: list[Seat], contrast: float) -> list[Machine]:
    size = rng.uniform(0.9, 1.2)
    disc = rng.uniform(250, 420) if rng.random() < 0.35 else 0.0
    return [Machine("motor", seat, size, contrast * rng.uniform(0.85, 1.15), disc) for seat in seats]


def _impostors(rng: np.random.Generator, envelope: Envelope, taken: list[Seat]) -> list[Machine]:
    """Return other machines and lumps of the envelope, as dense as motors, without their rings."""
    machines = []
    for kind in rng.choice(list(KINDS), rng.poisson(IMPOSTORS), p=list(KINDS.values())):
        seat = envelope.seat(rng, 60.0)
        if seat and all(np.linalg.norm(seat.centre - other.centre) > 700 for other in taken):
            machines.append(Machine(str(kind), seat, rng.uniform(0.8, 1.3), rng.uniform(0.6, 1.1)))
    return machines


def _filaments(rng: np.random.Generator, envelope: Envelope, machines: list[Machine]) -> list[Filament]:
    """Return hooks and filaments of motors, pili of needles, and detached filaments."""
    filaments = []
    for machine in machines:
        seat = machine.seat
        start, way = seat.centre + (seat.gap + 20) * seat.normal, seat.normal
        if machine.kind == "motor":
            hook = _path(rng, envelope, start, way, rng.uniform(350, 600), 60, 1 / 900)
            filaments.append(Filament(hook, 90.0, 0.9 * machine.density))
            if rng.random() < FILAMENT:
                on = _path(rng, envelope, hook[-1], hook[-1] - hook[-2], rng.uniform(1500, 9000), 60, 1 / 4000)
                filaments.append(Filament(on, rng.choice([80.0, 100.0, 150.0]), 1.0 * machine.density))
        elif machine.kind == "needle":
            needle = _path(rng, envelope, start, way, rng.uniform(200, 2500), 30, 1 / 3000)
            filaments.append(Filament(needle, 40.0, 0.6))
    size = envelope.outer.grid.size
    for _ in range(rng.poisson(0.8 * size[1] * size[2] / AREA)):
        way = rng.standard_normal(3) * [0.15, 1, 1]
        loose = _path(rng, envelope, rng.uniform(0, size), way, rng.uniform(1000, 6000), 60, 1 / 3000)
        filaments.append(Filament(loose, rng.choice([40.0, 65.0, 95.0]), rng.uniform(0.5, 0.8)))
    return filaments


def _path(rng, envelope: Envelope, start, way, length: float, step: float, curvature: float) -> np.ndarray:
    """Return the points of a curve that winds outside of the cells; it is cut off where it enters one."""
    way = way / np.linalg.norm(way)
    turn = np.cross(way, rng.standard_normal(3))
    points = [np.asarray(start, float)]
    for _ in range(int(length / step)):
        turn += 0.3 * rng.standard_normal(3)
        turn -= way * (turn @ way)
        way = way + step * curvature * turn / np.linalg.norm(turn)
        outer = envelope.outer.at(points[-1][None])[0]
        if outer < 200:
            way = way + (0.1 if outer > 0 else 1.0) * envelope.outer.gradient(points[-1])
        way /= np.linalg.norm(way)
        points.append(points[-1] + step * way)
    kept = envelope.outer.at(np.array(points)) > -60
    return np.array(points)[: max(2, len(kept) if kept.all() else int(kept.argmin()))]

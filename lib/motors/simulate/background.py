"""What fills and surrounds the cells: ribosomes, granules, receptor arrays, vesicles, ice, carbon."""

from dataclasses import dataclass

import numpy as np

from motors.simulate.cell import Envelope
from motors.simulate.fields import box

AREA = 1.0e7  # square ångström of field of view that numbers of distractors refer to
RIBOSOMES = 1 / 240.0**3  # per cubic ångström of cytoplasm, before those too close to other objects are left out
FREE = 360.0  # ångström around a machine without ribosomes


@dataclass(frozen=True)
class Vesicle:
    """A spherical membrane, or a piece of a larger one: its part within `reach` of `centre`."""

    centre: np.ndarray  # zyx in ångström
    middle: np.ndarray  # of the sphere
    radius: float
    reach: float


class Crowd:
    """The distractors of one tomogram, drawn from one generator; some of them as fields on the coarse grid.

    They lie in and around the cells of `envelope`, clear of `machines`, `(n, 3)` zyx in ångström. `solid` is the
    density of granules, ice and carbon, `grain` the strength of fine texture, one in the cytoplasm, and `receptors` is
    one in receptor arrays, zero elsewhere.
    """

    def __init__(self, rng: np.random.Generator, envelope: Envelope, machines: np.ndarray) -> None:
        self.rng, self.envelope, self.machines = rng, envelope, machines
        self.grid = envelope.outer.grid
        self.area = self.grid.size[1] * self.grid.size[2] / AREA
        inner = envelope.inner.values
        self.solid = np.zeros(inner.shape, np.float32)
        self.receptors = np.zeros(inner.shape, np.float32)
        hills = self.grid.smooth(rng, 500.0) if rng.random() < 0.6 else np.float32(-3)
        core = np.clip((-inner - 350) / 200, 0, 1)  # depth at which a nucleoid may be
        self.nucleoid = core * np.clip(hills - rng.uniform(0.0, 0.8), 0, 0.5) * 2
        self.grain = np.clip((-20 - inner) / 60, 0, 1) * (1 - 0.55 * self.nucleoid)

    def fill(self) -> None:
        """Add granules and receptor arrays to the cells, ice and carbon around them."""
        rng = self.rng
        for centre in self.inside(rng.poisson(1.2 * self.area), 350):  # polyphosphate, storage granules
            depth = -self.envelope.inner.at(centre[None])[0]
            self._ball(centre, min(rng.uniform(250, 750), depth - 50), rng.uniform(0.6, 1.1), 0.3)
        for centre in self.inside(rng.poisson(6.0 * self.area), 200):
            self._ball(centre, rng.uniform(100, 220), rng.uniform(0.9, 2.0), 0.5)
        for centre in self.outside(rng.poisson(2.0 * self.area), 350):  # contamination by ice: lumps of a few crystals
            for offset in rng.normal(0, rng.uniform(60, 250), (rng.integers(3, 8), 3)):
                self._ball(centre + offset, rng.uniform(90, 220), rng.uniform(0.7, 1.4), 1.3, outside=True)
        if rng.random() < 0.2:
            self._carbon()
        for place in self.machines:  # less texture around machines, the same for all kinds
            cut, _, away = box(self.grid.axes, place, FREE)
            self.grain[cut] *= 0.35 + 0.65 * np.clip((away - 0.75 * FREE) / 100, 0, 1)
        for _ in range(rng.poisson(0.6)):
            seat = self.envelope.seat(rng, 0.0)
            if seat is not None and all(np.linalg.norm(self.machines - seat.centre, axis=1) > 700):
                radius = rng.uniform(350, 900)  # of a receptor array below the inner membrane
                cut, _, away = box(self.grid.axes, seat.centre, radius + 400)
                near = np.clip((np.float32(radius + 250) - away) / 120, 0, 1)
                self.receptors[cut] = np.maximum(self.receptors[cut], near)

    def inside(self, count: int, depth: float) -> np.ndarray:
        """Return up to `count` points at least `depth` below an inner membrane, clear of machines."""
        points = self.rng.uniform(0, self.grid.size, (8 * count, 3))
        return self._clear(points[self.envelope.inner.at(points) < -depth])[:count]

    def outside(self, count: int, distance: float) -> np.ndarray:
        """Return up to `count` points at least `distance` outside of all cells."""
        points = self.rng.uniform(0, self.grid.size, (8 * count, 3))
        return points[self.envelope.outer.at(points) > distance][:count]

    def ribosomes(self) -> np.ndarray:
        """Return the centres of ribosomes, `(n, 3)`: in the cytoplasm but not in a nucleoid, some in clusters."""
        rng = self.rng
        points = rng.uniform(0, self.grid.size, (int(RIBOSOMES * rng.uniform(0.5, 1.2) * self.grid.size.prod()), 3))
        for centre in self.inside(rng.poisson(2.0 * self.area), 200):
            points = np.concatenate([points, centre + rng.normal(0, rng.uniform(90, 180), (rng.integers(6, 14), 3))])
        points = points[((points >= 0) & (points < self.grid.size)).all(axis=1)]
        deep = self.envelope.inner.at(points) < -140
        cells = np.round(points / self.grid.spacing / self.grid.stride).astype(int)
        cells = tuple(np.clip(cells, 0, np.subtract(self.solid.shape, 1)).T)
        bare = rng.random(len(points)) > 1.5 * self.nucleoid[cells]
        return self._clear(points[deep & bare & (self.solid[cells] < 0.3)])

    def vesicles(self) -> list[Vesicle]:
        """Return vesicles outside and inside of the cells, and pieces of membrane."""
        rng, found = self.rng, []
        for where, often, largest in ((self.outside, 1.0, 420), (self.inside, 0.3, 300)):
            for centre in where(rng.poisson(often * self.area), 500):
                radius = rng.uniform(120, largest)
                found.append(Vesicle(centre, centre, radius, radius + 60))
        for centre in self.outside(rng.poisson(0.6 * self.area), 400):
            radius = rng.uniform(600, 3000)
            away = rng.standard_normal(3) * [0.3, 1, 1]
            found.append(Vesicle(centre, centre + radius * away / np.linalg.norm(away), radius, rng.uniform(250, 600)))
        return found

    def _ball(self, centre, radius: float, density: float, grain: float, outside: bool = False) -> None:
        """Add a ball of uniform density, with texture relative to that of cytoplasm."""
        if radius < 60:
            return
        cut, _, away = box(self.grid.axes, centre, radius + 60)
        ball = np.clip((np.float32(radius) - away) / 50 + 0.5, 0, 1)
        if outside:
            ball *= self.envelope.outer.values[cut] > 60
        self.solid[cut] = np.maximum(self.solid[cut], density * ball)
        self.grain[cut] += (grain - self.grain[cut]) * ball

    def _carbon(self) -> None:
        """Add the carbon film, with its round hole, on one side of the view."""
        rng, (z, y, x) = self.rng, self.grid.axes
        angle, hole = rng.uniform(0, 2 * np.pi), rng.uniform(5000, 9000)
        way, size = np.array([np.sin(angle), np.cos(angle)]), self.grid.size[1:]
        reach = np.abs(way * size).sum() * rng.uniform(0.28, 0.45)  # how far from the middle its edge is
        centre = size / 2 + way * (reach - hole)
        film = np.hypot(y - centre[0], x - centre[1]) - hole + 40 * self.grid.smooth(rng, 200.0)
        sheet = 150 - np.abs(z - self.grid.size[0] * rng.choice([0.12, 0.88]))
        film = np.clip(film / 80, 0, 1) * np.clip(sheet / 60, 0, 1) * (self.envelope.outer.values > 60)
        edge = 1 + 0.6 * np.exp(-np.maximum(film, 0) * 3)
        self.solid = np.maximum(self.solid, 0.5 * edge * film).astype(np.float32)
        self.grain = np.maximum(self.grain, 1.6 * film).astype(np.float32)

    def _clear(self, points: np.ndarray) -> np.ndarray:
        return points[(((points[:, None] - self.machines) ** 2).sum(axis=2) > FREE**2).all(axis=1)]

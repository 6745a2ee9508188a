"""The bacterium: a bent capsule whose envelope has two membranes, and the seats for machines in it."""

from dataclasses import dataclass, replace

import numpy as np

from motors.simulate.fields import CoarseGrid, Field

GAP = 230.0  # ångström between the centres of the two membranes of a Gram-negative bacterium, about
FILLED = 0.15, 0.7  # share of the view that the first cell fills
APART = 150.0  # smallest ångström between two cells


@dataclass(frozen=True)
class Capsule:
    """All points within `radius` of an arc; vectors are zyx, lengths ångström."""

    middle: np.ndarray  # of the arc
    frame: np.ndarray  # `(3, 3)` unit vectors: along the arc, towards its centre of curvature, across both
    bend: float  # radius of curvature of the arc
    half: float  # half the length of the arc
    radius: float

    def distance(self, z: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Return the distance of points from the surface; negative inside."""
        away = [axis - middle for axis, middle in zip((z, y, x), self.middle, strict=True)]
        along, aside, across = (sum(map(np.multiply, away, way)) for way in self.frame.astype(np.float32))
        reach = self.half / self.bend
        angle = np.clip(np.arctan2(along, self.bend - aside), -reach, reach)
        along = along - self.bend * np.sin(angle)
        aside = aside - 2 * self.bend * np.sin(angle / 2) ** 2
        return np.sqrt(along**2 + aside**2 + across**2) - self.radius

    def axis(self, place: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the point of the arc at `place` in [-1, 1], and the direction of the arc there."""
        angle = place * self.half / self.bend
        there = np.array([self.bend * np.sin(angle), 2 * self.bend * np.sin(angle / 2) ** 2, 0.0])
        return self.middle + there @ self.frame, np.array([np.cos(angle), np.sin(angle), 0.0]) @ self.frame

    def ray(self, rng: np.random.Generator, polar: float = 0.7) -> tuple[np.ndarray, np.ndarray]:
        """Return a random ray, start and direction, from the axis out of the cell: a share `polar` through a pole."""
        direction = _unit(rng)
        if rng.random() < polar:
            end = rng.choice([-1.0, 1.0])
            start, along = self.axis(end)
            direction = direction + end * along  # more often straight ahead than sideways
        else:
            start, along = self.axis(rng.uniform(-1, 1))
            direction = direction - along * (direction @ along)
        return start, direction / np.linalg.norm(direction)


@dataclass(frozen=True)
class Seat:
    """A place for a machine: a point on the inner membrane, its outward normal, and the gap to the outer membrane."""

    centre: np.ndarray  # zyx in ångström
    normal: np.ndarray  # zyx, of length one
    gap: float


@dataclass(frozen=True)
class Envelope:
    """The signed distances to the two membranes, negative inside: `outer` to the outer, `inner` to the inner."""

    cells: tuple[Capsule, ...]
    outer: Field
    inner: Field

    def seat(self, rng: np.random.Generator, margin: np.ndarray | float, tries: int = 40) -> Seat | None:
        """Return a place for a machine, at least `margin` (ångström, one or zyx) from the volume's sides, or None."""
        size, steps = self.outer.grid.size, np.arange(-700.0, 300.0, 10.0)
        for _ in range(tries):
            cell = self.cells[rng.integers(len(self.cells))]
            start, way = cell.ray(rng)
            surface = start + cell.radius * way
            if (surface < margin).any() or (surface > size - margin).any():
                continue
            ray = surface + steps[:, None] * way
            inner, outer = (_last_crossing(steps, membrane.at(ray)) for membrane in (self.inner, self.outer))
            if inner is None or outer is None or not 100 < outer - inner < 600:
                continue
            centre = surface + inner * way
            if (centre >= margin).all() and (centre <= size - margin).all():
                return Seat(centre, self.inner.gradient(centre), float(outer - inner))
        return None


def grow(rng: np.random.Generator, grid: CoarseGrid, radius: tuple, length: tuple, most: int) -> Envelope:
    """Return the envelope of one to `most` cells, each with a pole in view, with wavy membranes."""
    cells, outside = [], np.float32(np.inf)
    for _ in range(rng.integers(1, most + 1)):
        cell = _capsule(rng, grid, radius, length)
        distance = cell.distance(*grid.axes)
        while not cells and not FILLED[0] < (distance < 0).mean() < FILLED[1]:
            cell = _capsule(rng, grid, radius, length)
            distance = cell.distance(*grid.axes)
        if not cells or np.maximum(distance, outside).min() > APART / 2:
            cells.append(cell)
            outside = np.minimum(distance, outside)
    outer = outside + rng.uniform(10, 35) * grid.smooth(rng, 450.0)
    width = GAP * rng.uniform(0.85, 1.3) * (1 + 0.13 * np.clip(grid.smooth(rng, 1200.0), -2, 2.5))
    return Envelope(tuple(cells), Field(grid, outer), Field(grid, outer + width))


def _capsule(rng: np.random.Generator, grid: CoarseGrid, radius: tuple, length: tuple) -> Capsule:
    """Return a random cell that lies nearly flat in the ice and has a pole in the middle of the view."""
    wide = rng.uniform(*radius)
    half = 0.5 * wide * rng.uniform(*length)
    turn, tilt = rng.uniform(0, 2 * np.pi), np.radians(rng.uniform(-8, 8))
    along = np.array([np.sin(tilt), np.cos(tilt) * np.sin(turn), np.cos(tilt) * np.cos(turn)])
    aside = np.cross(along, _unit(rng) * [1, 0.2, 0.2])
    aside /= np.linalg.norm(aside)
    bend = max(2.5 * wide, half) / rng.uniform(0.02, 1.0)
    tip = grid.size * np.array([rng.uniform(0.4, 0.6), *rng.uniform(0.15, 0.85, 2)])  # on the surface
    cell = Capsule(np.zeros(3), np.stack([along, aside, np.cross(along, aside)]), bend, half, wide)
    end, ahead = cell.axis(1.0)
    return replace(cell, middle=tip - end - wide * ahead)


def _last_crossing(steps: np.ndarray, values: np.ndarray) -> float | None:
    """Return where `values` last change from negative to positive, between two steps, or None."""
    inside = np.flatnonzero((values[:-1] < 0) & (values[1:] >= 0))
    if not len(inside):
        return None
    k = inside[-1]
    return steps[k] + (steps[k + 1] - steps[k]) * values[k] / (values[k] - values[k + 1])


def _unit(rng: np.random.Generator) -> np.ndarray:
    vector = rng.standard_normal(3)
    return vector / np.linalg.norm(vector)

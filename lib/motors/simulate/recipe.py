"""The recipe of a simulated competition, in one frozen dataclass, and the plan of each tomogram."""

from dataclasses import asdict, dataclass, replace

import numpy as np

from motors.workspace.files import json_sha256

Range = tuple[float, float]  # lowest and highest of a uniform distribution
Shares = tuple[tuple[float, float], ...]  # values and how often each occurs, in any unit

# The commonest spacings of the competition's 648 training tomograms, with their counts.
REAL_SPACINGS: Shares = ((13.1, 263), (15.6, 171), (16.8, 85), (19.7, 49), (16.1, 40))


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All settings that determine a simulated competition, except the seed.

    Lengths are ångström; axes are z, y, x. `noise` and `contrast` set the difficulty: 1 is realistic.
    """

    name: str
    train: int  # tomograms with labels
    test: int  # tomograms whose labels are hidden
    field: tuple[Range, Range, Range]  # sides of the field of view
    radius: Range  # of a cell, to its outer membrane
    length: Range  # straight part of a cell, in radii
    cells: int = 1  # at most so many in a tomogram
    spacings: Shares = REAL_SPACINGS  # ångström per voxel of training tomograms
    test_spacings: Shares = ((13.1, 1),)  # of hidden tomograms, not published; unknown if there are several
    motors: Shares = ((0, 0.5), (1, 0.43), (2, 0.04), (3, 0.01), (4, 0.02))  # a hidden tomogram has at most one
    noise: float = 1.0  # standard deviation of the noise, relative to that of the real tomograms
    contrast: float = 1.0  # density of motors, relative to that of the real ones; other machines keep theirs

    def __post_init__(self) -> None:
        lowest = (*(side[0] for side in self.field), self.radius[0], self.noise, self.contrast)
        if min(lowest) <= 0 or self.train < 0 or self.test < 0 or self.cells < 1:
            raise ValueError(f"recipe {self.name}: sizes, noise and contrast must be positive, counts not negative")
        if any(value <= 0 for value, _ in (*self.spacings, *self.test_spacings)):
            raise ValueError(f"recipe {self.name}: a spacing must be positive, in ångström per voxel")

    @property
    def digest(self) -> str:
        """A hash of all settings: recipes with the same hash make the same tomograms."""
        return json_sha256(asdict(self))


DEMO = Recipe(
    name="demo",
    train=260,  # so that each of four folds holds out 60, enough for a stable F2
    test=80,
    field=((1250, 1580), (3000, 3670), (2750, 3410)),
    radius=(1000, 1700),
    length=(0.3, 4.0),
)

SMOKE = replace(
    DEMO,
    name="smoke",
    train=8,
    test=4,
    field=((800, 860), (1200, 1300), (1400, 1500)),
    radius=(480, 600),
    length=(0.3, 1.5),
)

REAL = replace(
    DEMO,
    name="real",
    train=3,
    test=1,
    field=((5240, 5240), (18340, 18340), (13755, 13755)),
    radius=(2500, 4500),
    length=(1.0, 6.0),
    cells=3,
    spacings=((13.1, 1),),
)

RECIPES: dict[str, Recipe] = {recipe.name: recipe for recipe in (SMOKE, DEMO, REAL)}


@dataclass(frozen=True)
class TomogramPlan:
    """The plan of one tomogram: its number, name, split, spacing and number of motors."""

    k: int
    name: str
    split: str  # train or test
    spacing: float
    motors: int


def plans(recipe: Recipe, seed: int) -> list[TomogramPlan]:
    """Return the plan of each tomogram of the competition, training ones first, each split in the order of the names.

    Spacings and numbers of motors occur in the proportions of the recipe, rounded, in both splits.
    """
    rng = np.random.default_rng([seed, 0x706C616E])
    count = recipe.train + recipe.test
    codes = rng.choice(16**6, count, replace=False)
    names = [f"tomo_{code:06x}" for half in (codes[: recipe.train], codes[recipe.train :]) for code in np.sort(half)]
    spacings = [*_shares(rng, recipe.train, recipe.spacings), *_shares(rng, recipe.test, recipe.test_spacings)]
    few = tuple((min(motors, 1), share) for motors, share in recipe.motors)  # as in the competition's hidden test
    motors = [*_shares(rng, recipe.train, recipe.motors), *_shares(rng, recipe.test, few)]
    splits = ["train"] * recipe.train + ["test"] * recipe.test
    each = zip(names, splits, spacings, map(int, motors), strict=True)
    return [TomogramPlan(k, *about) for k, about in enumerate(each)]


def _shares(rng: np.random.Generator, count: int, shares: Shares) -> list[float]:
    """Return `count` values in their proportions, in random order."""
    values, weights = np.array(shares, dtype=float).T
    edges = np.cumsum(weights) / weights.sum()
    drawn = values[np.searchsorted(edges, (np.arange(count) + rng.uniform(0.25, 0.75)) / max(count, 1))]
    return rng.permutation(drawn).tolist()

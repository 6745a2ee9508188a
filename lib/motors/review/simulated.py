"""Simulated review: labels with noise added on purpose, and a reviewer who knows the ground truth."""

from dataclasses import replace

import numpy as np
import pandas as pd

from motors.geometry import MATCH_RADIUS, MOTOR_WIDTH
from motors.labels.table import Labels
from motors.matching import nearest_pairs
from motors.review.corrections import SAME
from motors.review.decisions import NEW
from motors.review.sheets import BESIDE
from motors.tables import MOTORS, POINT, SIZE

TRIES = 1000  # places that are tried for a false label


def spoil(
    labels: Labels, *, remove: float = 0.2, add: float = 0.05, seed: int = 0
) -> tuple[Labels, pd.DataFrame, pd.DataFrame]:
    """Return labels with noise: some removed, some false ones added, and both as tables of motors.

    `labels` are the ground truth, `remove` and `add` fractions of its motors, rounded. Returned are the noisy labels;
    the removed motors; the false ones, at least 1000 ångström from all true ones and from each other, in any tomogram.
    Raises ValueError if there is no room for false motors.
    """
    rng = np.random.default_rng([seed, 0x53504F494C])
    gone = np.sort(rng.choice(len(labels.motors), round(remove * len(labels.motors)), replace=False))
    true, false = labels.motors[MOTORS], []
    taken = {tomo_id: labels.of(tomo_id) for tomo_id in labels.tomograms["tomo_id"]}
    for _ in range(round(add * len(true))):
        tomo_id, point = _free_place(labels.tomograms, taken, rng)
        taken[tomo_id] = np.vstack([taken[tomo_id], point])
        false.append([tomo_id, *point])
    false = pd.DataFrame(false, columns=MOTORS).astype(dict.fromkeys(POINT, float))
    left = true.drop(index=true.index[gone])
    spoiled = replace(labels, motors=pd.concat([left, false], ignore_index=True) if len(false) else left)
    return spoiled.validate("the spoiled labels"), true.iloc[gone].reset_index(drop=True), false


def _free_place(tomograms: pd.DataFrame, taken: dict[str, np.ndarray], rng: np.random.Generator) -> tuple:
    """Return a tomogram and a point in it more than 1000 ångström from all taken ones."""
    for _ in range(TRIES):
        tomogram = tomograms.iloc[rng.integers(len(tomograms))]
        point = rng.uniform(0, tomogram[SIZE].to_numpy(float) - 1)
        away = np.linalg.norm(taken[tomogram["tomo_id"]] - point, axis=1) * tomogram["spacing"]
        if (away > MATCH_RADIUS).all():
            return tomogram["tomo_id"], point
    raise ValueError("tomograms are too full for false motors 1000 Å from all others: add fewer of them")


def decide(sheet: pd.DataFrame, truth: Labels, *, within: float = MATCH_RADIUS / 2) -> pd.DataFrame:
    """Return the sheet with the decisions of a reviewer who knows the truth, but sees only the sheet.

    A label is accepted if it is matched to a true motor within 1000 ångström, a candidate if it is matched to one of
    the remaining motors within `within` ångström, nearest pairs first. Other motors that a picture shows are added,
    rounded to voxels: those in the circle around a label or candidate that one of its slices passes through.
    """
    spacings = truth.tomograms.set_index("tomo_id")["spacing"]
    decided, new = sheet.assign(decision="reject", why=""), []
    for tomo_id, rows in sheet.groupby("tomo_id"):
        motors = truth.of(tomo_id) * spacings[tomo_id]
        places = rows[POINT].to_numpy(float) * spacings[tomo_id]
        for entry, radius in (("label", MATCH_RADIUS), ("candidate", within)):
            own = np.flatnonzero(rows["entry"] == entry)
            pairs = nearest_pairs(motors, places[own], radius)
            decided.loc[rows.index[own[[here for _, here, _ in pairs]]], "decision"] = "accept"
            motors = np.delete(motors, [motor for motor, _, _ in pairs], axis=0)
        taken = places[decided.loc[rows.index, "decision"] == "accept"]
        for motor in motors:
            if _in_picture(motor, places, taken, spacings[tomo_id]):
                point = dict(zip(POINT, np.rint(motor / spacings[tomo_id]), strict=True))
                new.append(rows[:1].assign(**NEW | point))
                taken = np.vstack([taken, motor])
    return pd.concat([decided, *new], ignore_index=True)


def _in_picture(motor: np.ndarray, places: np.ndarray, taken: np.ndarray, spacing: float) -> bool:
    """Return whether a motor is visible around one of `places` and is none of those `taken`; all in ångström."""
    deep, *aside = np.abs(places - motor).T
    shown = (np.hypot(*aside) <= MATCH_RADIUS) & (deep <= BESIDE * spacing + MOTOR_WIDTH / 2)
    return bool(shown.any() and (np.linalg.norm(taken - motor, axis=1) >= SAME).all())

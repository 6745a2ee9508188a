"""Joining, updating and comparing of labels."""

import pandas as pd

from motors.labels.table import Labels
from motors.tables import MOTORS, POINT, TOMOGRAMS, refuse


def join(*labels: Labels) -> Labels:
    """Return all tomograms, motors and unsure points of several labels; duplicates are kept once.

    Raises ValueError if a tomogram has different shapes or spacings: its points would be in different frames.
    """
    tomograms = pd.concat([each.tomograms for each in labels], ignore_index=True).drop_duplicates(TOMOGRAMS)
    twice, what = tomograms["tomo_id"].duplicated(), "comes with different shapes or spacings"
    refuse(tomograms, twice, "the joined labels", what, "move its motors to one frame first")
    points = []
    for kind in ("motors", "unsure"):
        tables = [getattr(each.validate(), kind).astype(dict.fromkeys(POINT, float)) for each in labels]
        points.append(pd.concat(tables, ignore_index=True).drop_duplicates(MOTORS, ignore_index=True))
    return Labels(tomograms.reset_index(drop=True), *points).validate("the joined labels")


def updated(labels: Labels, others: Labels) -> Labels:
    """Return `labels` with the tomograms of `others` replaced by theirs; raises ValueError if frames differ."""
    join(labels, others)  # raises for other frames
    ids = labels.tomograms["tomo_id"]
    mine = ids.isin(others.tomograms["tomo_id"])
    return join(labels.select(ids[~mine]), others.select(ids[mine]))


def additions(before: Labels, after: Labels) -> pd.DataFrame:
    """Return rows of `after.motors` that `before` lacks; raises ValueError if tomograms differ or a motor is gone."""
    tomograms = before.tomograms[TOMOGRAMS].merge(after.tomograms[TOMOGRAMS], how="outer", indicator="where")
    earlier, later = (each.motors.astype(dict.fromkeys(POINT, float)) for each in (before, after))
    motors = earlier[MOTORS].merge(later, on=MOTORS, how="outer", indicator="where")
    advice = "compare tables of the same tomograms, in the same frame"
    refuse(tomograms, tomograms["where"] != "both", "the later labels", "is not as in the earlier ones", advice)
    gone = motors["where"] == "left_only"
    refuse(motors, gone, "the later labels", "has lost a motor, or it was moved", "see which review did that")
    return motors[motors["where"] == "right_only"].drop(columns="where").reset_index(drop=True)

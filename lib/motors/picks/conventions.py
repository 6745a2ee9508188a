"""Conventions shared by all formats of picks: names of tomograms, checks and the coordinate system.

The centre of voxel `[z, y, x]` of an array is the point z, y, x here; the first one is 0 0 0. A table in `README.md`
of this folder gives the coordinates of that point in each program, with the source.
"""

import re

import numpy as np
import pandas as pd

from motors.geometry import outside
from motors.tables import POINT, SIZE, numbers, refuse
from motors.workspace.files import normalized

PICKS = ["tomo_id", *POINT, "score"]
# Extensions of tomogram files in programs.
ENDING = re.compile(
    r"(?i)(\.ome|\.mrc(?=\.mdoc))?\.(tomostar|mdoc|mrcs?|rec|map|st|ali|tiff?|tf[28]|btf|npy|zarr)(\.gz|\.bz2)?$"
)


def named(names: pd.Series, tomograms: pd.DataFrame | None = None) -> pd.Series:
    """Return the names of tomograms for the file names that a program uses; names in the table are kept.

    Raises ValueError if files of one name lie in several folders, as they are different tomograms.
    """
    known, found, folders = () if tomograms is None else set(tomograms["tomo_id"]), {}, {}
    for name in names.unique():
        folder, _, file = normalized(str(name)).replace("\\", "/").rstrip("/").rpartition("/")
        bare = ENDING.sub("", file)  # there may be two, as in a.st.tomostar
        found[name] = next((each for each in (name, file, bare, ENDING.sub("", bare)) if each in known), bare)
        if name not in known and folders.setdefault(found[name], folder) != folder:
            raise ValueError(f"{name} and one in another folder would have the same name: rename one")
    return names.map(found).astype(object)


def of_each(picks: pd.DataFrame, tomograms: pd.DataFrame, columns: list[str], name: str = "picks") -> np.ndarray:
    """Return columns of the table of tomograms for every pick, `(n, len(columns))`; `name` is the file of the picks.

    Raises ValueError if the tomogram of a pick is not in the table, or lacks these numbers.
    """
    unknown = ~picks["tomo_id"].isin(tomograms["tomo_id"])
    refuse(picks, unknown, name, "is not among the tomograms here", "give a table that has it, or leave its picks out")
    known = tomograms.drop_duplicates("tomo_id").set_index("tomo_id").reindex(columns=columns)
    found = numbers(known.reindex(picks["tomo_id"]), columns).reshape(-1, len(columns))
    lost = ~np.isfinite(found).all(axis=1)
    refuse(picks, lost, name, f"has no {' or '.join(columns)} here", "give a table of tomograms that has it")
    return found


def checked(picks: pd.DataFrame, tomograms: pd.DataFrame | None, name: str) -> pd.DataFrame:
    """Return picks with the columns `PICKS`, best first in each tomogram; scores are 1 if a format has none.

    Raises ValueError if a pick has no tomogram or position, lies outside, or was made at another spacing.
    """
    refuse(picks, picks["tomo_id"].isin(["", None, np.nan]), name, "has no id", "name the tomogram of every pick")
    score = picks.get("score", pd.Series(1.0, picks.index))
    picks = picks.assign(score=score, tomo_id=named(picks["tomo_id"], tomograms))
    picks[[*POINT, "score"]] = numbers(picks, [*POINT, "score"])
    lost = ~np.isfinite(picks[[*POINT, "score"]]).all(axis=1)
    refuse(picks, lost, name, "has a pick without a position or a score", "write numbers, or remove the row")
    points = picks[POINT].to_numpy()
    if len(points) and (points >= 0).all() and (points <= 1).all() and (points % 1).any():
        raise ValueError(f"{name} has places from 0 to 1, as Warp writes shares of the sides: give voxels")
    if tomograms is not None:
        away = outside(points, of_each(picks, tomograms, SIZE, name))
        refuse(picks, away, name, "has a pick outside", "check the order of the axes, the unit and the binning")
        if "spacing" in picks and "spacing" in tomograms:
            own, true = numbers(picks, ["spacing"]), of_each(picks, tomograms, ["spacing"], name)
            text = picks["spacing"].notna() & np.isnan(own[:, 0])
            refuse(
                picks, text, name, "has a spacing that is not a number", "write ångström per voxel, or leave it empty"
            )
            moved = (np.abs(own / true - 1) > 0.01).any(axis=1)
            refuse(picks, moved, name, "was picked at another spacing", "give the table of the tomograms picked in")
    order = ["tomo_id", "score", *POINT]
    return picks.sort_values(order, ascending=[True, False, True, True, True], ignore_index=True)[PICKS]

"""Corrections of labels by a review, kept as a table that can be applied again."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from motors.geometry import MATCH_RADIUS, outside
from motors.labels.table import Labels
from motors.matching import nearest_pairs
from motors.review.decisions import NEAR, NEW
from motors.review.disagreements import caption
from motors.tables import POINT, SIZE, need, numbers, read_table, refuse

GOAL = ["to_z", "to_y", "to_x"]
CORRECTIONS = ["tomo_id", "action", *POINT, *GOAL, "why", "run", "round", "frame"]
CHANGES = ("add", "remove", "move")
ACTIONS = (*CHANGES, "keep", "ignore")  # a doubted label that stays, a candidate that is no motor
OFFICIAL = "official"
NAME = "the table of corrections"
WHICH = ["tomo_id", "action", *POINT]  # columns that identify a correction
SAME = MATCH_RADIUS / 3  # ångström: the original solution took candidates nearer than this for one motor


def corrections(decided: pd.DataFrame, *, run: str, round: str, move: bool = False) -> pd.DataFrame:
    """Return the corrections that follow from decisions: one row each, including those that change nothing.

    A rejected label is removed, an accepted candidate or new motor added. An accepted candidate whose partner is a
    label that was not rejected confirms that label, which then stays where it is.

    `decided` is what `read_decisions` returns; `run` says where the candidates come from, such as "30_validate demo";
    `round` is a `labels.folds.kind`. With `move` confirmed labels move to their candidates, as in the original solution
    for external labels. The columns are tomo_id; action: add, remove, move, keep (a label) or ignore (a candidate);
    z, y, x in voxels; to_z, to_y, to_x, where a motor moves; why; run; round; frame, see `sheet`.
    """
    labels = decided[decided["entry"] == "label"].set_index(["tomo_id", "number"])
    rejected = set(labels.index[labels["decision"] == "reject"])
    rows = []
    for row in decided[decided["decision"] != ""].to_dict("records"):
        accepted, partner = row["decision"] == "accept", (row["tomo_id"], row["partner"])
        point, goal = [row[axis] for axis in POINT], [np.nan] * 3
        if row["entry"] == "label":
            action = "keep" if accepted else "remove"
        elif not accepted:
            action = "ignore"
        elif not row["partner"] or partner in rejected:
            action = "add"
        elif move:
            action, point, goal = "move", labels.loc[partner, POINT].tolist(), point
        else:
            action = "ignore"
        why = row["why"] or (NEW["why"] if row["entry"] == "new" else caption(row))
        rows.append([row["tomo_id"], action, *point, *goal, why, run, round, row["frame"]])
    return pd.DataFrame(rows, columns=CORRECTIONS)


def corrections_of(labels: Labels, picked: Labels, *, run: str, round: str, move: bool = False) -> pd.DataFrame:
    """Return `corrections` that turn labels into picks: one row per motor, including those that change nothing.

    In the picked tomograms, a label without a pick within 1000 Å is removed, and a pick without a label is added.

    `picked` has the tomograms that were picked by hand, see `labels.external.read_picked`; others stay unchanged.
    `run` and `round` say where the picks come from, as in `corrections`. With `move` a label moves to its pick. Raises
    ValueError if a picked tomogram is not labelled.
    """
    frames, rows, nowhere = picked.frames(), [], [np.nan] * 3
    spacings = picked.tomograms.set_index("tomo_id")["spacing"]
    for tomo_id in picked.tomograms["tomo_id"]:
        before, after = labels.of(tomo_id), picked.of(tomo_id)
        pairs = {one: other for one, other, _ in nearest_pairs(before, after, MATCH_RADIUS / spacings[tomo_id])}
        found = [("remove", point, nowhere) for k, point in enumerate(before) if k not in pairs]
        found += [("add", point, nowhere) for k, point in enumerate(after) if k not in pairs.values()]
        for one, other in pairs.items():
            moved = move and not np.array_equal(before[one], after[other])
            found.append(("move" if moved else "keep", before[one], after[other] if moved else nowhere))
        about = ["picked by hand", run, round, frames[tomo_id]]
        rows += [[tomo_id, action, *point, *goal, *about] for action, point, goal in found]
    return pd.DataFrame(rows, columns=CORRECTIONS)


def read_corrections(path: str | Path) -> pd.DataFrame:
    """Return a table of corrections from a CSV file, which may have several rounds in any order.

    Two columns are added, which survive joining tables: place, file name and line of each correction, and repeated,
    whether it repeats an earlier one. Raises FileNotFoundError or ValueError if the file is missing or lacks columns.
    Whether corrections fit the labels is checked by `apply`.
    """
    table = read_table(path, CORRECTIONS)[CORRECTIONS]
    lines = [table.attrs["origin"].line(table, row) for row in table.index]
    points = dict(zip([*POINT, *GOAL], numbers(table, [*POINT, *GOAL]).T, strict=True))
    name = "/".join(Path(path).absolute().parts[-2:])  # files of notebook 31 share a name
    places = [f"{name}, line {line}" if line else name for line in lines]
    table = table.assign(**points, action=table["action"].str.lower(), place=places)
    return table.assign(repeated=table.duplicated(WHICH))


def apply(labels: Labels, corrections: pd.DataFrame, *, move: bool = False) -> Labels:
    """Return corrected labels; `labels` stay unchanged.

    The order of the corrections does not matter: removals follow all additions, so that one round may remove what
    another one added. Applying corrections again changes nothing, and rounds may be applied one by one or together,
    because every tomogram keeps a list of its corrections.

    Labels are in the frame of the corrections; without `move`, corrections that move a label are refused. The result
    has two more columns: source of a motor, "official" or the correction that added or moved it; corrections of a
    tomogram, a short hash of each one applied.

    Raises ValueError if columns or coordinates are missing, a tomogram is unknown or was reviewed in another frame, a
    position is outside, a correction is twice in one file or contradicts another, a motor to be removed or moved is
    missing, one to be added exists already, or labels would move although `move` is False.
    """
    changes = _checked(labels, corrections, move)
    applied = pd.Series(labels.tomograms.get("corrections"), labels.tomograms.index, dtype=object).fillna("")
    tomograms = labels.tomograms.assign(corrections=applied)
    done = {tomo_id: set(text.split()) for tomo_id, text in tomograms[["tomo_id", "corrections"]].to_numpy()}
    again = [row["hash"] in done[row["tomo_id"]] for row in changes.to_dict("records")]
    changes = changes[~np.array(again, bool)]
    source = labels.motors.get("source", pd.Series(OFFICIAL, labels.motors.index)).fillna(OFFICIAL)
    motors = labels.motors.assign(source=source).astype(dict.fromkeys(POINT, float))
    motors = _changed(motors, changes, tomograms.set_index("tomo_id")["spacing"])
    for tomo_id, found in changes.groupby("tomo_id")["hash"]:
        done[tomo_id] |= set(found)
    tomograms["corrections"] = [" ".join(sorted(done[tomo_id])) for tomo_id in tomograms["tomo_id"]]
    return replace(labels, tomograms=tomograms, motors=motors.reset_index(drop=True)).validate("the corrected labels")


def _checked(labels: Labels, corrections: pd.DataFrame, move: bool) -> pd.DataFrame:
    """Return the valid corrections that change something, in a fixed order, each with its hash."""
    need(corrections, CORRECTIONS, NAME)
    sizes = corrections[["tomo_id"]].merge(labels.tomograms, on="tomo_id", how="left")[SIZE].to_numpy(float)
    action = corrections["action"]
    _refuse(corrections, ~action.isin(ACTIONS), "has another action", f"write one of {', '.join(ACTIONS)}")
    _refuse(corrections, np.isnan(sizes).any(axis=1), "is not labelled", "give the labels that were reviewed")
    frame = corrections["frame"].astype(object).fillna("")
    moved = frame.ne("") & frame.ne(corrections["tomo_id"].map(labels.frames()))
    _refuse(corrections, moved, "was reviewed in another frame", "give labels of that shape and spacing")
    for columns, rows in ((POINT, action.notna()), (GOAL, action == "move")):
        points = numbers(corrections, columns)
        lost = rows & ~np.isfinite(points).all(axis=1)
        _refuse(corrections, lost, "has a correction without a position", "write three numbers")
        away, advice = rows & outside(points, sizes), "check the frame and the order z, y, x"
        _refuse(corrections, away, "has a correction outside its shape", advice)
    changes = corrections[action.isin(CHANGES)].sort_values(WHICH)
    twice = changes["repeated"] if "repeated" in changes else changes.duplicated(WHICH)
    _refuse(changes, twice, "has the same correction twice", "keep one row")
    changes = changes.drop_duplicates([*WHICH, *GOAL])  # two reviewers may agree
    advice = "apply them with move=True, or leave them out"
    _refuse(changes, changes["action"].eq("move") & (not move), "has a label that would move", advice)
    points = numbers(changes, [*POINT, *GOAL]).tolist()
    each = zip(changes["tomo_id"], changes["action"], points, strict=True)
    keys = [hashlib.sha256(f"{tomo_id} {action} {point}".encode()).hexdigest() for tomo_id, action, point in each]
    return changes.assign(hash=[f"c{key[:11]}" for key in keys])


def _refuse(table: pd.DataFrame, wrong: pd.Series | np.ndarray, what: str, advice: str) -> None:
    """Call `tables.refuse` with the file and line that the first wrong row has."""
    if np.any(wrong):
        places = table.get("place", pd.Series(NAME, table.index)).fillna(NAME)[np.asarray(wrong, bool)]
        refuse(table, wrong, next(iter(places)), what, advice)


def _changed(motors: pd.DataFrame, changes: pd.DataFrame, spacings: pd.Series) -> pd.DataFrame:
    """Return the motors after all additions, then all moves and removals."""
    added = changes[changes["action"] == "add"]
    source = "added, " + added["run"].fillna("").astype(str) + ", " + added["round"].fillna("").astype(str)
    added = added.reindex(columns=["tomo_id", *POINT, "place"]).assign(source=source)
    motors = motors.assign(place=pd.Series(index=motors.index, dtype=object))
    motors = pd.concat([motors, added] if len(added) else [motors], ignore_index=True)
    left = changes[changes["action"] != "add"]
    others = left.to_dict("records")
    places = [_place(motors, row) for row in others]
    gone = np.array([place is None for place in places], bool)
    where = ", ".join(f"{value:g}" for value in left.loc[gone, POINT].head(1).to_numpy(float).ravel())
    advice = "name one that it has, or give the labels that were reviewed"
    _refuse(left, gone, f"has no motor at z, y, x = {where}", advice)
    twice = pd.Series(places, dtype=float).duplicated()
    _refuse(left, twice, "has a motor that is moved or removed twice", "do one of them")
    for place, row in zip(places, others, strict=True):
        if row["action"] == "move":
            motors.loc[place, POINT] = [row[axis] for axis in GOAL]
            motors.loc[place, ["source", "place"]] = [f"moved, {row['run']}, {row['round']}", row.get("place")]
    motors = motors.drop(index=[place for place, row in zip(places, others, strict=True) if row["action"] == "remove"])
    new = motors[motors["source"].str.startswith(("added, ", "moved, "))]
    crowded = [_is_crowded(motors[motors["tomo_id"] == row.tomo_id], row, spacings) for row in new.itertuples()]
    _refuse(new, np.array(crowded, bool), f"gets two motors within {SAME:.0f} Å", "keep one of them")
    return motors.drop(columns="place")


def _place(motors: pd.DataFrame, row: dict) -> int | None:
    """Return the index of the motor that a correction is about; None if missing."""
    own = motors[motors["tomo_id"] == row["tomo_id"]]
    point = [row[axis] for axis in POINT]
    there = own.index[np.abs(own[POINT].to_numpy(float) - point).max(axis=1, initial=0) <= NEAR]
    return int(there[0]) if len(there) else None


def _is_crowded(own: pd.DataFrame, row, spacings: pd.Series) -> bool:
    """Return whether another motor of the same tomogram is near enough to be the same."""
    away = np.linalg.norm(own[POINT].to_numpy(float) - [row.z, row.y, row.x], axis=1) * spacings[row.tomo_id]
    return bool((np.delete(away, own.index.get_loc(row.Index)) < SAME).any())

"""Matching of labels and candidates: those that are the same motor, and those without a partner."""

import numpy as np
import pandas as pd

from motors.geometry import MATCH_RADIUS, outside
from motors.labels.table import Labels
from motors.matching import NAME, nearest_pairs, ranked
from motors.tables import NO_MOTOR, POINT, SIZE, need, numbers, refuse

ENTRIES = ["tomo_id", "entry", "number", *POINT, "score", "partner", "distance", "verdict"]


def match(
    labels: Labels, candidates: pd.DataFrame, *, radius: float = MATCH_RADIUS, threshold: float = 0.03, most: int = 8
) -> pd.DataFrame:
    """Return all labels and candidates, each with its partner, if it has one; nearest pairs are matched first.

    `labels` cover all predicted tomograms; candidates have tomo_id, z, y, x in voxels of these, and score, of one
    network or an ensemble. Partners are at most `radius` ångström apart. Candidates with a score below `threshold` are
    left out, and all but the `most` best of a tomogram; defaults are those of the original solution's second round.

    One row per point, in the order of the tomograms: tomo_id; entry, label or candidate; number, from 1, candidates
    best first; z, y, x; score, for a label that of its partner; partner, its number, or 0; distance, to the partner
    in ångström; verdict: TP with a partner, FN for a label without, FP for a candidate without. A tomogram with
    neither has one row, with the entry "nothing" and the verdict TN.

    Raises ValueError if columns or coordinates are missing, a tomogram is unknown, or a candidate outside it.
    """
    table = _checked(labels, candidates)
    table = ranked(table[table["score"] >= threshold])
    found = dict(list(table.groupby("tomo_id").head(most).groupby("tomo_id")))
    parts = []
    for tomo_id, spacing in labels.tomograms[["tomo_id", "spacing"]].itertuples(index=False):
        rows = found.get(tomo_id, table[:0])
        parts.append(_tomogram(tomo_id, labels.of(tomo_id), rows[POINT].to_numpy(), rows["score"], spacing, radius))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=ENTRIES)


def verdicts(matches: pd.DataFrame) -> pd.Series:
    """Return one verdict per tomogram, by tomo_id: FN if any label is FN, else FP if any candidate is FP, TP, or TN.

    The original solution used only the most confident candidate, and missed tomograms with a second motor.
    """
    rank = pd.Categorical(matches["verdict"], ["FN", "FP", "TP", "TN"], ordered=True)
    return matches.assign(verdict=rank).groupby("tomo_id", sort=False)["verdict"].min().astype(str)


def _checked(labels: Labels, candidates: pd.DataFrame) -> pd.DataFrame:
    """Return the required columns of candidates, as numbers, without rows that stand for no motor."""
    need(candidates, ["tomo_id", *POINT, "score"], NAME)
    table = candidates[["tomo_id"]].copy()
    table[[*POINT, "score"]] = numbers(candidates, [*POINT, "score"])
    table = table[(table[POINT] != NO_MOTOR).all(axis=1)]
    sizes = table[["tomo_id"]].merge(labels.validate().tomograms, on="tomo_id", how="left")[SIZE].to_numpy(float)
    away, lost = outside(table[POINT].to_numpy(), sizes), ~np.isfinite(table[[*POINT, "score"]]).all(axis=1)
    refuse(table, np.isnan(sizes[:, 0]), NAME, "is not among the labelled ones", "give labels of what was predicted")
    refuse(table, lost, NAME, "has a candidate without position or score", "write four numbers, or remove the row")
    refuse(table, away, NAME, "has a candidate outside its shape", "give voxels of the tomogram as it was labelled")
    return table


def caption(row: dict) -> str:
    """Return a short caption for the picture of a row of `match`."""
    name = f"{row['entry']} {row['number']:g}"
    if row["partner"]:
        other = "candidate" if row["entry"] == "label" else "label"
        return f"{name}: {other} {row['partner']:g} is {row['distance']:.0f} Å off"
    return f"{name}: nothing found" if row["entry"] == "label" else f"{name}: {row['score']:.2f}, no label"


def _tomogram(tomo_id, labelled, found, scores, spacing: float, radius: float) -> pd.DataFrame:
    """Return the rows of one tomogram; `labelled` and `found` are `(n, 3)` zyx."""
    points = np.concatenate([labelled, found])
    if not len(points):
        nothing = [tomo_id, "nothing", 0, *[np.nan] * 4, 0, np.nan, "TN"]
        return pd.DataFrame([nothing], columns=ENTRIES)
    count, nobody = len(labelled), np.full(len(labelled), np.nan)
    partner, distance, score = np.zeros(len(points), int), np.full(len(points), np.nan), np.append(nobody, scores)
    verdict = np.array(["FN"] * count + ["FP"] * len(found))
    for label, candidate, away in nearest_pairs(labelled, found, radius, spacing=spacing):
        both = [label, count + candidate]
        partner[both], distance[both], verdict[both] = [candidate + 1, label + 1], away, "TP"
        score[label] = score[count + candidate]
    columns = {"entry": ["label"] * count + ["candidate"] * len(found), "score": score, "partner": partner}
    columns |= {"number": [*range(1, count + 1), *range(1, len(found) + 1)], "distance": distance, "verdict": verdict}
    return pd.DataFrame({"tomo_id": tomo_id, **columns, **dict(zip(POINT, points.T, strict=True))})[ENTRIES]

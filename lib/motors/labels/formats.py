"""The files that labels come from and go to."""

from pathlib import Path

import pandas as pd

from motors.labels.table import Labels
from motors.tables import MOTOR_AXES, MOTORS, POINT, SIZE, TOMOGRAMS, has_motor, numbers, numeric, read_table, refuse
from motors.workspace.files import write_table

ARRAY_SHAPE = {f"Array shape (axis {axis})": size for axis, size in enumerate(SIZE)}
COMPETITION = MOTOR_AXES | ARRAY_SHAPE | {"Voxel spacing": "spacing"}
UNSURE = "unsure.csv"


def read_competition(path: str | Path) -> Labels:
    """Return the labels of a competition file such as train_labels.csv, one row per motor, -1 -1 -1 for none.

    Rows are counted, whatever "Number of motors" says (see `wrong_counts`). Further columns stay with the motors.

    Raises FileNotFoundError or ValueError if the file is missing, contradicts itself, or is no table of labels.
    """
    path, table, names = Path(path), read_table(path, ["tomo_id", *COMPETITION]), [*COMPETITION.values()]
    if twice := [name for name in names if name in table]:
        raise ValueError(f"{path.name} has {twice[0]} beside the competition's columns: rename or remove it")
    numbers(table, COMPETITION)  # which says what is written otherwise
    table = table.rename(columns=COMPETITION)
    table[names] = table[names].apply(numeric)
    varies = table.groupby("tomo_id")[TOMOGRAMS[1:]].transform("nunique", dropna=False).gt(1).any(axis=1)
    refuse(table, varies, path.name, "has rows that disagree on its shape or spacing", "correct the wrong ones")
    there = has_motor(table, path.name)
    extra = table.columns.difference([*TOMOGRAMS, *POINT, "row_id", "Number of motors"], sort=False)
    tables = table.drop_duplicates("tomo_id")[TOMOGRAMS], table.loc[there, [*MOTORS, *extra]]
    Labels(*tables).validate(path.name)
    return Labels(*(each.reset_index(drop=True) for each in tables))


def wrong_counts(path: str | Path) -> pd.DataFrame:
    """Return tomograms of a competition file that says another number of motors than it has: tomo_id, said, counted."""
    rows = read_table(path, ["tomo_id", "Number of motors"]).groupby("tomo_id", sort=False)
    said = rows["Number of motors"].max().pipe(numeric)
    both = pd.DataFrame({"said": said, "counted": read_competition(path).counts()})
    return both[both["said"] != both["counted"]].reset_index()


def write_competition(path: str | Path, labels: Labels) -> None:
    """Write labels as the competition does: one row per motor, one of -1 for a tomogram without."""
    table = labels.rows()[["tomo_id", *COMPETITION.values()]].rename_axis("row_id").reset_index()
    table["count"] = table["tomo_id"].map(labels.counts())
    write_table(path, table.set_axis(["row_id", "tomo_id", *COMPETITION, "Number of motors"], axis=1))


def write(folder: str | Path, labels: Labels) -> None:
    """Write labels as `tomograms.csv`, `motors.csv` and, if there is any such point, `unsure.csv` in a folder."""
    labels.validate()
    write_table(Path(folder) / "tomograms.csv", labels.tomograms)
    write_table(Path(folder) / "motors.csv", labels.motors)
    (Path(folder) / UNSURE).unlink(missing_ok=True)  # of other labels
    if len(labels.unsure):
        write_table(Path(folder) / UNSURE, labels.unsure)


def read(folder: str | Path) -> Labels:
    """Return what `write` wrote; raises FileNotFoundError or ValueError if a file is missing, or they are no labels."""
    folder = Path(folder)
    tables = [read_table(folder / "tomograms.csv", TOMOGRAMS), read_table(folder / "motors.csv", MOTORS)]
    tables += [read_table(folder / UNSURE, MOTORS)] if (folder / UNSURE).is_file() else []
    return Labels(*tables).validate(folder.name)

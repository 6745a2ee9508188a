"""Reading and writing of label files."""

from pathlib import Path

import pandas as pd

from motors.labels.table import Labels
from motors.tables import MOTOR_AXES, MOTORS, POINT, SIZE, TOMOGRAMS, has_motor, numbers, numeric, read_table, refuse
from motors.workspace.files import write_table

ARRAY_SHAPE = {f"Array shape (axis {axis})": size for axis, size in enumerate(SIZE)}
COMPETITION = MOTOR_AXES | ARRAY_SHAPE | {"Voxel spacing": "spacing"}
UNSURE = "unsure.csv"


def read_competition(path: str | Path) -> Labels:
    """Return the labels in a competition file such as train_labels.csv: one row per motor, -1 -1 -1 for none.

    Motors are counted by rows, not by "Number of motors" (see `wrong_counts`). Further columns stay with the motors.

    Raises FileNotFoundError if the file is missing, ValueError if it is inconsistent or no table of labels.
    """
    path, table, names = Path(path), read_table(path, ["tomo_id", *COMPETITION]), [*COMPETITION.values()]
    if twice := [name for name in names if name in table]:
        raise ValueError(f"{path.name} has {twice[0]} beside the competition's columns: rename or remove it")
    numbers(table, COMPETITION)  # raises for other values
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
    """Return tomograms whose "Number of motors" in a competition file is wrong: tomo_id, said, counted."""
    rows = read_table(path, ["tomo_id", "Number of motors"]).groupby("tomo_id", sort=False)
    said = rows["Number of motors"].max().pipe(numeric)
    both = pd.DataFrame({"said": said, "counted": read_competition(path).counts()})
    return both[both["said"] != both["counted"]].reset_index()


def write_competition(path: str | Path, labels: Labels) -> None:
    """Write labels in the competition's format: one row per motor, or one of -1 for a tomogram without."""
    table = labels.rows()[["tomo_id", *COMPETITION.values()]].rename_axis("row_id").reset_index()
    table["count"] = table["tomo_id"].map(labels.counts())
    write_table(path, table.set_axis(["row_id", "tomo_id", *COMPETITION, "Number of motors"], axis=1))


def write(folder: str | Path, labels: Labels) -> None:
    """Write labels as `tomograms.csv`, `motors.csv` and, if there are unsure points, `unsure.csv` in a folder."""
    labels.validate()
    write_table(Path(folder) / "tomograms.csv", labels.tomograms)
    write_table(Path(folder) / "motors.csv", labels.motors)
    (Path(folder) / UNSURE).unlink(missing_ok=True)  # of earlier labels
    if len(labels.unsure):
        write_table(Path(folder) / UNSURE, labels.unsure)


def read(folder: str | Path) -> Labels:
    """Return labels written by `write`; raises FileNotFoundError or ValueError if files are missing or invalid."""
    folder = Path(folder)
    tables = [read_table(folder / "tomograms.csv", TOMOGRAMS), read_table(folder / "motors.csv", MOTORS)]
    tables += [read_table(folder / UNSURE, MOTORS)] if (folder / UNSURE).is_file() else []
    return Labels(*tables).validate(folder.name)

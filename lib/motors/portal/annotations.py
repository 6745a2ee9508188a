"""Download of the portal's point annotations of an object, one folder per deposition (annotator)."""

from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
from cryoet_data_portal import Annotation, AnnotationFile, AnnotationShape, Run

from motors.portal.catalogue import PatientClient, find, look_up
from motors.portal.transfer import Patience, fetch
from motors.workspace.files import write_text
from motors.workspace.progress import progress

MOTOR = "GO:0120100"  # bacterial-type flagellum motor
SHAPES = ("Point", "OrientedPoint")
REPORT = ["tomo_id", "annotator", "status", "remarks"]


def download(
    folder: str | Path,
    *,
    names: Iterable[str] | None = None,
    object_id: str = MOTOR,
    url: str | None = None,
    workers: int = 8,
    patience: Patience | None = None,
) -> pd.DataFrame:
    """Download all ground-truth point annotations of an object, and return a report with one row per file.

    They are written to `<deposition>/<run>.ndjson` in `folder`; `labels.external.read_points` reads a deposition's
    folder. Files already there are not fetched again. Points are in voxels of the annotated tomogram. Those of another
    spacing than the tomogram chosen for the run (see `catalogue.look_up`) are left out. Columns are tomo_id;
    annotator, the name of a folder; status ("stored" or "left out"); remarks, the reason.

    `object_id` is from the Gene Ontology, or another one that the portal uses; `names` are runs, by default all; url,
    workers and patience are those of `collection.collect`. Raises FileNotFoundError if the portal has no such
    annotation, and as `look_up` if it does not answer or rejects a query.
    """
    client = PatientClient(url, patience)
    files = _files(client, object_id, None if names is None else set(names))
    if not files:
        raise FileNotFoundError(f"the portal has no ground truth of {object_id} as points: check the object's number")

    def one(key: tuple[str, str]) -> list[str]:
        name, annotator = key
        try:
            taken = look_up(client, name).attributes["tomogram_voxel_spacing_id"]
            mine = [file for file in files[key] if file.tomogram_voxel_spacing_id == taken]
            if not mine:
                raise FileNotFoundError("annotated in a tomogram of another spacing than the one that is taken")
            parts = [_text(client, file, Path(folder) / annotator) for file in mine]
        except FileNotFoundError as error:
            return [name, annotator, "left out", str(error)]
        write_text(Path(folder) / annotator / f"{name}.ndjson", "".join(parts))
        return [name, annotator, "stored", ""]

    with ThreadPoolExecutor(workers) as pool:
        rows = list(progress(pool.map(one, sorted(files)), total=len(files), title="annotations"))
    return pd.DataFrame(rows, columns=REPORT)


def _files(
    client: PatientClient, object_id: str, names: set[str] | None
) -> dict[tuple[str, str], list[AnnotationFile]]:
    """Return the files of points by run and deposition, with four queries whatever their number."""

    def ask(kind: type, *questions: object) -> dict[int, object]:
        return {each.id: each for each in client.patience(find, client, kind, *questions)}

    truth = ask(Annotation, Annotation.object_id == object_id, Annotation.ground_truth_status == True)  # noqa: E712
    of_truth = AnnotationShape.annotation_id._in(list(truth))
    shapes = ask(AnnotationShape, of_truth, AnnotationShape.shape_type._in(SHAPES))
    files = ask(AnnotationFile, AnnotationFile.annotation_shape_id._in(list(shapes)), AnnotationFile.format == "ndjson")
    runs = ask(Run, Run.id._in(sorted({each.run_id for each in truth.values()})))
    found = defaultdict(list)
    for file in files.values():
        annotation = truth[shapes[file.annotation_shape_id].annotation_id]
        name = runs[annotation.run_id].name
        if names is None or name in names:
            found[name, str(annotation.deposition_id)].append(file)
    return found


def _text(client: PatientClient, file: AnnotationFile, folder: Path) -> str:
    """Return the text of one file, ending in a newline."""
    size = None if file.file_size is None else int(file.file_size)
    how = {"timeout": client.patience.timeout, "size": size}
    path = client.patience(lambda: fetch(file.https_path, folder / f".{file.id}", **how))
    return path.read_text(encoding="utf-8").rstrip("\n") + "\n"

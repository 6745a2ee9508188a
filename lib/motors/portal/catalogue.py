"""Queries of the portal's catalogue: the tomogram chosen for each run, its size and the URLs of its files."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from cryoet_data_portal import Client, Run, Tomogram
from gql.transport.exceptions import TransportError, TransportQueryError

from motors.geometry import Shape, resampled_shape
from motors.portal.conversion import target_spacing
from motors.portal.transfer import Patience
from motors.tables import SIZE
from motors.workspace.progress import progress

WRONG_SPACING = (10210, 10211)  # datasets whose spacing on the portal is known to be wrong
JPEG_BYTES = 0.71  # per voxel: the original solution's 1,287 tomograms of 255 billion voxels took 180 GB


@dataclass(frozen=True, eq=False)
class Source:
    """The tomogram chosen for a run, as described by the portal."""

    name: str  # of the run
    shape: Shape  # in voxels
    spacing: float  # ångström per voxel
    form: str  # "zarr" or "mrc"
    url: str  # of the image or the file
    size: int | None  # bytes of all its levels or of the file, if known
    dataset: int  # id of the dataset that the run belongs to
    attributes: dict[str, Any] = field(repr=False)  # all metadata of the tomogram
    remarks: tuple[str, ...] = ()  # caveats


class PatientClient(Client):
    """The portal's client, by default for the real portal, with a timeout added and the schema read only once."""

    def __init__(self, url: str | None = None, patience: Patience | None = None) -> None:
        known = read_schema()
        vars(self).update(vars(known), url=url or known.url)
        self.patience = patience or Patience()

    def get_client(self) -> Any:
        """Return the client for one query, with a timeout; retries are left to `patience`."""
        client = super().get_client()
        client.transport.default_timeout, client.transport.retries = self.patience.timeout, 0
        return client


@cache
def read_schema() -> Client:
    """Return a client with the portal's schema, cached because reading it takes a second."""
    return Client()


def look_up(client: PatientClient, name: str, form: str = "zarr") -> Source:
    """Return the tomogram chosen for the run called `name`: the one of lowest id in the run of lowest id.

    Raises FileNotFoundError if there is no such run, or it has no tomogram or file; ConnectionError if the portal does
    not answer; ValueError if it rejects the query or lacks shape or spacing.
    """
    runs = client.patience(find, client, Run, Run.name == name)
    if not runs:
        raise FileNotFoundError(f"the portal has no run called {name}: check the name in the label table")
    tomograms = client.patience(find, client, Tomogram, Tomogram.run_id == runs[0].id)
    if not tomograms:
        raise FileNotFoundError(f"run {name} has no tomogram on the portal: leave its labels out")
    first, dataset = tomograms[0], runs[0].dataset_id
    remarks = [f"dataset {dataset} states a wrong spacing"] * (dataset in WRONG_SPACING)
    for found, what in ((runs, "runs of this name"), (tomograms, "tomograms")):
        remarks += [f"first of {len(found)} {what}, number {found[0].id}"] * (len(found) > 1)
    files = {"zarr": (first.https_omezarr_dir, first.file_size_omezarr)}
    files |= {"mrc": (first.https_mrc_file, first.file_size_mrc)}
    form = next((kind for kind in (form, "zarr", "mrc") if files[kind][0]), None)
    if form is None:
        raise FileNotFoundError(f"the tomogram of run {name} has no file on the portal: leave its labels out")
    if not all((first.size_z, first.size_y, first.size_x, first.voxel_spacing)):
        raise ValueError(f"the portal does not say which shape and spacing run {name} has: leave its labels out")
    return Source(
        name=name,
        shape=(first.size_z, first.size_y, first.size_x),
        spacing=float(first.voxel_spacing),
        form=form,
        url=files[form][0].rstrip("/"),
        size=None if files[form][1] is None else int(files[form][1]),
        dataset=dataset,
        attributes=first.to_dict(),
        remarks=tuple(remarks),
    )


def survey(names: Iterable[str], *, url: str | None = None, patience: Patience | None = None) -> pd.DataFrame:
    """Return one row per run: tomo_id, dataset_id, sizes, spacing, form, bytes; remarks, or why it is missing."""
    client = PatientClient(url, patience)
    columns = ["tomo_id", "dataset_id", *SIZE, "spacing", "form", "bytes", "remarks"]

    def row(name: str) -> dict[str, Any]:
        try:
            source = look_up(client, name)
        except FileNotFoundError as error:
            return {"tomo_id": name, "remarks": str(error)}
        about = source.dataset, *source.shape, source.spacing, source.form, source.size, "; ".join(source.remarks)
        return dict(zip(columns, [name, *about], strict=True))

    names = sorted(set(names))
    with ThreadPoolExecutor(8) as pool:
        rows = list(progress(pool.map(row, names), total=len(names), title="asking the portal"))
    return pd.DataFrame(rows, columns=columns)


def estimate(tomograms: pd.DataFrame) -> pd.DataFrame:
    """Return estimates of the disk space for storing tomograms, before downloading them.

    `tomograms` has tomo_id, size_z, size_y, size_x, spacing; rows without sizes are left out. Columns are tomo_id;
    target_spacing; stored_z, stored_y, stored_x; raw_bytes, needed temporarily as float32; stored_bytes, of JPEG
    slices at the original solution's average per voxel.
    """
    rows = []
    for row in tomograms.dropna(subset=[*SIZE, "spacing"]).itertuples():
        shape, target = (int(row.size_z), int(row.size_y), int(row.size_x)), target_spacing(row.spacing)
        after = resampled_shape(shape, row.spacing, target)
        rows.append([row.tomo_id, target, *after, 4 * int(np.prod(shape)), round(JPEG_BYTES * np.prod(after))])
    stored = ["stored_z", "stored_y", "stored_x"]
    return pd.DataFrame(rows, columns=["tomo_id", "target_spacing", *stored, "raw_bytes", "stored_bytes"])


def find(client: PatientClient, kind: type, *questions: Any) -> list[Any]:
    """Return the catalogue's objects of type `kind` that match all `questions`, sorted by id.

    Raises ConnectionError if the portal does not answer, ValueError if it rejects the query.
    """
    try:
        return sorted(kind.find(client, questions), key=lambda found: found.id)
    except TransportQueryError as error:
        raise ValueError(f"{client.url} does not understand ({error}): update cryoet-data-portal") from error
    except TransportError as error:
        raise ConnectionError(f"{client.url} gives no answer ({error}): run this again, later") from error

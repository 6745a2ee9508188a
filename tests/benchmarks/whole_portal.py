"""What thousands of tomograms of the CryoET Data Portal would cost, on paper, from figures that were measured here.

    python tests/benchmarks/whole_portal.py                       # 3,400 tomograms, from the newest JSON of the others
    python tests/benchmarks/whole_portal.py --tomograms 900 --gpus 1 4

Work for a voxel, overlap of tiles included, was counted by `detection.py`; seconds on this machine were measured there
and grow with the voxels; reading was measured by `volumes.py`. Not measured: any T4 (a guess, `detection.T4`), how
large those tomograms are (all are taken to be as large as the competition's larger ones), the line they come through,
and what is lost while jobs wait and networks are loaded. Jobs of a cluster are shards, whole ones.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from typing import Any

import pandas as pd
from detection import HIDDEN, T4
from measured import OUTPUTS, save

from motors.portal.catalogue import estimate

NATIVE, SPACING = (400, 1400, 1050), 13.1  # voxels and ångström, HIDDEN before it is resampled
SHARD = 30  # tomograms of a job


def newest(name: str) -> dict[str, Any] | None:
    """What a benchmark measured last."""
    paths = sorted(OUTPUTS.glob(f"{name}-*.json"))
    return json.loads(paths[-1].read_text(encoding="utf-8")) if paths else None


def work(row: dict) -> tuple[float, float]:
    """Multiplications and additions, and seconds measured here, for one pass of a network over one tomogram."""
    share = math.prod(HIDDEN) / math.prod(row["shape"])
    return row["gigaflop per tile"] * 1e9 * row["tiles"] * share, row["seconds"]["ours"] * share


def hours(seconds: float, tomograms: int, devices: int, shard: int = 1) -> float:
    """How long so many tomograms take, which go to the devices in whole shards."""
    return math.ceil(math.ceil(tomograms / shard) / devices) * min(shard, tomograms) * seconds / 3600


def main() -> None:
    """Compute, print, and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tomograms", type=int, default=3400)
    parser.add_argument("--views", type=int, default=2, help="passes of each network")
    parser.add_argument("--gpus", type=int, nargs="+", default=[8, 32], help="of a cluster")
    options = parser.parse_args()
    count, found, reading = options.tomograms, newest("detection"), newest("volumes")
    if found is None:
        sys.exit(f"{OUTPUTS} holds no figures of detection: run tests/benchmarks/detection.py first")
    flops, here = (options.views * sum(column) for column in zip(*map(work, found["rows"]), strict=True))
    names = ", ".join(row["network"] for row in found["rows"])
    sizes = dict(zip(["size_z", "size_y", "size_x"], NATIVE, strict=True))
    disk = estimate(pd.DataFrame([{"tomo_id": "one", **sizes, "spacing": SPACING}])).iloc[0]
    times = [f"{hours(flops / T4, count, 2):.1f} h on two T4"]
    times += [f"{hours(flops / T4, count, n, SHARD):.1f} h on {n} in jobs of {SHARD}" for n in options.gpus]
    figure = f"{', '.join(times)}; {hours(here, count, 1):,.0f} h on {found['machine']}"
    if reading:
        busy = statistics.median(each[1] for each in reading["rows"]["slices to prepared volume"])
        figure += f"; reading and resampling {hours(busy, count, 1):.0f} core hours"
    figure += f"; download {count * disk.raw_bytes / 1e12:.1f} TB as float32, {disk.raw_bytes / 1e9:.1f} GB at a time"
    figure += f", slices of {count * disk.stored_bytes / 1e12:.1f} TB stay"
    what = f"on paper: {count:,} tomograms of {' x '.join(map(str, NATIVE))}, {options.views} views of each of {names}"
    rows = {"teraflop of a tomogram": flops / 1e12, "seconds of a tomogram here": here, "bytes": disk.to_dict()}
    print(save("whole_portal", {what: figure}, rows, detection=found["commit"], guessed_flops_of_a_t4=T4))
    print(f"{what}: {figure}")


if __name__ == "__main__":
    main()

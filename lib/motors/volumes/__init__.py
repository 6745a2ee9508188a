"""Tomograms on disk and in memory: read from any format, as 8-bit grey levels, at the spacing that is wanted."""

from motors.volumes.damage import Finding, examine, examine_histogram, findings, histogram, mend, repair
from motors.volumes.files import read, write_mrc
from motors.volumes.levels import to_uint8, unwrap
from motors.volumes.resampling import resample
from motors.volumes.store import incomplete, open_prepared, slice_paths, stack_shape, write_prepared, write_slices
from motors.volumes.tomogram import Tomogram

__all__ = [
    "Finding",
    "Tomogram",
    "examine",
    "examine_histogram",
    "findings",
    "histogram",
    "incomplete",
    "mend",
    "open_prepared",
    "read",
    "repair",
    "resample",
    "slice_paths",
    "stack_shape",
    "to_uint8",
    "unwrap",
    "write_mrc",
    "write_prepared",
    "write_slices",
]

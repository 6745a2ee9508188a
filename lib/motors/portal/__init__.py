"""Tomograms of the CryoET Data Portal: looked up, downloaded, and stored as the competition stores its own."""

try:
    import cryoet_data_portal as _client  # noqa: F401
    import zarr as _zarr  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(f"{error.name} is missing: pip install 'motors[portal]'") from error

from motors.portal.catalogue import WRONG_SPACING, Source, estimate, survey
from motors.portal.collection import collect, stored, table, verify
from motors.portal.conversion import SPACING, convert
from motors.portal.transfer import Patience, fetch, flatten, image

__all__ = [
    "SPACING",
    "WRONG_SPACING",
    "Patience",
    "Source",
    "collect",
    "convert",
    "estimate",
    "fetch",
    "flatten",
    "image",
    "stored",
    "survey",
    "table",
    "verify",
]

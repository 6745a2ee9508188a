"""External tomograms: found on the CryoET Data Portal, downloaded, and stored in the competition's format."""

try:
    import cryoet_data_portal as _client  # noqa: F401
    import zarr as _zarr  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(f"{error.name} is missing: pip install 'motors[portal]'") from error

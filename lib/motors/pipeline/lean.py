"""Import of notebook libraries without slow dependencies that are not needed."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

# A grammar of URIs, which jsonschema would build in 3 s, and papermill's clients for cloud storage.
VAIN = ("rfc3987_syntax", "boto3", "pyarrow", "azure", "gcsfs", "github")


@contextmanager
def lean() -> Iterator[None]:
    """Hide `VAIN` while nbformat, nbconvert or papermill is imported; modules that are loaded already stay."""
    hidden = [name for name in VAIN if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))
    try:
        yield
    finally:
        for name in hidden:
            sys.modules.pop(name, None)

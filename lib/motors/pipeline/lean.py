"""Libraries that read and run notebooks, imported without what they would load in vain."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

# A grammar of web addresses that jsonschema would build in 3 s, and papermill's clients of stores in the cloud.
VAIN = ("rfc3987_syntax", "boto3", "pyarrow", "azure", "gcsfs", "github")


@contextmanager
def lean() -> Iterator[None]:
    """Import nbformat, nbconvert or papermill within, and these are not there; whatever is loaded already stays."""
    hidden = [name for name in VAIN if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))
    try:
        yield
    finally:
        for name in hidden:
            sys.modules.pop(name, None)

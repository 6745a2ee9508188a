"""Conversion of the lengths in files to ångström, and of library errors on damaged files."""

import math
import re
import struct
import tokenize
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unicodedata import normalize
from xml.etree import ElementTree

from motors.geometry import Spacing
from motors.volumes.tomogram import TomogramWarning

ROUNDING = 0.01  # relative difference between spacings that is ignored
ANGSTROM = {"angstrom": 1, "ångström": 1, "ångstrom": 1, "å": 1, "a": 1, "pm": 0.01, "picometer": 0.01}
ANGSTROM |= dict.fromkeys(("nm", "nanometer", "nanometre"), 10)
ANGSTROM |= dict.fromkeys(("μm", "um", "micron", "micrometer", "micrometre"), 10_000)
ANGSTROM |= dict.fromkeys(("mm", "millimeter", "millimetre"), 10**7) | {"cm": 10**8, "inch": 2.54e8}
ANGSTROM |= dict.fromkeys(("m", "meter", "metre"), 10**10)

# Errors of parsers and decompressors on damaged bytes, besides ValueError and OSError.
DAMAGE = (ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, RuntimeError, TypeError)
DAMAGE += (struct.error, zlib.error, tokenize.TokenError, SyntaxError, ElementTree.ParseError)


@contextmanager
def parsing(*more: type[Exception]) -> Iterator[None]:
    """Convert a library's errors on damaged bytes to ValueError; only library calls belong inside."""
    try:
        yield
    except (*DAMAGE, *more) as error:
        raise ValueError(f"it is damaged ({error!r:.200}): copy it again") from error


def in_angstrom(sizes: list[tuple[Any, str | None]]) -> Spacing | None:
    """Return sizes along z, y, x, each with its unit, as a spacing, signs dropped; None unless all are known."""
    written = (re.sub(r"\\u([\da-fA-F]{4})", lambda code: chr(int(code[1], 16)), str(unit or "")) for _, unit in sizes)
    units = [normalize("NFC", unit).strip().casefold() for unit in written]
    factors = [ANGSTROM.get(unit, ANGSTROM.get(unit.removesuffix("s"))) for unit in units]  # or their plural
    if len(sizes) != 3 or None in factors or any(size is None for size, _ in sizes):
        return None
    return tuple(abs(number(size)) * factor for (size, _), factor in zip(sizes, factors, strict=True))


def agreed(given: float | None, stated: Spacing, path: Path) -> float:
    """Return `given`, else the mean of `stated`; raises ValueError if that is invalid or anisotropic by over 1 %."""
    sound, said = all(math.isfinite(length) and length > 0 for length in stated), ""
    shown = " x ".join(f"{length:g}" for length in stated)
    if given is not None:
        if sound and max(abs(length / given - 1) for length in stated) > ROUNDING:
            said = f"it states a spacing of {shown} Å along z, y, x, the given {given:g} Å is taken"
    elif not sound:
        raise ValueError(f"it states a spacing of {stated} Å along z, y, x: give the true one as spacing=")
    elif max(stated) > (1 + ROUNDING) * min(stated):
        raise ValueError(f"it states spacings of {shown} Å along z, y, x, which differ: give one as spacing=")
    elif all(length == 1 for length in stated):
        said = "it states a spacing of 1 Å, as programs do that do not know it: give the true one as spacing="
    if said:
        warnings.warn(f"{path.name}: {said}", TomogramWarning, stacklevel=3)
    return float(f"{sum(stated) / 3:.6g}") if given is None else given


def number(size: Any) -> float:
    """Return a size as a number, NaN if it is none, such as "1,31"."""
    try:
        return float(size)
    except (TypeError, ValueError):
        return math.nan

"""Settings as a part of a folder's name."""

import ast
import hashlib
import re
import shlex
from decimal import Decimal

LONGEST = 64  # characters of a tag


def canonical_tag(text: str) -> str:
    """Return settings in one way of writing that can be part of a folder's name: sorted, `name=value`, joined by "_".

    Numbers of one value are written alike; a single word becomes "tag=word"; what is too long for a folder or has
    characters that not every file system takes is cut and ends in a hash. A tag that is such already stays as it is.
    Raises ValueError if quotes are not closed, or a name is given twice.
    """
    words = [word if re.match(r"[A-Za-z_]\w*=", word) else f"tag={word}" for word in shlex.split(text)]
    settings = dict(word.split("=", 1) for word in words)
    if len(settings) < len(words):
        raise ValueError(f"{text!r} sets a name twice: give each one value")
    tag = "_".join(f"{name}={_canonical(value)}" for name, value in sorted(settings.items()))
    safe = re.sub(r"[^A-Za-z0-9_.,=+-]+", ".", tag)
    if len(safe) > LONGEST or safe != tag:
        safe = f"{safe[: LONGEST - 11]}.{hashlib.sha256(tag.encode()).hexdigest()[:10]}"
    return safe


def _canonical(value: str) -> str:
    """A value in one way of writing: 1e-4 for 0.0001 and 1.0e-04, 300 for 300.0, 96,128,128 for (96, 128, 128)."""
    try:
        known = ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return value
    if isinstance(known, tuple | list):
        return ",".join(_canonical(repr(each)) for each in known)
    if isinstance(known, float):
        exact = Decimal(repr(known))
        return str(int(known)) if known.is_integer() else format(exact, "e" if abs(known) < 1e-3 else "f")
    return str(known)

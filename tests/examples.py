"""How many examples hypothesis draws: all in `make test`, a share of them in `make check`."""

from hypothesis import settings


def examples(count: int) -> settings:
    """Draw `count` examples, or the share of them that the profile draws of hypothesis's own hundred."""
    return settings(max_examples=count * settings.default.max_examples // 100)

"""Networks built without drawing their first weights, for tests that bring their own or look at something else."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from unittest import mock

from torch import Tensor


@contextmanager
def undrawn() -> Iterator[None]:
    """Let every random first weight be zero: to draw tens of millions takes longer than what is asked of them."""
    with ExitStack() as patches:
        for name in ("normal_", "uniform_", "erfinv_"):
            patches.enter_context(mock.patch.object(Tensor, name, _zero))
        yield


def _zero(tensor: Tensor, *_: object, **__: object) -> Tensor:
    return tensor.zero_()

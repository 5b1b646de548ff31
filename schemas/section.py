"""What every section of a recipe is made of. Room: schemas."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_]{0,62}$")]
"""Of a rule, a tag, a group of tags: it may stand in SQL without quotes."""


class Section(BaseModel):
    """Unknown keys are errors; values do not change; defaults are checked like given values."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


def check_weights_file(weights: str | None, file: str | None) -> None:
    """Raise ValueError where a `weights_file` has no tag beside it that says what its weights are."""
    if file is not None and (not weights or weights.endswith(".safetensors")):
        raise ValueError(
            "`weights_file` holds the weights of a pretrained tag: name the tag in `weights`; without a tag, put the path into `weights`"
        )

"""A recipe's chat models. Room: models."""

from __future__ import annotations

from typing import Any

from schemas.errors import RecipeError
from schemas.ids import fingerprint
from schemas.recipe_learned import CHAT_LIMITS, Chat


def make_chat(settings: Chat, name: str) -> Any:
    """The chat model of one name: a :class:`schemas.chat.ChatModel`. A network is loaded by the first question.

    Args:
        name: its key in the recipe's section `chat`.

    Raises:
        RecipeError: a setting is missing.
        UsageError: weights or a library are missing.
    """
    mark = fingerprint(identity(settings, name))
    if settings.backend == "openai":
        from models.chat.openai_chat import OpenAIChat

        return OpenAIChat(settings, mark, f"chat.{name}")
    from models.chat.transformers_chat import TransformersChat

    return TransformersChat(settings, mark, f"chat.{name}")


def identity(settings: Chat, name: str) -> dict[str, Any]:
    """All that a chat model's answers depend on: its settings but for limits, and the weights where they lie here.

    Raises:
        RecipeError: no model is named.
    """
    if not settings.model:
        raise RecipeError(
            f"The chat model `{name}` has no name.",
            fix=f"Say which: --set chat.{name}.model=NAME"
            + ("." if settings.backend == "transformers" else f", and --set chat.{name}.base_url=ADDRESS."),
        )
    found = settings.model_dump(mode="json", exclude=set(CHAT_LIMITS))
    if settings.backend == "transformers":
        from models.chat.weights import folder_fingerprint

        weights = folder_fingerprint(settings.model)
        if weights is not None:
            found |= {"model": "", "weights": weights}  # the same weights in another place are the same model
    return found

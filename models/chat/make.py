"""A recipe's chat models. Room: models."""

from __future__ import annotations

from typing import Any

from models.libraries import need
from schemas.errors import RecipeError
from schemas.ids import fingerprint
from schemas.recipe_learned import CHAT_LIMITS, Chat


def make_chat(settings: Chat, name: str) -> Any:
    """The chat model of one name: a :class:`schemas.chat.ChatModel`. A network is loaded by the first question.

    Making it is cheap, and checks what can be checked before a run.

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
    """All that a chat model's answers depend on: its settings but for limits, and of a local one the weights.

    Raises:
        RecipeError: no model is named.
        UsageError: weights or a library are missing.
    """
    if not settings.model:
        raise RecipeError(
            f"The chat model `{name}` has no name.",
            fix=f"Say which: --set chat.{name}.model=NAME"
            + ("." if settings.backend == "transformers" else f", and --set chat.{name}.base_url=ADDRESS."),
        )
    found = settings.model_dump(mode="json", exclude=set(CHAT_LIMITS))
    if settings.backend == "transformers":
        from models.chat.weights import locate

        for needed in ("transformers", "torch"):
            need(needed)
        found |= locate(settings.model, f"chat.{name}").identity()
    return found

"""Captioner `vlm` in a run: a small LLaVA with random weights, saved and named as a user's would be, over the stills of a corpus."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as tf
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from curation import joined
from curation.captioning.chat_captioner import ChatCaptioner
from curation.captioning.prompts import load_prompt
from curation.corpus import Corpus
from models.chat.make import make_chat
from pipelines.stages.caption import facts_of
from schemas.errors import VariantError
from schemas.recipe_learned import LocalChat

END, IMAGE = "<|end|>", "<image>"
TEMPLATE = (
    "{% for m in messages %}{% for c in m.content %}{% if c.type == 'image' %}<image>{% else %}{{ c.text }}{% endif %}"
    "{% endfor %}{% endfor %}"
)


def save_llava(folder: Path) -> Path:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    # Words and no bytes are all that it can say: whatever it draws can be read as a caption.
    words = ["a", "red", "patch", "moves", "slowly", "over", "the", "grey", "ground", "."]
    made.train_from_iterator(
        words, trainers.BpeTrainer(special_tokens=[END, IMAGE], initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    )
    tokenizer = tf.PreTrainedTokenizerFast(
        tokenizer_object=made, eos_token=END, pad_token=END, extra_special_tokens={"image_token": IMAGE}
    )
    sizes = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    ids = {"image_token_id": tokenizer.convert_tokens_to_ids(IMAGE)}
    config = tf.LlavaConfig(
        text_config={"model_type": "llama", **sizes, "vocab_size": len(tokenizer), "max_position_embeddings": 4096},
        vision_config={"model_type": "clip_vision_model", **sizes, "image_size": 28, "patch_size": 14},
        **ids,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = tf.LlavaForConditionalGeneration(config)
    model.generation_config.eos_token_id = tokenizer.convert_tokens_to_ids(END)
    model.save_pretrained(folder)
    square = {"size": {"shortest_edge": 28}, "crop_size": {"height": 28, "width": 28}}
    tf.LlavaProcessor(
        image_processor=tf.CLIPImageProcessor(**square),
        tokenizer=tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=TEMPLATE,
    ).save_pretrained(folder)
    return folder


QUIET = ("features.text.enabled=false", "features.embeddings.enabled=false", "dedup.enabled=false")


def test_captions_are_what_the_network_says_of_each_clips_stills_and_are_made_once(
    straight: Path, tmp_path: Path, run: Callable[..., Any]
) -> None:
    folder = save_llava(tmp_path / "llava")
    corpus = Path(shutil.copytree(straight, tmp_path / "corpus"))
    section = {"model": folder, "stills": 2, "max_tokens": 12, "batch": 3, "device": "cpu"}
    chat = tuple(f"chat.vlm.{key}={value}" for key, value in section.items())
    settings = (*QUIET, *chat, "captions.captioners=[vlm]", "captions.styles=[long]")
    _, counts = run(corpus, settings=settings, stages=("select", "caption"), name="vlm")
    opened = Corpus.open(corpus)
    rows = opened.read("captions", 0, "vlm").to_pylist()
    assert counts.captioners == {"vlm": 4}
    told = counts.asked[str(folder)]
    assert (told["asked"], told["failed"], told["completion_tokens"]) == (4, 0, 4 * 12)

    model = make_chat(LocalChat.model_validate(section | {"model": str(folder)}), "vlm")
    captioner = ChatCaptioner("vlm", model, load_prompt("caption"), ("long",), 2)
    wanted = asyncio.run(captioner.caption(facts_of(opened, 0, joined.read_scanned(opened, 0).to_pylist())))
    assert [row["caption"] for row in rows] == [text.caption for text in wanted if text is not None]
    assert {row["captioner_fingerprint"] for row in rows} == {captioner.fingerprint}
    assert len({row["caption"] for row in rows}) > 1  # it has looked at them

    # Another name asks it nothing; other weights are another model, and not taken over.
    _, counts = run(corpus, settings=(*settings, "captions.max_chars=9"), stages=("select", "caption"), name="short")
    assert (counts.asked[str(folder)]["asked"], counts.asked[str(folder)]["reused"]) == (0, 4)
    weights = folder / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(VariantError, match="otherwise: the chat model `vlm` has changed\\."):
        run(corpus, settings=settings, stages=("select", "caption"), name="vlm")

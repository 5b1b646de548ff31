"""A network of transformers with its tokenizer and what prepares its pictures. Room: models.

In: questions with pictures. Out: what it says. Weights are safetensors, from a local folder or the hub; nothing of a model's own code
is run. Batches are padded on the left, so that every answer begins where its question ends.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from models import offline
from models.chat.special import special_tokens, without
from models.chat.weights import locate
from models.libraries import library, reason
from schemas.errors import StivError, UsageError
from schemas.ids import digest
from schemas.recipe_learned import Chat


@dataclass(frozen=True, slots=True)
class Question:
    """``pictures``: of PIL, in order of time. ``tokens``: longest answer."""

    prompt: str
    system: str | None
    pictures: list[Any]
    tokens: int


@dataclass(frozen=True, slots=True)
class Said:
    """``cut``: it had not ended when it was as long as it may be."""

    text: str
    prompt_tokens: int
    completion_tokens: int
    cut: bool


@dataclass(frozen=True, slots=True)
class Unfit:
    """A question that cannot be put into numbers; ``why`` in words."""

    why: str


_loaded: weakref.WeakValueDictionary[tuple[str, str, str], Network] = weakref.WeakValueDictionary()
"""(model, device, precision) → network, as long as somebody uses it: two chat models of a recipe may be one network."""

_loading = threading.Lock()


def load_network(settings: Chat, where: str) -> Network:
    """The network of these settings, from disk or from who has it already.

    Raises:
        UsageError: weights or a library are missing, or do not fit.
    """
    torch = library("torch")
    device = settings.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    precision = settings.precision
    if precision == "auto":
        precision = "bfloat16" if device == "cuda" else "float32"
    with _loading:
        key = (settings.model or "", device, precision)
        network = _loaded.get(key)
        if network is None:
            network = _loaded[key] = Network(*key, where)
        return network


class Network:
    """Answers batches, one at a time whoever asks: tokenizers are not made for several threads."""

    def __init__(self, name: str, device: str, precision: str, where: str) -> None:
        offline.heed()
        torch, transformers = library("torch"), library("transformers")
        transformers.logging.disable_progress_bar()  # a bar of its own would write over ours
        located = locate(name, where)
        where_from: dict[str, Any] = {"trust_remote_code": False}
        if located.commit is None:
            where_from |= {"local_files_only": True}
        else:
            # By its commit: the main branch may have moved on since the model was named as an input.
            where_from |= {"local_files_only": offline.is_offline(), "revision": located.commit}
        torn = library("safetensors").SafetensorError
        try:
            config = transformers.AutoConfig.from_pretrained(located.place, **where_from)
            self._sees = type(config) in transformers.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING
            kind = transformers.AutoModelForImageTextToText if self._sees else transformers.AutoModelForCausalLM
            maker = transformers.AutoProcessor if self._sees else transformers.AutoTokenizer
            self._processor = maker.from_pretrained(located.place, **where_from)
            model, found = kind.from_pretrained(
                located.place,
                **where_from,
                use_safetensors=True,
                dtype=getattr(torch, precision),
                output_loading_info=True,
            )
            if found["missing_keys"]:  # they would be random
                raise ValueError(f"its weights lack {', '.join(sorted(found['missing_keys'])[:3])}")
            self._model = model.to(device).eval()
        except (OSError, ValueError, RuntimeError, ImportError, KeyError, TypeError, torn) as error:
            raise UsageError(
                f"The model `{name}` of {where} could not be loaded: {reason(error)}.",
                fix=f"Name a folder that `save_pretrained` wrote, or one on the hub, with --set {where}.model=…; `stiv models` says what is there.",
            ) from error
        self._torch, self._name, self._device = torch, name, device
        self._tokenizer = self._processor.tokenizer if self._sees else self._processor
        self._tokenizer.padding_side = "left"
        if self._tokenizer.pad_token_id is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token
        if not (getattr(self._processor, "chat_template", None) or self._tokenizer.chat_template):
            raise UsageError(
                f"The model `{name}` of {where} has no chat template: it is no model that answers questions.",
                fix="Name an instruction-tuned model.",
            )
        self._marks = special_tokens(self._processor, self._tokenizer)
        self._takes_video = self._sees and self._has_place_for_video()
        ends = self._model.generation_config.eos_token_id
        self._ends = {*(ends if isinstance(ends, list) else [ends]), self._tokenizer.eos_token_id}
        self._turn = threading.Lock()

    def answer(self, questions: Sequence[Question], settings: Chat, where: str) -> list[Said | Unfit]:
        """What is said of each question. Marks of turns and pictures in its texts are left out: they would forge some.

        Raises:
            UsageError: the model cannot be shown what it should be, or not told so.
            StivError: the memory does not hold it.
        """
        groups: dict[str, list[int]] = {}
        questions = [self._plain(question) for question in questions]
        for i, question in enumerate(questions):
            groups.setdefault(self._form(question, settings, where), []).append(i)
        said: dict[int, Said | Unfit] = {}
        for form, places in groups.items():
            with self._turn:
                replies = self._replies([questions[i] for i in places], form, settings, where)
            said.update(zip(places, replies, strict=True))
        return [said[i] for i in range(len(questions))]

    def _plain(self, question: Question) -> Question:
        system = without(question.system, self._marks) if question.system else question.system
        return replace(question, prompt=without(question.prompt, self._marks), system=system)

    def _replies(self, questions: Sequence[Question], form: str, settings: Chat, where: str) -> list[Said | Unfit]:
        try:
            inputs = self._inputs(questions, form, where)
        except ValueError as error:
            if len(questions) == 1:
                return [Unfit(reason(error))]
            # It is not said whose fault it is.
            return [reply for question in questions for reply in self._replies([question], form, settings, where)]
        return [*self._generate(questions, inputs, settings, where)]

    def _form(self, question: Question, settings: Chat, where: str) -> str:
        """How a question's pictures are shown: `none`, `images` or `video`. Its neighbours in a batch have no say in it."""
        if not question.pictures:
            return "none"
        if not self._sees:
            raise UsageError(
                f"The model `{self._name}` of {where} takes no pictures.", fix="Name a vision-language model."
            )
        if settings.frames == "video" and not self._takes_video:
            raise UsageError(
                f"The model `{self._name}` of {where} takes no video.",
                fix=f"--set {where}.frames=auto shows it pictures.",
            )
        # One picture is no video, nor are pictures of several sizes.
        one_size = len({picture.size for picture in question.pictures}) == 1
        as_video = self._takes_video and settings.frames != "images" and len(question.pictures) > 1 and one_size
        return "video" if as_video else "images"

    def _has_place_for_video(self) -> bool:
        """Whether there is something that prepares videos, and the template leaves a token for one."""
        token = getattr(self._processor, "video_token", None)
        if token is None or getattr(self._processor, "video_processor", None) is None:
            return False
        try:
            return token in self._processor.apply_chat_template(_messages(Question("", None, [], 1), "video", True))
        except (library("jinja2").TemplateError, ValueError, TypeError, KeyError):
            return False

    def _generate(self, questions: Sequence[Question], inputs: Any, settings: Chat, where: str) -> list[Said]:
        torch = self._torch
        options: dict[str, Any] = {"do_sample": False}
        if settings.temperature > 0:
            options = {"do_sample": True, "temperature": settings.temperature}
        options |= {
            "max_new_tokens": max(question.tokens for question in questions),
            "pad_token_id": self._tokenizer.pad_token_id,
        }
        devices = [torch.cuda.current_device()] if self._device == "cuda" else []
        try:
            with torch.inference_mode(), torch.random.fork_rng(devices=devices):
                # A question draws the same whoever was asked before it.
                first = questions[0]
                torch.manual_seed(int(digest("chat", settings.seed, first.system or "", first.prompt)[:15], 16))
                out = self._model.generate(**inputs, **options)
        except torch.OutOfMemoryError as error:
            raise StivError(
                f"The GPU's memory does not hold a batch of {len(questions)} questions to `{self._name}`.",
                fix=f"Lower {where}.batch or {where}.stills, then run the same command again; every answer so far is kept.",
            ) from error
        start = inputs["input_ids"].shape[1]
        sent = inputs["attention_mask"].sum(1).tolist()
        return [
            self._read(ids[start:].tolist()[: question.tokens], count)
            for question, ids, count in zip(questions, out, sent, strict=True)
        ]

    def _read(self, ids: list[int], sent: int) -> Said:
        stop = next((i for i, token in enumerate(ids) if token in self._ends), None)
        text = self._tokenizer.decode(ids if stop is None else ids[:stop], skip_special_tokens=True).strip()
        return Said(text, sent, len(ids) if stop is None else stop + 1, stop is None)

    def _inputs(self, questions: Sequence[Question], form: str, where: str) -> Any:
        """What the network takes, on its device and in its precision.

        Raises:
            UsageError: the template takes no such question.
            ValueError: the processor does not take one of these questions.
        """
        try:
            texts = [
                self._processor.apply_chat_template(
                    _messages(question, form, self._sees), add_generation_prompt=True, tokenize=False
                )
                for question in questions
            ]
        except library("jinja2").TemplateError as error:
            raise UsageError(
                f"The chat template of `{self._name}` of {where} does not take the question: {reason(error)}.",
                fix="Name another model, or mend its template.",
            ) from error
        if not self._sees:
            tokens = self._tokenizer(texts, padding=True, return_tensors="pt", add_special_tokens=False)
            return tokens.to(self._device)
        shown: dict[str, Any] = {}
        pictures = [question.pictures for question in questions]
        if form == "video":
            np = library("numpy")
            shown["videos"] = [np.stack([np.asarray(picture) for picture in p]) for p in pictures]
            # The stills are a sample already: about one a second.
            shown["do_sample_frames"] = False
            shown["video_metadata"] = [
                {"fps": 1.0, "total_num_frames": len(p), "frames_indices": list(range(len(p)))} for p in pictures
            ]
        elif form == "images":
            shown["images"] = pictures
        prepared = self._processor(text=texts, padding=True, return_tensors="pt", **shown)
        return prepared.to(self._device, self._model.dtype)


def _messages(question: Question, form: str, sees: bool) -> list[dict[str, Any]]:
    if not sees:
        content: Any = question.prompt
        system: Any = question.system
    else:
        kinds = {"none": [], "images": ["image"] * len(question.pictures), "video": ["video"]}
        content = [*({"type": kind} for kind in kinds[form]), {"type": "text", "text": question.prompt}]
        system = [{"type": "text", "text": question.system}]
    before = [{"role": "system", "content": system}] if question.system else []
    return [*before, {"role": "user", "content": content}]

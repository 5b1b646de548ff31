"""Frozen text encoders, tiny and with random weights, through files as real ones would be."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from models.text.make import make_text
from models.text.openclip import OpenClipText
from models.text.t5 import T5Text
from models.text.tokens import END
from schemas.errors import UsageError
from schemas.train_recipe import Text

torch.set_num_threads(1)
CAPTIONS = ["A red circle moves to the left.", "", "a blue square"]
CONFIG = {
    "embed_dim": 24,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 16, "layers": 1, "width": 64, "patch_size": 8},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 3},
}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """open_clip's own model, and a folder with its configuration and weights."""
    from open_clip.model import CLIP
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("clip")
    torch.manual_seed(0)
    parts = {key: CONFIG[key] for key in ("embed_dim", "vision_cfg", "text_cfg", "quick_gelu")}
    from open_clip.model import CLIPTextCfg, CLIPVisionCfg

    parts["vision_cfg"], parts["text_cfg"] = CLIPVisionCfg(**CONFIG["vision_cfg"]), CLIPTextCfg(**CONFIG["text_cfg"])  # type: ignore[arg-type]
    model = CLIP(**parts).eval()  # type: ignore[arg-type]
    (folder / "tiny.json").write_text(json.dumps(CONFIG))
    save_file({key: value.contiguous() for key, value in model.state_dict().items()}, folder / "tiny.safetensors")
    return model, folder


def openclip(folder: Path, **changes: Any) -> OpenClipText:
    sections = {"name": str(folder / "tiny.json"), "weights": str(folder / "tiny.safetensors"), "max_tokens": 16}
    made = make_text(Text(kind="openclip", **{**sections, **changes}))
    assert isinstance(made, OpenClipText)
    return made


def test_pooled_projected_is_what_open_clip_says(clip: tuple[Any, Path]) -> None:
    model, folder = clip
    encoder = openclip(folder)
    ids = encoder.tokenize(CAPTIONS)
    condition = encoder.encode(ids)
    with torch.no_grad():
        assert torch.allclose(condition.pooled @ model.text_projection, model.encode_text(ids), atol=1e-5)
    assert (encoder.width, encoder.max_tokens, encoder.trained) == (64, 16, False)
    assert condition.tokens.shape == (3, condition.mask.shape[1], 64)


def test_token_states_are_those_before_the_projection(clip: tuple[Any, Path]) -> None:
    model, folder = clip
    encoder = openclip(folder)
    ids = encoder.tokenize(CAPTIONS)
    condition = encoder.encode(ids)
    with torch.no_grad():
        x = model.token_embedding(ids) + model.positional_embedding
        x = model.ln_final(model.transformer(x, attn_mask=model.attn_mask))
    longest = condition.mask.shape[1]
    assert longest == int(ids.argmax(1).max()) + 1 < 16
    assert torch.allclose(condition.tokens, x[:, :longest], atol=1e-5)
    assert condition.mask.sum(1).tolist() == (ids.argmax(1) + 1).tolist()


def test_fewer_tokens_than_the_tower_reads(clip: tuple[Any, Path]) -> None:
    _, folder = clip
    short, whole = openclip(folder, max_tokens=6), openclip(folder)
    ids = short.tokenize(CAPTIONS)
    assert ids.shape == (3, 6)
    assert ids[0, -1] == END
    alone = whole.encode(whole.tokenize([CAPTIONS[2]]))
    assert torch.allclose(short.encode(ids).pooled[2], alone.pooled[0], atol=1e-5)


def test_only_the_text_tower_is_held_and_it_is_frozen(clip: tuple[Any, Path]) -> None:
    model, folder = clip
    encoder = openclip(folder)
    held = sum(p.numel() for p in encoder.parameters())
    visual = sum(p.numel() for p in model.visual.parameters())
    assert held == sum(p.numel() for p in model.parameters()) - visual - model.text_projection.numel() - 1
    assert not any(p.requires_grad for p in encoder.parameters())
    torch.nn.ModuleDict({"text": encoder}).train()
    assert not any(module.training for module in encoder.modules())
    assert not encoder.encode(encoder.tokenize(CAPTIONS)).tokens.requires_grad


def test_keys_of_a_clip_with_a_text_tower_of_its_own(clip: tuple[Any, Path], tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    _, folder = clip
    plain = load_file(folder / "tiny.safetensors")
    own = ("token_embedding", "positional_embedding", "transformer", "ln_final", "text_projection")
    renamed = {f"text.{key}" if key.startswith(own) else key: value.half() for key, value in plain.items()}
    save_file(renamed, tmp_path / "custom.safetensors")
    encoder, other = openclip(folder), openclip(folder, weights=str(tmp_path / "custom.safetensors"))
    ids = encoder.tokenize(CAPTIONS)
    assert torch.allclose(other.encode(ids).tokens, encoder.encode(ids).tokens, atol=2e-2)
    assert other.encode(ids).tokens.dtype == torch.float32


def test_a_published_tag_is_fetched_and_says_which_gelu(
    clip: tuple[Any, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    import open_clip

    _, folder = clip
    ids = openclip(folder).tokenize(CAPTIONS)
    quick = openclip(folder).encode(ids).pooled
    monkeypatch.setattr(open_clip, "download_pretrained", lambda found: str(folder / "tiny.safetensors"))
    for gelu in (True, False):
        monkeypatch.setattr(open_clip, "get_pretrained_cfg", lambda name, tag, gelu=gelu: {"quick_gelu": gelu})
        again = openclip(folder, weights="some_tag").encode(ids).pooled
        assert torch.allclose(again, quick, atol=1e-6) is gelu


def test_bad_names_and_weights_of_openclip_say_what_to_do(
    clip: tuple[Any, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import open_clip

    _, folder = clip
    with pytest.raises(UsageError, match="no architecture ViT-Z-99"):
        openclip(folder, name="ViT-Z-99")
    with pytest.raises(UsageError, match="cannot be read"):
        openclip(folder, name=str(tmp_path / "none.json"))
    with pytest.raises(UsageError, match=r"has no weights nonsense.*laion2b_s39b_b160k"):
        openclip(folder, name="ViT-bigG-14", weights="nonsense")
    with pytest.raises(UsageError, match=r"needs weights.*openai"):
        openclip(folder, name="ViT-L-14", weights=None)
    with pytest.raises(UsageError, match="do not exist"):
        openclip(folder, weights=str(tmp_path / "none.safetensors"))
    (tmp_path / "weights.bin").write_bytes(b"")
    with pytest.raises(UsageError, match=r"no \.safetensors file"):
        openclip(folder, weights=str(tmp_path / "weights.bin"))
    with pytest.raises(UsageError, match="do not fit the text tower of ViT-B-32"):
        openclip(folder, name="ViT-B-32")
    (tmp_path / "torn.safetensors").write_bytes((folder / "tiny.safetensors").read_bytes()[:1000])
    with pytest.raises(UsageError, match="do not fit"):
        openclip(folder, weights=str(tmp_path / "torn.safetensors"))
    with pytest.raises(UsageError, match="reads 16 tokens, not 77"):
        openclip(folder, max_tokens=77)

    def unreachable(found: object) -> str:
        raise OSError("no route to host")

    monkeypatch.setattr(open_clip, "download_pretrained", unreachable)
    with pytest.raises(UsageError, match=r"could not be fetched: no route.*\.safetensors"):
        openclip(folder, name="ViT-L-14", weights="openai", max_tokens=77)


@pytest.mark.parametrize("name", ["ViT-B-16-SigLIP", "roberta-ViT-B-32", "coca_ViT-B-32"])
def test_towers_of_another_make_are_refused(name: str, clip: tuple[Any, Path]) -> None:
    with pytest.raises(UsageError, match="cannot be used"):
        openclip(clip[1], name=name)


@pytest.fixture(scope="module")
def t5_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline's folder with `text_encoder` and `tokenizer`."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast, T5Config, T5EncoderModel

    folder = tmp_path_factory.mktemp("t5")
    words = "a red blue circle square moves to the left .".split()
    vocabulary = {word: n for n, word in enumerate(["<pad>", "</s>", "<unk>", *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), pre_tokenizers.Punctuation()])
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    special = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder / "tokenizer")
    torch.manual_seed(0)
    config = T5Config(vocab_size=16, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4, dropout_rate=0.5)
    T5EncoderModel(config).save_pretrained(folder / "text_encoder")
    return folder


def t5(folder: Path, max_tokens: int = 12) -> T5Text:
    made = make_text(Text(kind="t5", name=str(folder), max_tokens=max_tokens))
    assert isinstance(made, T5Text)
    return made


def test_t5_states_are_those_of_transformers(t5_folder: Path) -> None:
    from transformers import T5EncoderModel

    encoder = t5(t5_folder)
    ids = encoder.tokenize(CAPTIONS)
    assert ids.shape == (3, 12)
    condition = encoder.encode(ids)
    assert (encoder.width, encoder.max_tokens, encoder.trained) == (32, 12, False)
    assert condition.mask.sum(1).tolist() == [9, 1, 4]
    assert condition.tokens.shape == (3, 9, 32)
    model = T5EncoderModel.from_pretrained(t5_folder / "text_encoder").eval()
    with torch.no_grad():
        alone = model(input_ids=ids[2:, :4]).last_hidden_state[0]
    assert torch.allclose(condition.tokens[2, :4], alone, atol=1e-5)
    assert torch.allclose(condition.pooled[2], alone.mean(0), atol=1e-5)


def test_t5_is_frozen_and_never_drops(t5_folder: Path) -> None:
    encoder = t5(t5_folder)
    torch.nn.ModuleDict({"text": encoder}).train()
    ids = encoder.tokenize(CAPTIONS)
    assert torch.equal(encoder.encode(ids).tokens, encoder.encode(ids).tokens)
    assert not any(p.requires_grad for p in encoder.parameters())


def test_t5_cuts_long_captions_and_keeps_the_end(t5_folder: Path) -> None:
    ids = t5(t5_folder, max_tokens=4).tokenize(CAPTIONS)
    assert ids[:, :4].tolist() == [[2, 4, 6, 1], [1, 0, 0, 0], [3, 5, 7, 1]]


def test_t5_with_encoder_and_tokenizer_in_one_folder(t5_folder: Path, tmp_path: Path) -> None:
    for part in ("tokenizer", "text_encoder"):
        shutil.copytree(t5_folder / part, tmp_path / "flat", dirs_exist_ok=True)
    apart, flat = t5(t5_folder), t5(tmp_path / "flat")
    ids = flat.tokenize(CAPTIONS)
    assert torch.equal(flat.encode(ids).tokens, apart.encode(apart.tokenize(CAPTIONS)).tokens)


def test_umt5_too_and_half_precision_becomes_bfloat16(t5_folder: Path, tmp_path: Path) -> None:
    from transformers import UMT5Config, UMT5EncoderModel

    shutil.copytree(t5_folder / "tokenizer", tmp_path / "tokenizer")
    torch.manual_seed(0)
    config = UMT5Config(vocab_size=16, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4)
    UMT5EncoderModel(config).half().save_pretrained(tmp_path / "text_encoder")
    encoder = t5(tmp_path)
    assert encoder.model.dtype == torch.bfloat16
    condition = encoder.encode(encoder.tokenize(CAPTIONS))
    assert condition.tokens.dtype == torch.float32
    assert bool(condition.tokens.isfinite().all())


def test_bad_folders_of_t5_say_what_to_do(
    t5_folder: Path, clip: tuple[Any, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        t5(tmp_path / "none")
    with pytest.raises(UsageError, match=r"no config\.json"):
        t5(clip[1])
    shutil.copytree(t5_folder, tmp_path / "pickled")
    (tmp_path / "pickled" / "text_encoder" / "model.safetensors").rename(
        tmp_path / "pickled" / "text_encoder" / "pytorch_model.bin"
    )
    with pytest.raises(UsageError, match=r"no \.safetensors weights"):
        t5(tmp_path / "pickled")
    shutil.copytree(t5_folder, tmp_path / "bert")
    (tmp_path / "bert" / "text_encoder" / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(UsageError, match="is a bert, not a T5"):
        t5(tmp_path / "bert")
    shutil.copytree(t5_folder / "text_encoder", tmp_path / "wordless")
    with pytest.raises(UsageError, match=r"no tokenizer beside it.*tokenizer\.json"):
        t5(tmp_path / "wordless")
    shutil.copytree(t5_folder, tmp_path / "torn")
    (tmp_path / "torn" / "text_encoder" / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(UsageError, match="could not be loaded"):
        t5(tmp_path / "torn")
    from safetensors.torch import load_file, save_file

    shutil.copytree(t5_folder, tmp_path / "lacking")
    file = tmp_path / "lacking" / "text_encoder" / "model.safetensors"
    kept = {key: value for key, value in load_file(file).items() if "final_layer_norm" not in key}
    save_file(kept, file, metadata={"format": "pt"})
    with pytest.raises(UsageError, match=r"weights lack .*final_layer_norm"):
        t5(tmp_path / "lacking")
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UsageError, match=r"nobody/no-such-t5 .*no network"):
        make_text(Text(kind="t5", name="nobody/no-such-t5"))

"""`stiv models`: every learned step, where its weights are, and how to get what is missing; without any network."""

import json
import shutil
import socket
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from models.registry import Step
from pipelines.apps.model_list import model_steps, print_steps
from pipelines.cli import model_commands
from schemas.errors import RecipeError


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub; whoever opens a connection fails the test."""
    import huggingface_hub.constants

    def refuse(*_: object) -> None:
        pytest.fail("the network was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def put(cache: Path, repo: str, **files: bytes) -> Path:
    """Files as the hub's client keeps them; `__` stands for `/` and `_dot_` for a dot."""
    folder = cache / f"models--{repo.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True, exist_ok=True)
    (folder / "refs" / "main").write_text("a1b2")
    for name, data in files.items():
        path = folder / "snapshots" / "a1b2" / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder / "snapshots" / "a1b2"


def steps(*settings: str, file: Path | None = None) -> dict[str, Step]:
    return {step.step: step for step in model_steps(file, settings)}


def test_defaults_need_nothing_that_is_not_here() -> None:
    found = steps()
    assert [s for s in found.values() if s.used and s.here is False] == []
    assert (found["shots"].used, found["shots"].source, found["shots"].here) == (False, "wheel", True)
    text = found["text"]
    assert text.used
    assert text.where is not None
    assert text.mb == pytest.approx(Path(text.where).stat().st_size / 1e6, abs=0.06)
    assert (found["embeddings"].model.split()[0], found["embeddings"].source) == ("perceptual", "none")
    assert {"captions: sidecar", "captions: describe", "chat: vlm", "chat: openai", "chat: llm"} <= found.keys()
    assert not any(found[f"chat: {name}"].used for name in ("vlm", "openai", "llm"))


def test_a_shot_network_that_is_asked_for_is_used() -> None:
    assert steps("scan.shots.backend=ensemble")["shots"].used
    assert not steps("features.text.enabled=false")["text"].used


OPENCLIP = ("features.embeddings.backend=openclip", "features.embeddings.weights=laion2b_s34b_b79k")


def test_a_tag_that_was_not_fetched_says_how_and_one_that_was_where(cache: Path) -> None:
    missing = steps(*OPENCLIP)["embeddings"]
    assert (missing.used, missing.source, missing.here) == (True, "hub", False)
    assert (missing.mb, missing.about) == (605, True)  # ViT-B-32 has 151 million parameters
    repo = "laion/CLIP-ViT-B-32-laion2B-s34B-b79K"
    assert missing.get == f"hf download {repo} open_clip_model.safetensors"
    folder = put(cache, repo, open_clip_model_dot_safetensors=bytes(2_500_000))
    there = steps(*OPENCLIP)["embeddings"]
    assert (there.here, there.mb, there.about, there.get) == (True, 2.5, False, None)
    assert there.where == str(folder / "open_clip_model.safetensors")


def test_a_repository_of_a_model_and_its_own_tokenizer(cache: Path) -> None:
    settings = ("features.embeddings.backend=openclip", "features.embeddings.model=hf-hub:org/clip")
    missing = steps(*settings)["embeddings"]
    assert (missing.here, missing.source, missing.get) == (False, "hub", "hf download org/clip")
    config = {"model_cfg": {"embed_dim": 8, "vision_cfg": {}, "text_cfg": {"hf_tokenizer_name": "org/words"}}}
    put(cache, "org/clip", open_clip_config_dot_json=json.dumps(config).encode())
    assert steps(*settings)["embeddings"].get == "hf download org/clip"
    put(cache, "org/clip", open_clip_model_dot_safetensors=bytes(1_000_000))
    half = steps(*settings)["embeddings"]
    assert (half.here, half.mb, half.get) == (False, 1.0, "hf download org/words")
    put(cache, "org/words", tokenizer_dot_json=b"{}")
    assert (steps(*settings)["embeddings"].here, steps(*settings)["embeddings"].get) == (True, None)
    odd = steps(settings[0], "features.embeddings.model=hf-hub:clip")["embeddings"]
    assert odd.get == "hf-hub:clip names no repository on the hub. Write hf-hub:owner/name."


def test_local_files_of_a_tower_and_a_head(tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(bytes(1_000_000))
    settings = ("features.embeddings.backend=openclip", f"features.embeddings.weights={tmp_path}/w.safetensors")
    found = steps(*settings, f"features.embeddings.aesthetic_head={tmp_path}/head.pth")
    assert (found["embeddings"].here, found["embeddings"].mb) == (True, 1.0)
    assert (found["aesthetics"].used, found["aesthetics"].here) == (True, False)
    assert found["aesthetics"].where == f"{tmp_path}/head.pth"
    odd = steps(*settings, "features.embeddings.model=ViT-Z-99")["embeddings"]
    assert odd.here is False
    assert odd.get is not None
    assert "no architecture ViT-Z-99" in odd.get
    none = steps(*settings, "features.embeddings.weights=no_such_tag")["embeddings"]
    assert none.get is not None
    assert "has no weights no_such_tag" in none.get


def test_a_file_that_holds_a_tags_weights(tmp_path: Path) -> None:
    given = (*OPENCLIP, f"features.embeddings.weights_file={tmp_path}/w.safetensors")
    missing = steps(*given)["embeddings"]
    assert (missing.here, missing.get) == (False, "Set `features.embeddings.weights_file` to a file that is there.")
    (tmp_path / "w.safetensors").write_bytes(bytes(1_000_000))
    found = steps(*given)["embeddings"]
    assert (found.model, found.source, found.here, found.mb) == ("ViT-B-32 laion2b_s34b_b79k", "file", True, 1.0)
    odd = steps(*given, "features.embeddings.weights=no_such_tag")["embeddings"]
    assert "has no weights no_such_tag" in (odd.get or "")


def test_a_head_over_other_weights_than_openais_has_a_note(tmp_path: Path) -> None:
    head = f"features.embeddings.aesthetic_head={tmp_path}/head.pth"
    assert "`laion2b_s34b_b79k` are others" in (steps(*OPENCLIP, head)["aesthetics"].note or "")
    assert steps(OPENCLIP[0], "features.embeddings.weights=openai", head)["aesthetics"].note is None
    given = StringIO()
    print_steps(model_steps(None, (*OPENCLIP, head)), Console(file=given, width=100, soft_wrap=True))
    assert "note: `aesthetic_laion` may mean little" in given.getvalue()


def test_chat_models_here_on_the_hub_and_behind_an_endpoint(tmp_path: Path, cache: Path) -> None:
    asked = ("captions.captioners=[vlm,openai,describe]",)
    found = steps(*asked)
    assert found["chat: vlm"].get == "--set chat.vlm.model=FOLDER or a name on the hub"
    assert (found["chat: openai"].here, found["chat: llm"].used) == (None, False)
    assert "--set chat.openai.base_url=" in (found["chat: openai"].get or "")
    given = (*asked, "chat.vlm.model=org/tiny-vl", "chat.openai.model=big", "chat.openai.base_url=http://h:1/v1")
    found = steps(*given)
    assert (found["chat: openai"].where, found["chat: openai"].get) == ("http://h:1/v1", None)
    assert (found["chat: vlm"].here, found["chat: vlm"].get) == (False, "hf download org/tiny-vl")
    large = steps(*asked, "chat.vlm.model=org/VL-2.2B-Instruct@v1")["chat: vlm"]
    assert (large.mb, large.about, large.get) == (4400, True, "hf download org/VL-2.2B-Instruct --revision v1")
    index = json.dumps({"weight_map": {"a": "m-1.safetensors", "b": "m-2.safetensors"}}).encode()
    folder = put(cache, "org/tiny-vl", config_dot_json=b"{}", model_dot_safetensors_dot_index_dot_json=index)
    (folder / "m-1.safetensors").write_bytes(bytes(1000))
    assert steps(*given)["chat: vlm"].here is False  # half of it
    (folder / "m-2.safetensors").write_bytes(bytes(500_000))
    assert (steps(*given)["chat: vlm"].here, steps(*given)["chat: vlm"].mb) == (True, 0.5)
    shutil.copytree(folder, tmp_path / "vl")
    assert steps(*asked, f"chat.vlm.model={tmp_path}/vl")["chat: vlm"].source == "file"


def test_checks_ask_chat_models_too() -> None:
    assert steps("check.dsg.enabled=true")["chat: llm"].used
    assert not steps("check.dsg.enabled=true", "check.enabled=false")["chat: llm"].used


def test_every_step_that_uses_another_ones_model_points_to_it(cache: Path) -> None:
    settings = (
        *OPENCLIP,
        "dedup.semantic.enabled=true",
        "captions.captioners=[openai,frames+llm,describe]",
        "captions.rewrite.enabled=true",
        "check.dsg={enabled: true, vision: openai}",
        "check.categories.backend=chat",
        "chat.openai={model: big, base_url: 'http://h:1/v1'}",
        "chat.llm.model=words",
    )
    found = steps(*settings)
    by = {name: (step.by, step.model, step.used) for name, step in found.items() if step.by is not None}
    assert by == {
        "dedup: semantic": ("embeddings", "ViT-B-32 laion2b_s34b_b79k", True),
        "captions: openai": ("chat: openai", "big", True),
        "captions: frames": ("chat: vlm", "not named", True),
        "captions: merging": ("chat: llm", "words", True),
        "captions: rewriting": ("chat: llm", "words", True),
        "checks: agreement": ("embeddings", "ViT-B-32 laion2b_s34b_b79k", True),
        "checks: DSG language": ("chat: llm", "words", True),
        "checks: DSG vision": ("chat: openai", "big", True),
        "checks: categories": ("chat: llm", "words", True),
    }
    assert all(found[name].here == found[by[name][0] or ""].here for name in by)
    # What is missing is told once, by the step that has the model.
    assert not any(found[name].get for name in by)


def test_without_models_the_checks_say_what_they_use_all_the_same() -> None:
    found = steps()
    language = found["checks: language"]
    assert (language.used, language.here, language.source) == (True, True, "wheel")
    assert language.where is not None
    assert language.mb == pytest.approx(Path(language.where).stat().st_size / 1e6, abs=0.06)
    assert (found["checks: categories"].model, found["checks: categories"].source) == ("keywords", "none")
    unused = (
        "checks: agreement",
        "checks: DSG language",
        "checks: DSG vision",
        "captions: rewriting",
        "dedup: semantic",
    )
    assert not any(found[name].used for name in unused)
    off = steps("check.enabled=false", "check.dsg.enabled=true", "check.categories.backend=chat")
    assert not any(step.used for name, step in off.items() if name.startswith("checks: "))


def test_a_plugin_that_is_not_installed_says_so() -> None:
    found = steps("captions.captioners=[no-such-one,describe]")["captions: no-such-one"]
    assert found.here is False
    assert found.get


def test_a_training_recipe(tmp_path: Path, cache: Path) -> None:
    recipe = tmp_path / "train.yaml"
    recipe.write_text("kind: train\n")
    assert [s.source for s in steps(file=recipe).values()] == ["none", "none"]
    recipe.write_text(
        "kind: train\ntext: {kind: t5, name: org/t5}\nlatents: {kind: image_vae, path: org/sd, subfolder: vae}\n"
    )
    found = steps(file=recipe)
    assert [s.get for s in found.values()] == ["hf download org/t5", "hf download org/sd --include 'vae/*'"]
    put(cache, "org/t5", config_dot_json=b"{}", model_dot_safetensors=bytes(1000))
    put(cache, "org/sd", vae__config_dot_json=b"{}", vae__diffusion_dot_safetensors=bytes(1000))
    assert [s.here for s in steps(file=recipe).values()] == [True, True]
    (tmp_path / "flux" / "text_encoder").mkdir(parents=True)
    (tmp_path / "flux" / "text_encoder" / "model.safetensors").write_bytes(bytes(1000))
    local = steps(f"text.name={tmp_path}/flux", file=recipe)["text encoder"]
    assert (local.here, local.where) == (True, f"{tmp_path}/flux/text_encoder")
    clip = steps("text.kind=openclip", "text.name=ViT-B-32", "text.weights=openai", file=recipe)["text encoder"]
    assert clip.get == "hf download timm/vit_base_patch32_clip_224.openai open_clip_model.safetensors"


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    app = typer.Typer()
    app.callback()(lambda: None)
    model_commands.register(app)
    result = CliRunner().invoke(app, ["models", "--json", *(f"--set={s}" for s in OPENCLIP)])
    assert result.exit_code == 0
    rows: list[dict[str, Any]] = json.loads(result.stdout)
    assert {row["step"]: row["here"] for row in rows}["embeddings"] is False
    with pytest.raises(RecipeError):
        app(["models", "--recipe", str(tmp_path / "none.yaml")], standalone_mode=False)


def test_the_table_fits_100_columns_and_commands_stand_whole() -> None:
    given = StringIO()
    found = model_steps(None, (*OPENCLIP, "captions.captioners=[vlm,describe]"))
    print_steps(found, Console(file=given, width=100, soft_wrap=True))
    table, _, commands = given.getvalue().partition("To get what")
    assert max(len(line) for line in table.splitlines()) <= 100
    assert "embeddings: hf download laion/CLIP-ViT-B-32-laion2B-s34B-b79K open_clip_model.safetensors\n" in commands
    assert "wheel:" in table
    assert "about 605" in table

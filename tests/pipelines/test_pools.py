"""How actors share a cluster: some CPU is always left, at least one actor of each stage fits, and too small is said."""

import pytest

from pipelines.chain import (
    CAPTION,
    DEDUP,
    DEDUP_LOOK,
    DEDUP_SEARCH,
    EMBED,
    EXPORT,
    PART_STAGES,
    SCAN,
    SCORE,
    TEXT,
    Stage,
)
from pipelines.ray_run import LIGHT_CPUS, as_configured, size_pools
from schemas.errors import UsageError
from schemas.recipe import CurateRecipe

BEFORE = (SCAN, TEXT, EMBED)
AFTER = PART_STAGES[PART_STAGES.index(DEDUP) + 1 :]


@pytest.mark.parametrize("nodes", [[1], [2], [4], [8], [16], [64] * 50, [2] * 3, [1, 32]])
@pytest.mark.parametrize(
    "stages", [BEFORE, (*BEFORE, SCORE), (DEDUP,), (DEDUP_LOOK,), (DEDUP_SEARCH,), AFTER, (EXPORT,)]
)
def test_pools_leave_room_for_rays_own_tasks(nodes: list[float], stages: tuple) -> None:  # type: ignore[type-arg]
    pools = size_pools(stages, 10_000, [(cpus, cpus * 4e9) for cpus in nodes])
    least = sum(p.cpus for p in pools.values())
    assert least < max(nodes)  # one actor of each on the largest node
    most = sum(p.cpus * p.actors for p in pools.values())
    assert most < sum(nodes)
    assert all(p.actors >= 1 and p.children >= 1 and p.memory > 0 for p in pools.values())


def test_children_use_the_whole_machine() -> None:
    pools = size_pools(BEFORE, 100, [(2, 16e9)])
    assert pools["scan"].children * pools["scan"].actors == 2
    pools = size_pools(BEFORE, 100, [(64, 256e9), (64, 256e9)])
    assert pools["scan"].children * pools["scan"].actors == 128
    assert pools["text"].children * pools["text"].actors == 128  # what one leaves, the other takes
    assert size_pools(AFTER, 100, [(64, 256e9)])["select"].cpus == LIGHT_CPUS


def test_no_more_actors_than_parts() -> None:
    assert size_pools(BEFORE, 1, [(64, 256e9)] * 10)["scan"].actors == 1


def test_cluster_without_cpus_is_named() -> None:
    with pytest.raises(UsageError, match="0 CPUs") as caught:
        size_pools(BEFORE, 1, [])
    assert "--executor inline" in caught.value.fix


def test_little_memory_means_fewer_children_and_too_little_is_named() -> None:
    assert size_pools(BEFORE, 100, [(8, 64e9)])["scan"].children == 8
    pools = size_pools(BEFORE, 100, [(8, 4e9)])
    assert pools["scan"].children == pools["text"].children == 3
    assert sum(p.memory for p in pools.values()) <= 4e9
    with pytest.raises(UsageError, match=r"0\.9 GB of memory"):
        size_pools(BEFORE, 100, [(8, 0.9e9)])


def test_networks_get_the_gpus_where_there_are_some() -> None:
    recipe = CurateRecipe.model_validate(
        {
            "features": {"embeddings": {"backend": "openclip", "weights": "some"}},
            "captions": {"captioners": ["vlm"]},
        }
    )

    def pools(stages: tuple[Stage, ...], gpus: float) -> dict[str, object]:
        return size_pools([as_configured(s, recipe) for s in stages], 100, [(64, 256e9)] * 2, gpus)  # type: ignore[return-value]

    assert pools(BEFORE, 16)["embed"].gpus == 1.0  # type: ignore[attr-defined]
    assert pools(BEFORE, 16)["embed"].actors == 16  # type: ignore[attr-defined]
    assert pools(BEFORE, 0)["embed"].gpus == 0.0  # type: ignore[attr-defined]
    shared = size_pools([as_configured(s, recipe) for s in AFTER], 100, [(8, 64e9)], 1)
    assert shared["caption"].gpus + shared["check"].gpus <= 1.0
    assert as_configured(CAPTION, CurateRecipe()).load == "light"


def test_an_endpoint_is_asked_by_one_worker_so_that_its_budget_holds() -> None:
    recipe = CurateRecipe.model_validate(
        {
            "features": {"embeddings": {"backend": "openclip", "weights": "some"}},
            "captions": {"captioners": ["openai"]},
            "check": {"dsg": {"enabled": True, "vision": "openai"}},
        }
    )
    for gpus in (0, 16):
        pools = size_pools([as_configured(s, recipe) for s in AFTER], 100, [(64, 256e9)] * 4, gpus)
        assert pools["caption"].actors == pools["check"].actors == 1

"""From noise to latents: solver, guidance and given frames in one loop.

Room: stiv_train. In: a network, noise, encoded text and, for image to video and its kin, clean frames; out: latents, in which
those frames come back bit for bit. Guidance is computed on velocities, whatever the network predicts.

LEGEND  B batch; C, t, h, w latent channels, frames, rows, columns; M text tokens; D width of the text encoder; P passes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch.nn import functional

from models.text.contract import TextCondition
from schemas.train_recipe import Flow, Sampling
from stiv_train import flow as flows
from stiv_train.conditioning import put
from stiv_train.guidance import Pass, guide, passes

Network = Callable[[torch.Tensor, torch.Tensor, TextCondition, torch.Tensor], torch.Tensor]
"""latents (B, C, t, h, w), time (B,), text, micro (B, 6) → prediction (B, C, t, h, w)."""


@torch.no_grad()
def sample(
    network: Network,
    noise: torch.Tensor,
    text: TextCondition,
    null_text: TextCondition,
    micro: torch.Tensor,
    *,
    given: torch.Tensor | None = None,
    mask: torch.Tensor | None = None,
    flow: Flow,
    sampling: Sampling,
    tokens: int | None = None,
    on_step: Callable[[int, int], None] | None = None,
) -> torch.Tensor:
    """Follow the guided velocity from noise to clean latents.

    Args:
        noise: (B, C, t, h, w), standard normal: where the solver starts.
        text: The captions.
        null_text: The empty caption, B times or once for all.
        micro: (B, 6), the same in every pass.
        given: (B, C, t, h, w) clean latents, read only where ``mask`` is true.
        mask: (B, t) bool: frames that are given (:mod:`stiv_train.conditioning`).
        tokens: Tokens of a sample; needed by ``flow.shift: resolution`` only.
        on_step: Called after each step with the steps done and the steps in all.

    Returns:
        (B, C, t, h, w), like the noise.

    Raises:
        ValueError: only one of ``given`` and ``mask`` was passed.
    """
    if (given is None) != (mask is None):
        raise ValueError("`given` and `mask` belong together: pass both or neither.")
    if mask is None or given is None or not bool(mask.any()):
        mask, given = None, None
    else:
        given = given.to(noise.dtype)
    wanted = passes(sampling.guidance, sampling.image_guidance, image_given=mask is not None)
    conditions = _stacked([text if name == "both" else null_text for name in wanted], len(noise))
    all_micro = micro.repeat(len(wanted), 1)

    def field(x: torch.Tensor, t: float) -> torch.Tensor:
        """The guided velocity, (B, C, t, h, w)."""
        time = torch.full((len(x),), t, dtype=torch.float32, device=x.device)
        inputs = (
            x.repeat(len(wanted), 1, 1, 1, 1) if mask is None else torch.cat([view(name, x, time) for name in wanted])
        )
        times = time.repeat(len(wanted))
        predicted = network(inputs, times, conditions, all_micro).to(x.dtype)
        if flow.target == "clean":
            predicted = flows.from_clean(predicted, inputs, times, nearest=0.0)
        if mask is not None:
            # What is predicted for given frames was never trained and must not count in a norm.
            predicted = predicted.masked_fill(mask.repeat(len(wanted), 1)[:, None, :, None, None], 0.0)
        parts = dict(zip(wanted, predicted.chunk(len(wanted)), strict=True))
        return guide(parts, sampling.guidance, sampling.image_guidance, sampling.renormalise)

    def view(name: Pass, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        """What a pass sees: given frames clean, or, with the image left out, on their way from noise as in training."""
        assert mask is not None
        assert given is not None
        return put(x, flows.path(given, noise, time) if name == "null" else given, mask)

    # A prediction of the clean latent has no velocity at t = 1, where Heun's last step would ask for it.
    made = flows.integrate(
        field,
        noise,
        flows.schedule(sampling.steps, flow, tokens),
        sampling.solver,
        euler_last=flow.target == "clean",
        on_step=on_step,
    )
    return made if mask is None or given is None else put(made, given, mask)


def _stacked(conditions: Sequence[TextCondition], batch: int) -> TextCondition:
    """One condition for all passes: each made up to B samples, padded to the longest M, one below the other. (P·B, M, D).

    One call of the network with P·B samples is quicker than P calls with B as long as B is small, and no slower later.
    """
    longest = max(c.tokens.shape[1] for c in conditions)
    full = [_expanded(c, batch) for c in conditions]
    return TextCondition(
        tokens=torch.cat([functional.pad(c.tokens, (0, 0, 0, longest - c.tokens.shape[1])) for c in full]),
        pooled=torch.cat([c.pooled for c in full]),
        mask=torch.cat([functional.pad(c.mask, (0, longest - c.mask.shape[1])) for c in full]),
    )


def _expanded(condition: TextCondition, batch: int) -> TextCondition:
    return TextCondition(
        condition.tokens.expand(batch, -1, -1), condition.pooled.expand(batch, -1), condition.mask.expand(batch, -1)
    )

"""What `--help` says of each stage that has a command of the same form."""

from __future__ import annotations

STAGE_HELP = {
    "scan": "Decode every planned source once: find shots, measure signals, take stills.",
    "dedup": """Look for duplicates among the clips that the rules so far leave; the best of each cluster is kept.

Exact and near duplicates (re-encoded, resized, letterboxed, watermarked, mirrored or shifted) need no model; semantic ones need vectors,
best of OpenCLIP. The rule `duplicate` of `select` drops what gives way. With more videos only the new clips can give way.

[bold]Examples[/]

  stiv dedup corpus

  stiv dedup corpus --name strict --set dedup.near.max_distance=6

  stiv dedup corpus --name clip --set dedup.semantic.enabled=true --set dedup.semantic.min_cosine=0.95

  stiv query corpus "SELECT duplicate_kind, count(*) FROM duplicates WHERE duplicate_of IS NOT NULL GROUP BY 1"
""",
    "select": "Apply the rules over what was measured, before anything is captioned.",
    "caption": """Give every selected clip a text, by the captioners of the recipe in their order: the first that has one.

What a model answers is kept in `answers/` at once: a killed run, another name or a rewrite asks only what was never asked. With
`budget_usd` a run stops before it would spend more, and goes on when it is run again.

[bold]Examples[/]

  stiv caption corpus

  stiv caption corpus --name qwen --set captions.captioners=\\[openai,describe] --set chat.openai.model=Qwen/Qwen2.5-VL-7B-Instruct --set chat.openai.base_url=http://localhost:8000/v1

  stiv caption corpus --name short --set captions.rewrite.enabled=true --set chat.llm.model=Qwen/Qwen3-8B --set chat.llm.base_url=http://localhost:8001/v1

  stiv query corpus "SELECT captioner, count(*), avg(caption_words) FROM captions GROUP BY captioner"
""",
    "check": """Find out about captions: language, category, agreement with the picture, objects that are not there.

Language and categories by keywords need no model. Agreement is measured where `features` took OpenCLIP. DSG-Video asks a language model
for a question about each object of the caption, and a vision-language model for the answer on each still: `dsg_i` is the share of objects
that no still shows. Answers are kept as those of captioners are, and `budget_usd` holds here, too, for this stage by itself.

[bold]Examples[/]

  stiv check corpus

  stiv check corpus --name dsg --set check.dsg.enabled=true --set check.dsg.vision=openai --set chat.openai.model=Qwen/Qwen2.5-VL-7B-Instruct --set chat.openai.base_url=http://localhost:8000/v1 --set chat.llm.model=Qwen/Qwen3-8B --set chat.llm.base_url=http://localhost:8001/v1

  stiv query corpus "SELECT category, count(*), avg(dsg_i) FROM checks GROUP BY category" --use dsg
""",
    "judge": """Apply the rules over captions and what was found out about them; say the final word on every clip.

A value that was not measured drops nothing. Other thresholds cost seconds: captions and checks stay as they are.

[bold]Examples[/]

  stiv judge corpus

  stiv judge corpus --name strict --use checks=dsg --set judge.hallucinated="dsg_i > 0" --set judge.mismatch="agreement < 0.25"

  stiv judge corpus --name any_language --set judge.caption_language=off --set judge.caption_script=off

  stiv query corpus "SELECT reason, count(*) FROM decisions GROUP BY reason" --use strict
""",
    "export": "Cut the kept clips and pack them into WebDataset tars with an index.",
}
"""Command → its help, with the marks of rich."""

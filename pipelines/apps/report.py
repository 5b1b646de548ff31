"""`stiv report`: one self-contained page about a corpus. It asks nothing of any network, and scripts in data cannot run in it."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from curation import variants
from curation.corpus import VARIANT_TABLES, Corpus
from curation.storage import storage_errors
from curation.views import NAMED, Chosen, choose, connect
from pipelines.apps import charts, report_data, words
from pipelines.apps.balance import CategoryShare, category_balance, flattening_weight
from pipelines.apps.names import use_flag
from pipelines.apps.report_duplicates import EVIDENCE, duplicates
from pipelines.apps.report_sheets import sheets
from pipelines.apps.report_signals import histograms
from pipelines.apps.status_facts import Status, corpus_status
from pipelines.apps.status_steps import Step
from pipelines.apps.verdicts import RuleInForce, rules_in_force
from pipelines.variant_settings import SECTION, recipe_of
from schemas.errors import UsageError
from schemas.train_recipe import Data

NAME = "report.html"

TEMPLATES = Path(__file__).parent / "templates"

SECTIONS = (
    ("funnel", "Funnel"), ("reasons", "Reasons"), ("signals", "Signals"), ("clips", "Clips"), ("duplicates", "Duplicates"),
    ("captions", "Captions"), ("categories", "Categories"), ("shapes", "Footage"), ("errors", "Errors"), ("shards", "Shards"), ("recipe", "Recipe"), ("next", "Next"),
)  # fmt: skip


@dataclass(frozen=True)
class Number:
    """One of the large numbers at the top."""

    label: str
    value: str
    note: str
    kind: str = ""


def write_report(corpus: Corpus, out: Path | None = None, use: Mapping[str, str] | None = None) -> Path:
    """Write the page in one step: to ``out``, or to `report.html` in the corpus.

    Raises:
        UsageError: ``out`` is a folder, or a variant is missing or must be named.
    """
    page = render_report(corpus, use)
    if out is None:
        corpus.store.commit_bytes(NAME, page)
        return Path(corpus.store.full(NAME))
    if out.is_dir():
        raise UsageError(f"`{out}` is a folder.", fix=f"Name a file: --out {out / NAME}.")
    target = out.absolute()
    if corpus.store.local is not None and target.is_relative_to(corpus.store.local):
        corpus.store.commit_bytes(target.relative_to(corpus.store.local).as_posix(), page)
        return target
    with storage_errors(f"Writing `{target}`"):
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = target.with_name(f".{target.name}.tmp")
        scratch.write_bytes(page)
        scratch.replace(target)
    return target


def render_report(corpus: Corpus, use: Mapping[str, str] | None = None) -> bytes:
    """The page as UTF-8. The same corpus gives the same bytes."""
    chosen = choose(corpus, use)
    status = corpus_status(corpus)
    rules = rules_in_force(corpus, chosen)
    with connect(corpus, chosen) as db:
        report_data.tell(db, rules)
        facts = _facts(corpus, db, status, rules, chosen)
    loader = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    loader.filters["in_code"] = in_code
    script, style = _text("script.html"), _text("style.html")
    page = loader.get_template("report.html").render(
        **facts,
        style=Markup(style),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        hours=words.hours,
        share=words.share,
        size=words.size,
        number=words.number,
        share_bar=charts.share_bar,
    )
    return page.encode("utf-8", "backslashreplace")


def in_code(text: str) -> Markup:
    """Text with what stands between backticks set as code."""
    pieces = re.split(r"`([^`]+)`", text)
    return Markup("").join(Markup("<code>{}</code>" if i % 2 else "{}").format(p) for i, p in enumerate(pieces))


def _text(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


def _facts(
    corpus: Corpus, db: duckdb.DuckDBPyConnection, status: Status, rules: Sequence[RuleInForce], chosen: Chosen
) -> dict[str, Any]:
    total = report_data.totals(db)
    reasons = report_data.reasons(db, rules)
    failures = report_data.failures(db)
    flag = use_flag(corpus, chosen)
    alike = duplicates(db)
    balance = category_balance(corpus, chosen)
    return {
        "title": os.path.basename(corpus.store.uri.rstrip("/")) or corpus.store.uri,
        "lede": _lede(status, total),
        "status": status,
        "use": chosen.names,
        "use_flag": flag,
        "where": shlex.quote(status.corpus),
        "sections": SECTIONS,
        "numbers": _numbers(status, total, chosen["shards"]),
        "total": total,
        "rules": rules,
        "sql_of": {r.name: r.drop for r in reversed(rules)},
        "funnel": report_data.funnel(status, total, reasons, sum(n for _, n, _ in failures)),
        "reasons": reasons,
        "histograms": [(h, charts.histogram(h)) for h in histograms(db, rules)],
        "duplicates": alike,
        "evidence": EVIDENCE,
        "sheets": sheets(corpus, chosen, db, rules, alike.shown if alike else ()),
        "captions": report_data.captions(db),
        "balance": balance,
        "weight": _weight(corpus, balance or (), _exported(corpus, chosen)),
        "shapes": report_data.shapes(db),
        "how": report_data.exported_how(db),
        "failures": failures,
        "recipe": _recipe(corpus, chosen),
        "fingerprints": _fingerprints(corpus),
        "commands": _commands(status, flag),
    }


def _exported(corpus: Corpus, chosen: Chosen) -> str | None:
    """The shards that were made from the chosen decisions."""
    name = chosen["shards"]
    if name is None or variants.need(corpus, "shards", name).inputs["decisions"]["name"] != chosen["decisions"]:
        return None
    return name


def _weight(corpus: Corpus, balance: Sequence[CategoryShare], shards: str | None) -> str | None:
    """A command that shows each category as often as the others.

    None where there are no two of them, and before there are ``shards`` to choose from.
    """
    if shards is None or sum(row.category is not None and row.clips > 0 for row in balance) < 2:
        return None
    setting = f"data.weight={flattening_weight(balance)}"
    # Double quotes read better around SQL; what a shell would look at inside them needs the others.
    quoted = shlex.quote(setting) if set(setting) & set('"$`!\\') else f'"{setting}"'
    named = "" if shards == Data().shards else f" --set data.shards={shards}"
    return f"stiv data-plan {shlex.quote(corpus.store.uri)}{named} --set {quoted}"


def _lede(status: Status, total: report_data.Totals) -> Markup:
    """One sentence that says how it went."""
    if not status.scanned_parts:
        return Markup("<b>{}</b> are planned; none has been read yet.").format(
            words.plural(status.planned_sources, "source")
        )
    text = Markup("<b>{}</b> of video became <b>{}</b>").format(
        words.hours(status.source_seconds), words.plural(total.all.clips, "clip")
    )
    if total.kept.clips or total.dropped.clips:
        kept = Markup("<b>{}</b> of them ({}, {}) {} kept").format(
            f"{total.kept.clips:,}",
            words.share(total.kept.clips, total.all.clips),
            words.hours(total.kept.seconds),
            "is" if total.kept.clips == 1 else "are",
        )
        text += Markup("; ") + (
            kept
            if total.kept.clips
            else Markup("none of them {} kept").format("has been" if total.open.clips else "was")
        )
    if total.open.clips:
        text += Markup("; {} not decided yet").format(
            f"{total.open.clips:,} {'is' if total.open.clips == 1 else 'are'}"
        )
    return text + Markup(".")


def _numbers(status: Status, total: report_data.Totals, shards: str | None) -> list[Number]:
    mine = [s for s in status.shards if s.name == shards]
    read = sum(status.sources.values())
    errors, partial = status.sources.get("error", 0), status.sources.get("partial", 0)
    tars = sum(s.finished for s in mine), sum(s.planned for s in mine)
    size = sum(s.bytes for s in mine)
    found = Number("Found", f"{status.planned_sources:,}", f"sources, {words.size(status.planned_bytes)}")
    if not status.scanned_parts:
        return [found, *(Number(label, "–", "not yet") for label in ("Read", "Failed", "Clips", "Kept", "Exported"))]
    kept = f"clips, {words.share(total.kept.clips, total.all.clips)}, {words.hours(total.kept.seconds)}"
    exported = f"in {tars[0]:,} of {words.plural(tars[1], 'tar')}, {words.size(size)}"
    decided = total.kept.clips + total.dropped.clips
    return [
        found,
        Number("Read", f"{read - errors:,}", f"sources, {words.hours(status.source_seconds)} of video"),
        Number("Failed", f"{errors:,}", f"sources; {partial:,} in part", "bad" if errors else ""),
        Number("Clips", f"{total.all.clips:,}", words.hours(total.all.seconds)),
        Number("Kept", f"{total.kept.clips:,}", kept, "good") if decided else Number("Kept", "–", "not yet"),
        Number("Exported", f"{total.exported.clips:,}", exported)
        if status.shards
        else Number("Exported", "–", "not yet"),
    ]


def _recipe(corpus: Corpus, chosen: Chosen) -> str:
    found = {table: variants.need(corpus, table, name) if (name := chosen[table]) else None for table in SECTION}
    data = recipe_of(corpus, found)
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=110)


def _fingerprints(corpus: Corpus) -> list[dict[str, str]]:
    found = [{"what": "scan", "name": "", "fingerprint": corpus.facts["fingerprint"], "made_from": "", "stale": ""}]
    for table in (*VARIANT_TABLES, "shards"):
        for name in corpus.variants(table):
            variant = variants.need(corpus, table, name)
            made_from = ", ".join(f"{t} {i['name']}" for t, i in sorted(variant.inputs.items()) if t in NAMED)
            found.append(
                {
                    "what": table,
                    "name": name,
                    "fingerprint": variant.fingerprint,
                    "made_from": made_from,
                    "stale": "; ".join(variants.stale_reasons(corpus, variant)),
                }
            )
    return found


def _commands(status: Status, flag: str) -> list[Step]:
    """What is unfinished, then what one usually wants to know."""
    where = shlex.quote(status.corpus)
    steps = [Step(s.command, s.why[:1].upper() + s.why[1:] + ".") for s in status.next]
    if status.clips:
        steps += [
            Step(
                f"stiv explain {where} CLIP_ID{flag}",
                "Tell the whole story of one clip: click an id above to copy its command.",
            ),
            Step(
                f'stiv query {where} "SELECT reason, count(*) AS clips, sum(duration_s) / 3600 AS hours FROM clips_all WHERE NOT kept GROUP BY reason ORDER BY clips DESC"{flag}',
                "Ask anything of every column, in SQL.",
            ),
            Step(
                f"stiv select {where} --name strict --set select.blurred='sharpness < 0.3'",
                "Try other thresholds under another name, beside what is there.",
            ),
        ]
    return steps

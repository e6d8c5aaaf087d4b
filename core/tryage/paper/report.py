"""The report: one HTML page that needs nothing else, and the same as files."""

from __future__ import annotations

import csv
import html
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tryage.errors import SaveFailed
from tryage.paper import figures
from tryage.paper.page import CAPTIONS, HEAD, LABELS, PAPER, TARGETS
from tryage.predictors.staging import staged

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from tryage.paper.outcome import Outcome, Row

HTML_FILE = "report.html"
RESULTS_FILE = "results.json"

_PERCENT = ("accuracy", "gap_closed", "of_best_single", "change", "1_percent", "to_")


@dataclass(frozen=True)
class Run:
    """What was run.

    Attributes:
        digest: The hash of the settings, which names the run's folder.
        settings: The settings as plain JSON values.
        seconds: How long each stage took, by name.
        machine: In words.
        started: When, as text.
    """

    digest: str
    settings: Mapping[str, Any]
    seconds: Mapping[str, float] = field(default_factory=dict)
    machine: str = ""
    started: str = ""


def write_report(outcome: Outcome, run: Run, folder: Path) -> dict[str, Any]:
    """Write the page, the figures and the tables into a folder; return what `results.json` holds.

    Args:
        outcome: What was found.
        run: What was run.
        folder: Made if it is not there. If the disc is full, what was in it before stays.

    Raises:
        SaveFailed: The files cannot be written.
        MissingExtra: Figures need `pip install 'tryage[train]'`.
    """
    figures.check_matplotlib()
    drawn, method = draw(outcome)
    tables = outcome.tables()
    files = {
        "report": HTML_FILE,
        "results": RESULTS_FILE,
        "tables": [f"tables/{name}.csv" for name in tables],
        "figures": [f"figures/{name}.{form}" for name in drawn for form in ("svg", "png")],
    }
    record = {
        "results": outcome.results(),
        "tables": tables,
        "run": asdict(run),
        "embedding_method": method,
        "paper": {"source": PAPER.source, "reported": dict(PAPER.reported)},
        "files": files,
    }
    try:
        with staged(folder) as fresh:
            for part in ("tables", "figures"):
                (fresh / part).mkdir()
            for name, rows in tables.items():
                text = _csv(rows)
                (fresh / "tables" / f"{name}.csv").write_text(text, encoding="utf-8", newline="")
            for name, figure in drawn.items():
                figures.write(figure, fresh / "figures", name)
            text = json.dumps(record, indent=1, allow_nan=False) + "\n"
            (fresh / RESULTS_FILE).write_text(text, encoding="utf-8")
            (fresh / HTML_FILE).write_text(page(outcome, run, drawn, method), encoding="utf-8")
    except OSError as error:
        raise SaveFailed(
            f"{folder}: the report cannot be written ({error}); make room, or give another --out, "
            "and run it again: what was computed is kept."
        ) from error
    return record


def draw(outcome: Outcome) -> tuple[dict[str, Figure], str]:
    """Return the figures by name, and the method that the embedding is shown by."""
    seen = outcome.embedding
    purities = (seen.purity_before, seen.purity_after)
    embedding, method = figures.embeddings(
        seen.before, seen.after, outcome.bench.table.domains, purities
    )
    return {
        "performance": figures.performance(outcome.bench, outcome.domains),
        "allocation": figures.allocations(outcome.bench.cards.names, outcome.routed, outcome.best),
        "embedding": embedding,
        "front": figures.front(outcome.bench, outcome.front, outcome.stages, outcome.saving.weight),
    }, method


def page(outcome: Outcome, run: Run, drawn: Mapping[str, Figure], method: str) -> str:
    """Return the page as HTML."""
    tables = outcome.tables()
    experts = len(outcome.bench.cards)
    n_prompts = len(outcome.bench.table)
    parts = [
        HEAD,
        "<main>",
        "<header><h1>Tryage, the paper’s experiment, run here</h1>",
        f"<p class=lead>{experts} masked language models, {len(outcome.domains)} kinds of text, "
        f"{n_prompts:,} test prompts. Everything on this page was measured in this run unless it "
        "stands under “What the paper reports”.</p>",
        f"<p class=meta>settings <code>{_text(run.digest)}</code>"
        f"{' · ' + _text(run.started) if run.started else ''}"
        f"{' · ' + _text(run.machine) if run.machine else ''}</p></header>",
        "<section><h2>What was asked, and what came out</h2>",
        _verdicts(outcome),
        "</section>",
        "<section><h2>Ways of choosing</h2>",
        "<p>Each on the same prompts, with 95 % bootstrap intervals over prompts. "
        f"<b>{_text(_label(outcome.headline))}</b> did best on the validation prompts; figures and "
        "flags below are of it.</p>",
        _table(tables["ways"], "way", highlighted=outcome.headline),
        _details("Its lead over others, prompt by prompt", _table(tables["leads"], "over")),
        _details("Every seed by itself", _table(tables["seeds"])),
        _details("By length of the prompt", _table(tables["lengths"])),
        "</section>",
        *(
            f"<section><h2>{title}</h2><figure><div class=scroll>"
            f"{figures.inline(drawn[name], name, title)}</div>"
            f"<figcaption>{_caption(text, outcome, method)}</figcaption></figure></section>"
            for name, (title, text) in CAPTIONS.items()
        ),
        "<section><h2>Flags in the prompt</h2>",
        "<p>The mark stands before every prompt, is read and taken out, and decides with the same "
        "objective as everywhere in Tryage.</p>",
        _table(tables["marks"], "mark"),
        "</section>",
        _joint(outcome, tables),
        "<section><h2>What the paper reports</h2>",
        f"<p>{_text(PAPER.source)} None of it was measured here, on other experts and other text; "
        "it must not be set beside the figures above as if it were one experiment.</p>",
        _table([{"what": what, "reported": value} for what, value in PAPER.reported.items()]),
        "</section>",
        "<section><h2>What was run</h2>",
        _table([{"stage": name, "seconds": s} for name, s in run.seconds.items()]),
        _details("Settings", f"<pre>{_text(json.dumps(run.settings, indent=1))}</pre>"),
        "</section></main>",
    ]
    return "\n".join(parts) + "\n"


def _verdicts(outcome: Outcome) -> str:
    """Return a tile for each target: what was wanted, what was measured, whether it was met."""
    found = outcome.results()
    tiles = []
    for target in TARGETS:
        if target.name not in found:
            continue
        value, ends = found[target.name], found["intervals"].get(target.name)
        met = target.met(found)
        tiles.append(
            f"<div class='tile {'met' if met else 'missed'}'><h3>{target.title}</h3>"
            f"<p class=value>{_number(target.name, value)}</p>"
            f"<p class=range>{_range(target.name, ends)}</p>"
            f"<p>{target.wanted(found)}</p><p class=verdict>{'met' if met else 'not met'}</p></div>"
        )
    return f"<div class=tiles>{''.join(tiles)}</div>"


def _joint(outcome: Outcome, tables: Mapping[str, Sequence[Row]]) -> str:
    if outcome.joint is None:
        return ""
    plan, saved = outcome.joint.plan, outcome.joint.saved
    low, high = outcome.joint.saved_interval
    n_prompts = len(outcome.joint.arms["joint"][0].losses)
    verdict = (
        "does better" if low > 0 else "does worse" if high < 0 else "makes no clear difference"
    )
    return (
        "<section><h2>Joint training</h2><p>Experts learn on what is routed to them while the "
        "router follows their losses; apart, each passage goes to an expert of its domain by "
        f"chance, and the router learns afterwards. Both take {plan.rounds * plan.expert_steps:,} "
        f"expert steps and {plan.rounds * plan.router_steps:,} router steps of {plan.batch_size} "
        f"passages, and are measured on {n_prompts:,} of the test prompts. "
        f"Joint training {verdict}: it saves {saved:+.4f} nats [{low:+.4f}, {high:+.4f}]."
        f"</p>{_table(tables['joint'], 'training')}</section>"
    )


def _caption(text: str, outcome: Outcome, method: str) -> str:
    seen, saving = outcome.embedding, outcome.saving
    low, high = seen.gain_interval
    return text.format(
        method=method,
        gain=f"{seen.gain:+.3f} [{low:+.3f}, {high:+.3f}]",
        weight=f"{saving.weight:.3g}",
        share=f"{saving.of_best_single:.0%}",
        change=f"{saving.accuracy_change:+.1%}",
        from_single=f"{saving.change_from_best_single:+.1%}",
    )


def _table(rows: Sequence[Row], first: str = "", highlighted: str = "") -> str:
    """Return rows as a table; a value's interval stands in small print beneath it."""
    if not rows:
        return ""
    names = [n for n in rows[0] if not n.endswith(("_low", "_high"))]
    head = "".join(f"<th>{_text(_label(name))}</th>" for name in names)
    body = []
    for row in rows:
        cells = []
        for name in names:
            ends = [row[f"{name}{end}"] for end in ("_low", "_high") if f"{name}{end}" in row]
            small = f"<small>{_range(name, ends)}</small>" if ends else ""
            value = row[name]
            shown = _label(value) if name in (first, "router") else _number(name, value)
            kind = "" if isinstance(value, str) else " class=number"
            cells.append(f"<td{kind}>{_text(shown)}{small}</td>")
        mark = " class=highlighted" if highlighted and row.get(first) == highlighted else ""
        body.append(f"<tr{mark}>{''.join(cells)}</tr>")
    return (
        f"<div class=scroll><table><thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def _details(title: str, inside: str) -> str:
    return f"<details><summary>{title}</summary>{inside}</details>"


def _label(name: object) -> str:
    words = str(name)
    if words.startswith("to_"):
        return f"→ {words[3:]}"
    return LABELS.get(words, words.replace("_", " "))


def _number(name: str, value: object) -> str:
    """Return a value as the page shows it, by what it is."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, int | float):
        return str(value)
    if "tokens" in name or name in ("prompts", "seed") or name.endswith("steps"):
        return f"{value:,.0f}"
    if "parameters" in name and "1_percent" not in name:
        return f"{value / 1e6:.2f} M"
    if name == "seconds":
        return f"{value:,.1f}"
    if any(part in name for part in _PERCENT) or name in ("routed", "best", "perceptive"):
        return f"{value:.1%}"
    return f"{value:.3f}"


def _range(name: str, ends: Sequence[float] | None) -> str:
    return f"[{_number(name, ends[0])}, {_number(name, ends[1])}]" if ends else ""


def _csv(rows: Sequence[Row]) -> str:
    buffer = io.StringIO()
    if rows:
        writer = csv.DictWriter(buffer, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return buffer.getvalue()


def _text(given: object) -> str:
    return html.escape(str(given))

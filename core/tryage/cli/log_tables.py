"""What `tryage log` prints for people."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tryage.cli.keeping import narrow_table

if TYPE_CHECKING:
    from tryage.cards import ModelCard
    from tryage.gateway.record.reading import Sum

_ID = 8  # of an id's characters, which are enough for `tryage log score`


def show_entries(found: list[dict[str, Any]]) -> None:
    """Print entries as a table."""
    from rich.console import Console
    from rich.text import Text

    today, keyed = datetime.now(UTC).date().isoformat(), any(entry["key"] for entry in found)
    table = narrow_table(
        f"the latest {len(found)} requests; UTC",
        ["time", "id"],
        [*(["key"] if keyed else []), "asked", "answer"],
        ["in/out", "USD", "s"],
    )
    for entry in found:
        day, _, time = entry["time"].partition("T")
        key = entry["key_name"] or entry["key"] or "–"
        told = (entry["model"], entry["error"])
        table.add_row(
            time[:8] if day == today else day,
            entry["id"][:_ID],
            *([Text(key)] if keyed else []),
            Text(entry["asked"]),
            Text(", ".join(part for part in told if part)),
            f"{_number(entry['input_tokens'])}/{_number(entry['output_tokens'])}",
            _number(entry["cost_usd"], 6),
            _number(entry["seconds"], 2),
        )
    Console(highlight=False).print(table)


def show_sums(groups: list[Sum], total: Sum, by: str | None, reference: ModelCard | None) -> None:
    """Print sums as a table, the total last."""
    from rich.console import Console

    saved = [] if reference is None else ["saved"]
    table = narrow_table(
        None if reference is None else f"USD, saved against {reference.name}",
        [],
        [by or ""],
        ["requests", "errors", "tokens in", "out", "USD", *saved, "p50 s", "p99 s"],
    )
    for one in [*groups, total]:
        shown = one.as_json()
        table.add_row(
            "all" if one is total else one.group or "–",
            f"{one.requests:,}",
            f"{shown['error_share']:.1%}",
            f"{one.input_tokens:,}",
            f"{one.output_tokens:,}",
            f"{one.cost_usd:.4f}",
            *([] if reference is None else [_number(one.saved_usd, 4)]),
            _number(shown["p50_s"], 2),
            _number(shown["p99_s"], 2),
        )
    Console(highlight=False).print(table)
    if total.unpriced:
        print(f"{total.unpriced:,} answers of unknown cost are not in the USD")  # noqa: T201


def _number(value: float | None, digits: int = 0) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"

"""`tryage models`: what the library holds."""

from __future__ import annotations

from tryage.cli.options import AsJson, LibraryFile, library_from, print_json


def models(library: LibraryFile = None, json: AsJson = False) -> None:
    """List the models of the library with what is known of each.

    Example: tryage models --json
    """
    cards = library_from(library)
    if json:
        print_json({"models": [card.as_json() for card in cards]})
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{len(cards)} models; – is not known", title_justify="left")
    for column in ("model", "provider", "released"):
        table.add_column(column)
    for column in ("parameters", "context", "$ in / out per Mtok"):
        table.add_column(column, justify="right")
    table.add_column("can")
    for card in cards:
        table.add_row(
            card.name,
            card.provider or "–",
            str(card.released or "–"),
            _short(card.parameters),
            _short(card.context_tokens),
            f"{_price(card.input_usd_per_mtok)} / {_price(card.output_usd_per_mtok)}",
            "–" if card.capabilities is None else " ".join(sorted(card.capabilities)),
        )
    Console().print(table)


def _short(count: float | None) -> str:
    """Return a count as people write it: 7B, 128k."""
    if count is None:
        return "–"
    for unit, size in (("T", 1e12), ("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= size:
            return f"{count / size:.3g}{unit}"
    return f"{count:.0f}"


def _price(usd: float | None) -> str:
    return "–" if usd is None else f"{usd:g}"

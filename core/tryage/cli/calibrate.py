"""`tryage calibrate` and `tryage anchors`: a new model, placed by its scores on a few prompts."""

from __future__ import annotations

import json as json_format
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from tryage import predictors
from tryage.cards import ModelCard
from tryage.cli.learning import say
from tryage.cli.options import AsJson, LibraryFile, library_from, print_json
from tryage.data.anchors import AnchorList
from tryage.data.table import PerformanceTable
from tryage.errors import SaveFailed, UsageError
from tryage.library import Library
from tryage.predictors.default import DefaultPredictor
from tryage.predictors.staging import staged

NEIGHBOURS = 3
"""Known models that are shown beside the new one."""

PredictorFolder = Annotated[
    Path | None,
    typer.Option(
        "--predictor", metavar="DIR", help="A default predictor that was saved; else the bundled."
    ),
]


def calibrate(
    model: Annotated[str, typer.Option(metavar="NAME", help="The new model, as in the table.")],
    table: Annotated[Path, typer.Option(metavar="FILE", help="Its scores, and others' beside it.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the grown predictor goes.")],
    predictor: PredictorFolder = None,
    library: LibraryFile = None,
    json: AsJson = False,
) -> None:
    """Place a new model among the known ones, from its scores on anchor prompts.

    Thirty prompts from `tryage anchors` are enough, or a hundred others. How hard they are is read
    from what known models scored on them: give those rows in the same table, and more of them on
    other prompts if you have them. For the prompts that ship, those scores ship too. The model's
    card, if the library has one, says where to begin.

    Example: tryage calibrate --model my-model --table scores.csv --out grown
    """
    known, cards = _default_predictor(predictor), library_from(library)
    card = cards.find(model) if model in cards else ModelCard(name=model)
    scores = AnchorList.bundled().beside(PerformanceTable.read(table, extras=()))
    column = scores.only([_column(card, scores) or model]).scores[:, 0]
    mine = scores.rows(np.flatnonzero(~np.isnan(column)))
    names = known.known_.keys() | {name.lower() for name in known.models}
    beside = [m for m in scores.models if m.lower() in names and m != _column(card, scores)]
    say(f"placing {model} by {len(mine)} scores, beside {len(beside)} known models")
    grown = known.place(card, scores)
    found = _compare(known, grown, card, mine) | {
        "model": card.name,
        "out": str(out),
        "n_scores": len(mine),
        "n_beside": len(beside),
        "mean_score": round(float(np.nanmean(column)), 4),
    }
    try:
        with staged(out) as fresh:
            grown.save(fresh)
    except OSError as error:
        raise SaveFailed(
            f"--out {str(out)!r} cannot be written: {error}. What stood there is unchanged; "
            "make room, or give another folder."
        ) from error
    if json:
        print_json(found)
    else:
        _show(found)


def anchors(
    out: Annotated[Path, typer.Option(metavar="FILE", help="JSONL file to write.")],
    table: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Choose from its prompts, by its scores if it has some."),
    ] = None,
    k: Annotated[int, typer.Option("--k", metavar="N", help="How many prompts.")] = 30,
    source: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="MMLU-Pro's Parquet file, where you have it."),
    ] = None,
    predictor: PredictorFolder = None,
    json: AsJson = False,
) -> None:
    """Write the prompts that tell most about a new model, for you to run it on.

    Without --table they are questions of MMLU-Pro, fetched from its public source, with the right
    answers. Score the model's answers in [0, 1], then `tryage calibrate`.

    Example: tryage anchors --table scores.csv --k 30 --out anchors.jsonl
    """
    if table is not None:
        read = PerformanceTable.read(table, extras=())
        chosen = _default_predictor(predictor).informative(read, k)
        rows = [
            {"prompt_id": number, "prompt": prompt, "domain": domain}
            for number, prompt, domain in zip(
                chosen.prompt_ids, chosen.prompts, chosen.domains, strict=True
            )
        ]
    else:
        listed = AnchorList.bundled()
        if not 1 <= k <= len(listed.question_ids):
            raise UsageError(f"--k {k}: the list that ships has 1 to {len(listed.question_ids)}.")
        rows = [vars(prompt) for prompt in listed.prompts(source)[:k]]
    lines = [json_format.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    try:
        out.write_text("".join(lines), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write to --out {str(out)!r}: {error}.") from error
    if json:
        print_json({"out": str(out), "n_prompts": len(rows)})
    else:
        print(f"{len(rows)} prompts in {out}; run the model on them, score its answers, then: "  # noqa: T201
              "tryage calibrate")  # fmt: skip


def _default_predictor(folder: Path | None) -> DefaultPredictor:
    if folder is None:
        return DefaultPredictor.bundled()
    loaded = predictors.load(folder)
    if not isinstance(loaded, DefaultPredictor):
        raise UsageError(
            f"--predictor {str(folder)!r} holds a {loaded.name!r} predictor; only a 'default' one "
            "can place a new model. Train one: tryage train --predictor default."
        )
    return loaded


def _column(card: ModelCard, table: PerformanceTable) -> str | None:
    names = {name.lower() for name in (card.name, *card.aliases)}
    return next((m for m in table.models if m.lower() in names), None)


def _compare(
    before: DefaultPredictor, after: DefaultPredictor, card: ModelCard, mine: PerformanceTable
) -> dict[str, Any]:
    """Return the predicted means of the new model and of those nearest to it, on its prompts."""
    prompts, library = mine.prompts, Library([card])
    theirs = before.predict(prompts)
    by_card = before.for_library(library).predict(prompts)[:, 0]
    placed = after.for_library(library).predict(prompts)[:, 0]
    distance = np.abs(theirs - placed[:, None]).mean(axis=0)
    distance[[i for i, name in enumerate(before.models) if name == card.name]] = np.inf
    means = theirs.mean(axis=0)
    return {
        "predicted": round(float(placed.mean()), 4),
        "predicted_by_card": round(float(by_card.mean()), 4),
        "better_than": int((means < placed.mean()).sum()),
        "n_known": len(before.models),
        "nearest": [
            {"model": before.models[i], "predicted": round(float(means[i]), 4)}
            for i in np.argsort(distance)[:NEIGHBOURS].tolist()
        ],
    }


def _show(found: dict[str, Any]) -> None:
    from rich.console import Console

    near = ", ".join(f"{n['model']} ({n['predicted']:.3f})" for n in found["nearest"])
    if not found["n_beside"]:
        Console(stderr=True, highlight=False).print(
            "no known model stands beside it in the table, so that how hard the prompts are is a "
            "guess from their text; add rows of known models",
            style="dim",
            soft_wrap=True,
        )
    Console(highlight=False).print(
        f"[bold]{found['model']}[/bold] scored {found['mean_score']:.3f} on {found['n_scores']} "
        f"prompts; its card foretold {found['predicted_by_card']:.3f} there, and the predictor now "
        f"expects {found['predicted']:.3f}\n"
        f"above {found['better_than']} of {found['n_known']} known models; nearest: {near}\n"
        f"saved in {found['out']}; decide with it: tryage route --predictor {found['out']} PROMPT",
        soft_wrap=True,
    )

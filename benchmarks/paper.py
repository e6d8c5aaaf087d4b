"""The paper's experiment, in full: what `tryage paper` finds, as text.

    python benchmarks/paper.py [--out DIR]

Needs the shared text and `pip install 'tryage[train]'`; takes about forty minutes on two cores. A
run that broke off in DIR goes on. All that is chosen is chosen on validation documents. Writes
`results/paper.md`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from report import write

from tryage.paper.experiment import run
from tryage.paper.settings import Settings

WAYS = {
    "random": "random",
    "best_single": "best single",
    "descriptions": "model descriptions, by embedding",
    "keywords": "model descriptions, by keywords",
    "knn": "kNN",
    "ridge": "ridge",
    "default": "Tryage's default predictor",
    "mse": "**perceptive**, by squared error",
    "ranking": "**perceptive**, by ranking",
    "per_domain_best": "best of the domain, told it",
    "oracle": "oracle",
}
COLUMNS = {
    "selection_accuracy": ("picks a best expert", "{:.1%}"),
    "mean_loss": ("loss, nats", "{:.3f}"),
    "oracle_gap_closed": ("of the way to the oracle", "{:.1%}"),
    "masked_accuracy": ("words right", "{:.1%}"),
    "mean_parameters": ("mean parameters", "{:.3g}"),
}


def main() -> None:
    """Run it and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out/paper"))
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    settings = Settings.full()
    found = run(settings, out, lambda step: print(step, flush=True))
    tables, results = found["tables"], found["results"]
    measured = {row["way"]: row for row in tables["ways"]}
    write(
        "paper",
        f"The paper's experiment: {len(settings.experts)} experts, "
        f"{sum(row['prompts'] for row in tables['lengths']):,} test prompts of "
        f"{len(settings.corpora)} domains; 95 % bootstrap intervals over prompts",
        ["how the expert is chosen", *(head for head, _ in COLUMNS.values())],
        [[name, *_cells(measured[way])] for way, name in WAYS.items() if way in measured],
        below=_below(results, tables, found["run"]["seconds"]),
    )


def _cells(row: dict[str, float]) -> list[str]:
    """Return each measure with its interval."""
    return [
        f"{form.format(row[name])} "
        f"[{form.format(row[f'{name}_low'])}, {form.format(row[f'{name}_high'])}]"
        for name, (_, form) in COLUMNS.items()
    ]


def _below(results: dict[str, Any], tables: dict[str, Any], seconds: dict[str, float]) -> list[str]:
    """Return what stands below the table, a paragraph each."""
    ends = results["intervals"]
    lead = next(row for row in tables["leads"] if row["over"] == "per_domain_best")
    seeds = "; ".join(
        f"{row['router']} {row['seed']}: {row['selection_accuracy']:.1%}, {row['mean_loss']:.4f}"
        for row in tables["seeds"]
    )
    small, gain, joint = (
        f"[{ends[name][0]:{form}}, {ends[name][1]:{form}}]"
        for name, form in (
            ("parameters_at_1_percent", ".1%"),
            ("purity_gain", "+.4f"),
            ("joint_loss_saved", "+.4f"),
        )
    )
    return [
        f"`{results['router']}` did best on validation. Over the best of the domain, told it, its "
        f"lead is {lead['selection_accuracy']:+.1%} of the prompts "
        f"[{lead['selection_accuracy_low']:+.1%}, {lead['selection_accuracy_high']:+.1%}], and "
        f"{lead['loss']:+.4f} nats [{lead['loss_low']:+.4f}, {lead['loss_high']:+.4f}].",
        f"Router and seed, share that picks a best expert, loss: {seeds}.",
        "At the λ on size that costs at most 1 % of the words on validation: "
        f"{results['parameters_at_1_percent']:.1%} {small} of the best single expert's parameters. "
        f"Domain purity of the router's embedding over the untrained encoder's: "
        f"{results['purity_gain']:+.4f} {gain}. Loss that joint training saves over training apart "
        f"with the same steps, on a third of the prompts: "
        f"{results['joint_loss_saved']:+.4f} {joint}.",
        "By length in tokens, share that picks a best expert (the router; the best of the domain): "
        + "; ".join(
            f"{row['from_tokens']}-{row['to_tokens']}: {row[results['router']]:.1%}, "
            f"{row['per_domain_best']:.1%}"
            for row in tables["lengths"]
        )
        + ".",
        "Seconds: " + ", ".join(f"{stage} {taken:.0f}" for stage, taken in seconds.items()) + ".",
    ]


if __name__ == "__main__":
    main()

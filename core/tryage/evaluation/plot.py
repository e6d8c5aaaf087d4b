"""The cost-quality curves of an evaluation, as a picture."""

from __future__ import annotations

from pathlib import Path

from tryage.errors import MissingExtra, SaveFailed, UsageError
from tryage.evaluation.evaluate import OWN
from tryage.evaluation.report import Evaluation

SUFFIXES = (".png", ".svg", ".pdf")


def check_plot(file: Path) -> None:
    """Raise the error that drawing to this file would end in, before the work is done.

    Raises:
        UsageError: The file's name has no known ending, or its folder does not exist.
        MissingExtra: Plots need `pip install 'tryage[train]'`.
    """
    if file.suffix.lower() not in SUFFIXES:
        raise UsageError(f"--plot {str(file)!r}: give a file that ends in {', '.join(SUFFIXES)}.")
    if not file.parent.is_dir():
        raise UsageError(f"--plot {str(file)!r}: there is no folder {str(file.parent)!r}; make it.")
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise MissingExtra("plots need matplotlib: pip install 'tryage[train]'.") from error


def plot(evaluation: Evaluation, file: Path) -> None:
    """Draw mean quality over mean cost, as an answer is worth less and less, into a file.

    Args:
        evaluation: One with curves: where every model's cost is known.
        file: `.png`, `.svg` or `.pdf`.

    Raises:
        UsageError: There are no curves; says why.
        SaveFailed: The file cannot be written.
    """
    if not evaluation.curves:
        raise UsageError(f"there is no curve to plot: {evaluation.notes['aiq']}")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for name, curve in evaluation.curves.items():
        own = name == OWN
        thousandfold = [1000 * usd for usd in curve.cost_usd]
        axes.plot(
            thousandfold,
            curve.quality,
            label=evaluation.name if own else f"{name} (baseline)",
            linewidth=2.5 if own else 1,
            color="black" if own else None,
            marker="o" if len(set(thousandfold)) == 1 else None,
            zorder=3 if own else 2,
        )
    axes.set_xlabel("USD per 1,000 calls")
    axes.set_ylabel("mean quality")
    axes.set_title(f"{evaluation.n_test:,} prompts, {len(evaluation.models)} models")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    try:
        figure.savefig(file, dpi=150)
    except OSError as error:
        raise SaveFailed(f"{file}: cannot be written: {error}. Give another --plot.") from error

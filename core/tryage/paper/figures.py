"""The experiment's figures, each as the paper has it, on our own experts and text.

Colours are told apart by all common kinds of colour vision (Paul Tol's muted scheme), and texts
and lines take the colour of the page that a figure stands on (see `inline`).
"""

from __future__ import annotations

import functools
import io
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from tryage.errors import MissingExtra
from tryage.paper.results import Bench
from tryage.paper.sweep import Point

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HUES = (
    "#4477aa", "#cc6677", "#ddcc77", "#117733", "#88ccee", "#aa4499", "#44aa99", "#999933",
    "#882255", "#7f7f7f", "#e68a3c", "#6a5acd",
)  # fmt: skip

_INK = "#1f2328"
_SETTINGS = {
    "svg.fonttype": "none",  # texts stay texts: small, sharp, and in the page's own type
    "svg.hashsalt": "tryage",  # the same figure gives the same file
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": _INK,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "xtick.color": _INK,
    "ytick.color": _INK,
    "grid.color": _INK,
    "grid.alpha": 0.15,
    "legend.frameon": False,
    "legend.fontsize": 8,
}
_CROWD = 1500  # points in a panel at most: more tell no more

P = ParamSpec("P")
R = TypeVar("R")


def _styled(draw: Callable[P, R]) -> Callable[P, R]:
    """Return the function drawing in our style, which it leaves nowhere else."""

    @functools.wraps(draw)
    def styled(*args: P.args, **kwargs: P.kwargs) -> R:
        import matplotlib

        with matplotlib.rc_context(_SETTINGS):
            return draw(*args, **kwargs)

    return styled


def check_matplotlib() -> None:
    """Raise the error that drawing would end in, before the work is done.

    Raises:
        MissingExtra: Figures need `pip install 'tryage[train]'`.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise MissingExtra("figures need matplotlib: pip install 'tryage[train]'.") from error


@_styled
def performance(bench: Bench, by_domain: Mapping[str, Mapping[str, Mapping[str, float]]]) -> Figure:
    """Return the heat map of masked accuracy by domain and expert, the routed system last."""
    names = list(next(iter(by_domain.values())))
    values = 100 * np.array(
        [[cells[name]["masked_accuracy"] for name in names] for cells in by_domain.values()]
    )
    figure, axes = _canvas(0.62 * len(names) + 1.6, 0.42 * len(by_domain) + 1.6)
    image = axes.imshow(values, cmap="cividis", aspect="auto")
    axes.set_xticks(range(len(names)), names, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(by_domain)), list(by_domain))
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    middle = (values.max() + values.min()) / 2
    n_experts = len(bench.cards)
    for row, column in np.ndindex(values.shape):
        best = values[row, column] >= values[row, :n_experts].max() - 1e-9
        axes.text(
            column,
            row,
            f"{values[row, column]:.0f}",
            ha="center",
            va="center",
            fontsize=8,
            weight="bold" if best else "normal",
            color="#000001" if values[row, column] > middle else "#fffffe",
        )
    axes.axvline(n_experts - 0.5, color="#fffffe", linewidth=3)
    axes.set_title("masks filled rightly, %; bold: no single expert does better")
    bar = figure.colorbar(image, ax=axes, pad=0.01, aspect=30)
    bar.outline.set_visible(False)
    return figure


@_styled
def allocations(
    names: Sequence[str], routed: Mapping[str, Sequence[float]], best: Mapping[str, Sequence[float]]
) -> Figure:
    """Return where each domain's prompts go, beside where each one's best expert is."""
    figure, (left, right) = _canvas(9.5, 0.42 * len(routed) + 1.9, 1, 2, sharey=True)
    for axes, shares, title in (
        (left, routed, "sent by the router"),
        (right, best, "where the best expert is"),
    ):
        _stacked(axes, names, list(shares), np.array(list(shares.values())))
        axes.set_title(title)
        axes.set_xlabel("share of the domain's prompts, %")
    left.invert_yaxis()
    _legend(figure, left, len(names))
    return figure


@_styled
def embeddings(
    before: NDArray[np.float32],
    after: NDArray[np.float32],
    domains: Sequence[str],
    purities: Sequence[float],
    seed: int = 0,
) -> tuple[Figure, str]:
    """Return the prompts as the encoder sees them before and after training, and the method."""
    labels = np.array(domains)
    rows = np.random.default_rng(seed).permutation(len(labels))[:_CROWD]
    figure, panels = _canvas(9.5, 4.6, 1, 2)
    titles = ("untrained encoder", "router")
    method = ""
    for axes, vectors, title, purity in zip(panels, (before, after), titles, purities, strict=True):
        places, method = project(vectors[rows], seed)
        for at, domain in enumerate(sorted(set(domains))):
            some = labels[rows] == domain
            axes.scatter(
                *places[some].T, s=7, color=HUES[at % len(HUES)], label=domain, linewidths=0,
                alpha=0.8, rasterized=True,
            )  # fmt: skip
        axes.set_title(f"{title}: purity {purity:.2f}")
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
    _legend(figure, panels[0], len(set(domains)), markerscale=2.5)
    return figure, method


def project(vectors: NDArray[np.float32], seed: int = 0) -> tuple[NDArray[np.float32], str]:
    """Return vectors in two dimensions, (n, 2), and the name of the method.

    It is UMAP (McInnes and Healy, 2018) where `umap-learn` is installed, t-SNE elsewhere.
    """
    n = len(vectors)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ImportWarning)  # that it has no TensorFlow
            from umap import UMAP
    except ImportError:
        from sklearn.manifold import TSNE

        spread = min(30.0, max(2.0, (n - 1) / 4))
        return TSNE(perplexity=spread, random_state=seed).fit_transform(vectors), "t-SNE"
    near = max(2, min(15, n - 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of threads, and of few points
        places = UMAP(n_neighbors=near, metric="cosine", random_state=seed).fit_transform(vectors)
    return places, "UMAP"


@_styled
def front(
    bench: Bench, points: Sequence[Point], stages: Mapping[str, Point], chosen: float | None = None
) -> Figure:
    """Return accuracy against mean size along λ, with the allocations at low, middle and high λ.

    Args:
        bench: Each expert alone is shown beside the routed system.
        points: The routed system along λ.
        stages: Three of its points, by name.
        chosen: The λ of at most 1 % less accuracy, to be marked.
    """
    figure, (left, right) = _canvas(9.5, 4.4, 1, 2, width_ratios=[3, 2])
    sizes, alone = bench.parameters / 1e6, 100 * bench.accuracy.mean(axis=0)
    left.scatter(sizes, alone, marker="s", s=26, color="#8c8c8c", label="one expert for all")
    for name, x, y in zip(bench.cards.names, sizes, alone, strict=True):
        left.annotate(name, (x, y), xytext=(4, -9), textcoords="offset points", fontsize=7)
    along = np.array([(p.mean_parameters / 1e6, 100 * p.masked_accuracy) for p in points])
    left.plot(*along.T, "o-", color=HUES[0], markersize=4, label="routed, λ on size")
    for name, point in stages.items():
        place = (point.mean_parameters / 1e6, 100 * point.masked_accuracy)
        left.plot(*place, "o", markersize=8, color=HUES[1])
        left.annotate(
            f"{name} λ", place, xytext=(-7, 5), textcoords="offset points", fontsize=8, ha="right"
        )
    for point in points:
        if chosen is not None and point.weight == chosen:
            left.plot(
                point.mean_parameters / 1e6, 100 * point.masked_accuracy, "D", markersize=9,
                markerfacecolor="none", markeredgecolor=HUES[3], label="≤ 1 % less accuracy",
            )  # fmt: skip
    left.set_xscale("log")
    left.xaxis.set_major_formatter("{x:g}")
    left.xaxis.set_minor_formatter("{x:g}")
    left.tick_params(axis="x", which="minor", labelsize=7)
    left.margins(x=0.12)
    left.set_xlabel("mean parameters of the expert called, millions")
    left.set_ylabel("masks filled rightly, %")
    left.grid(True)
    left.legend(loc="best")
    labels = [f"{name}\nλ = {point.weight:.3g}" for name, point in stages.items()]
    shares = np.array([point.allocation for point in stages.values()])
    _stacked(right, bench.cards.names, labels, shares)
    right.invert_yaxis()
    right.set_xlabel("share of the prompts, %")
    right.set_title("who is called")
    _legend(figure, right, len(bench.cards))
    return figure


@_styled
def write(figure: Figure, folder: Path, name: str) -> dict[str, Path]:
    """Write a figure as SVG and PNG into a folder; return both paths by their form."""
    paths = {form: folder / f"{name}.{form}" for form in ("svg", "png")}
    figure.savefig(paths["svg"], metadata={"Date": None})
    figure.savefig(paths["png"], dpi=160)
    return paths


@_styled
def inline(figure: Figure, name: str, title: str) -> str:
    """Return a figure as SVG to stand in a page, in the ink of that page.

    Args:
        figure: What to draw.
        name: Marks its parts, so that several figures can stand in one page.
        title: What it shows, for those who cannot see it.
    """
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :].replace(_INK, "currentColor")
    text = re.sub(r'(id="|url\(#|href="#)', rf"\g<1>{name}-", text)
    text = re.sub(r"<svg [^>]*?(viewBox=\"[^\"]*\")[^>]*>", r"<svg \1 role='img'>", text, count=1)
    return text.replace(">", f"><title>{title}</title>", 1)


def _canvas(width: float, height: float, *grid: int, **options: Any) -> tuple[Figure, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(*grid, **options)


def _stacked(
    axes: Axes, names: Sequence[str], rows: Sequence[str], shares: NDArray[np.float64]
) -> None:
    """Draw one bar for each row, cut by expert; large pieces carry their share."""
    start = np.zeros(len(rows))
    for at, name in enumerate(names):
        width = 100 * shares[:, at]
        axes.barh(
            range(len(rows)), width, left=start, height=0.78, color=HUES[at % len(HUES)],
            edgecolor="#fffffe", linewidth=0.6, label=name,
        )  # fmt: skip
        for row, (left, size) in enumerate(zip(start, width, strict=True)):
            if size >= 9:
                axes.text(
                    left + size / 2, row, f"{size:.0f}", ha="center", va="center", fontsize=7.5,
                    color="#000001" if _is_light(HUES[at % len(HUES)]) else "#fffffe",
                )  # fmt: skip
        start = start + width
    axes.set_yticks(range(len(rows)), rows)
    axes.tick_params(axis="y", length=0)
    axes.set_xlim(0, 100)


def _is_light(colour: str) -> bool:
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return 0.299 * red + 0.587 * green + 0.114 * blue > 128


def _legend(figure: Figure, axes: Axes, entries: int, **options: Any) -> None:
    handles, names = axes.get_legend_handles_labels()
    columns = min(entries, 6)
    figure.legend(handles, names, loc="outside lower center", ncols=columns, **options)

"""The picture of the front between quality and size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tryage.library import Library

FILE = "tryage-pareto.png"


def draw_front(
    library: Library,
    correct: NDArray[np.float32],
    front: Sequence[tuple[float, float, float]],
    out: Path,
) -> Path:
    """Draw each expert alone and the routed system along λ; return the picture's path.

    Args:
        library: The experts' cards.
        correct: Share of words that each expert fills rightly, (n_prompts, n_experts).
        front: (λ, mean parameters, share of words right) of the routed system.
        out: The folder that the picture goes to; made if it is not there.
    """
    import matplotlib

    matplotlib.use("Agg")  # no screen is needed, nor looked for
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 5), layout="constrained")
    sizes = [(card.parameters or 0) / 1e6 for card in library]
    alone = correct.mean(axis=0) * 100
    axes.scatter(sizes, alone, marker="s", color="tab:gray", label="one expert for everything")
    for name, size, share in zip(library.names, sizes, alone, strict=True):
        axes.annotate(name, (size, share), xytext=(5, -10), textcoords="offset points", fontsize=8)
    lambdas, routed_sizes, routed = np.array(front).T
    axes.plot(routed_sizes / 1e6, routed * 100, "o-", color="tab:blue", label="Tryage, λ on size")
    labelled = np.inf
    for weight, size, share in zip(lambdas, routed_sizes / 1e6, routed * 100, strict=True):
        if abs(size - labelled) < 0.03 * np.ptp(sizes):  # on top of the label before
            continue
        labelled = size
        axes.annotate(
            f"λ={weight:g}", (size, share), xytext=(-5, 7), textcoords="offset points", fontsize=8
        )
    axes.set_xlabel("mean size of the expert called, million parameters")
    axes.set_ylabel("masked words filled rightly, %")
    axes.set_title("Held-out passages: quality against size")
    axes.legend(loc="lower right")
    out.mkdir(parents=True, exist_ok=True)
    path = out / FILE
    figure.savefig(path, dpi=150)
    pyplot.close(figure)
    return path

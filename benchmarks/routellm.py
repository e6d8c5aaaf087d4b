"""RouteLLM's question, on its own tables: which prompts need GPT-4 and which does Mixtral do?

    python benchmarks/routellm.py --tables ../shared/data/tables
        [--encoder NAME_OR_PATH] [--bert NAME_OR_PATH] [--causal-lm NAME_OR_PATH] [--only mmlu]

Needs the public tables and `pip install 'tryage[train]'`. Without options every line is of routers
that need no model to be downloaded: about twenty minutes on one core. `--encoder` adds routers that
read the vector of a Hugging Face encoder beside the bundled one's (ten minutes for MiniLM);
`--bert` and `--causal-lm` add RouteLLM's two classifiers on small local weights, fine-tuned once
per fold (hours on a processor). Writes `results/routellm.md`.

Contaminated prompts, as RouteLLM marks them, are left out. What learns on a table's own rows is
tested out of fold, in five folds in which one question, or several on one passage, stand in one.
What learns elsewhere sees no row of the table at all. Its training tables either lack every
question of the table ("no shared question"), or, fold by fold, those of the fold that is tested
("not the fold's questions"): `mmlu_pro` and `zeroeval` put the same questions to other models.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from default_predictor import MANY, MEASURED, STRONG, WEAK, library_without
from gap_line import carried_over, features_of, line, passage_of, ranks, scaled, scaling, spread
from report import write

from tryage import Library, PerformanceTable
from tryage.data import merged, question_of
from tryage.evaluation.measures import resamples
from tryage.evaluation.pair import Recovery
from tryage.predictors import Predictor, get
from tryage.predictors.baselines import PerDomainBestPredictor
from tryage.predictors.bert import BertPredictor
from tryage.predictors.causal_lm import CausalLMPredictor
from tryage.predictors.default import DefaultPredictor
from tryage.predictors.pairwise import PairwisePredictor
from tryage.training.artifact import read_anchors

TARGETS = ("routellm_mmlu", "routellm_gsm8k", "routellm_mt_bench")
FOLDS = 5
REPEATS = 1000
FAMILIAR = {"routellm_mmlu": "mmlu_pro", "routellm_gsm8k": "zeroeval"}

Array = np.ndarray
Rows = list[list[str]]


@dataclass(frozen=True, eq=False)
class Target:
    """A table of the two models, the weak one first, with the folds of its prompts."""

    name: str
    table: PerformanceTable
    folds: Array

    @classmethod
    def of(cls, name: str, path: Path) -> Target:
        """Return the decontaminated table."""
        table = PerformanceTable.read(path)
        marks = table.extras["contaminated"]
        clean = [row for row, cells in enumerate(marks) if not any(bool(c) for c in cells)]
        table = table.rows(clean).only([WEAK, STRONG])
        numbers: dict[str, int] = {}
        groups = [numbers.setdefault(passage_of(p), len(numbers)) for p in table.prompts]
        folds = np.random.default_rng(0).permutation(len(numbers)) % FOLDS
        return cls(name, table, folds[groups])

    @property
    def gaps(self) -> Array:
        """By how much the strong model is better, (n_prompts,)."""
        return (self.table.scores[:, 1] - self.table.scores[:, 0]).astype(np.float64)

    @property
    def lengths(self) -> Array:
        """Characters, (n_prompts,)."""
        return np.array([len(p) for p in self.table.prompts], dtype=np.float64)

    def row(
        self, router: str, learned: str, preference: Array, where: Array | None = None
    ) -> list[str]:
        """Return a router's line: APGR with its interval, CPT50 and CPT80."""
        where = np.arange(len(self.table)) if where is None else where
        scores = self.table.scores[where].astype(np.float64)
        recovery = Recovery(preference, scores[:, 0], scores[:, 1])
        area, half, most = recovery.measures(np.ones((1, len(where))))[0]
        drawn = [recovery.measures(counts)[:, 0] for counts in resamples(len(where), REPEATS)]
        low, high = np.nanquantile(np.concatenate(drawn), [0.025, 0.975])
        cells = [self.name, router, learned, f"{area:.3f} [{low:.3f}, {high:.3f}]"]
        cells += [f"{100 * half:.1f} %", f"{100 * most:.1f} %"]
        print(*cells, sep=" | ", flush=True)
        return cells


def main() -> None:
    """Run every router on every table and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", type=Path, required=True)
    parser.add_argument("--encoder", help="a Hugging Face encoder, by name or folder")
    parser.add_argument("--bert", help="weights of RouteLLM's BERT classifier to begin from")
    parser.add_argument("--causal-lm", help="weights of its causal classifier to begin from")
    parser.add_argument("--only", default="routellm", help="targets whose name holds this")
    options = parser.parse_args()
    targets = {name: Target.of(name, options.tables / f"{name}.parquet") for name in TARGETS}
    others = {n: PerformanceTable.read(options.tables / f"{n}.parquet") for n in MANY}
    heavy = heavy_routers(options.bert, options.causal_lm)
    rows: Rows = []
    for name, target in targets.items():
        if options.only in name:
            rows += baselines(target)
            if name in FAMILIAR:  # the 144 prompts of MT-Bench teach nothing
                rows += own_rows(target, heavy, options.encoder)
            rows += elsewhere(target, targets, others)
            if name in FAMILIAR:
                rows += told(target, others[FAMILIAR[name]])
    write(
        "routellm",
        "RouteLLM's tables, GPT-4-1106 over Mixtral-8x7B: gap recovered (APGR, .5 at random; 95 % "
        "bootstrap interval over prompts) and share of calls to GPT-4 for 50 and 80 % of the gap",
        ["table", "router", "learned from", "APGR", "CPT50", "CPT80"],
        rows,
    )


def baselines(target: Target) -> Rows:
    """Return the lines of what needs no learning, or is told the domain."""
    chance = np.random.default_rng(0).random(len(target.table))
    rows = [
        target.row("random", "-", chance),
        target.row("prompt length", "-", target.lengths),
    ]
    if len(set(target.table.domains)) > 1:
        subject = out_of_fold(target, PerDomainBestPredictor)
        rows.append(target.row("mean of the subject, told", "own rows, 5 folds", subject))
    return rows


def own_rows(
    target: Target, heavy: Mapping[str, Callable[[], Predictor]], encoder: str | None
) -> Rows:
    """Return the lines of routers that learn on the table's own rows."""
    learned = "own rows, 5 folds"
    makers: dict[str, Callable[[], Predictor]] = {
        name: get(name)
        for name in ("bradley_terry", "matrix_factorisation", "hybrid", "knn", "ridge", "bilinear")
    }
    mean = {"default": DefaultPredictor, "mlp": get("mlp")}
    light = ["ridge", "mlp"]
    if len(set(target.table.domains)) > 1:
        mean["domain"] = get("domain")
        light.append("domain")
    with_encoder = {f"{name} + encoder": partial(get(name), encoder=encoder) for name in light}
    makers |= mean | dict(heavy) | (with_encoder if encoder else {})
    found = {name: out_of_fold(target, maker) for name, maker in makers.items()}
    found["gap ridge"] = gap_ridge(target)
    found[f"mean of {', '.join(mean)}"] = np.mean([found[n] for n in mean], axis=0)
    if encoder:
        both = [*mean, *with_encoder]
        found[f"mean of {', '.join(both)}"] = np.mean([found[n] for n in both], axis=0)
    return [target.row(name, learned, preference) for name, preference in found.items()]


def out_of_fold(target: Target, make: Callable[[], Predictor]) -> Array:
    """Return what a router prefers on each prompt, learned from the other folds."""
    preference = np.zeros(len(target.table))
    for train, test in folds(target):
        rest, part = target.table.rows(train), target.table.rows(test)
        predictor = make()
        if isinstance(predictor, DefaultPredictor):
            # No card may bring what was measured on these very tables.
            predictor = predictor.fit_tables({"table": rest}, library_without(MEASURED))
        else:
            predictor = predictor.fit(rest)
        preference[test] = prefer(predictor, part)
    return preference


def prefer(predictor: Predictor, table: PerformanceTable) -> Array:
    """Return how much a router that knows both models is for the strong one."""
    if isinstance(predictor, PairwisePredictor | BertPredictor | CausalLMPredictor):
        return predictor.win_probability(table.prompts, STRONG, WEAK)
    if isinstance(predictor, PerDomainBestPredictor):
        predictor = predictor.reveal(table)
    names = list(predictor.models)
    quality = predictor.predict(table.prompts).astype(np.float64)
    return quality[:, names.index(STRONG)] - quality[:, names.index(WEAK)]


def folds(target: Target) -> Iterator[tuple[Array, Array]]:
    """Yield the rows to learn from and to be tested on."""
    for fold in range(FOLDS):
        yield np.flatnonzero(target.folds != fold), np.flatnonzero(target.folds == fold)


def gap_ridge(target: Target) -> Array:
    """Return the gap by ridge regression on vector and form, out of fold."""
    features = features_of(target.table.prompts, vectors=True)
    preference = np.zeros(len(target.table))
    for train, test in folds(target):
        slopes, start = line(features[train], target.gaps[train])
        preference[test] = features[test] @ slopes + start
    return preference


def elsewhere(
    target: Target, targets: Mapping[str, Target], others: Mapping[str, PerformanceTable]
) -> Rows:
    """Return the lines of routers that see no row of the table."""
    rows = []
    pair = {n: t.table for n, t in targets.items() if n not in (target.name, TARGETS[2])}
    same, everything = "the same pair's other rows", dict(others) | pair
    whole = np.arange(len(target.table))
    questions = {question_of(p) for p in target.table.prompts}
    together = merged(clear(pair, questions))
    for name in ("bradley_terry", "matrix_factorisation"):
        rows.append(target.row(name, same, prefer(get(name)().fit(together), target.table)))
    predictor = DefaultPredictor().fit_tables(
        clear(everything, questions), library_without(MEASURED), read_anchors()
    )
    two = predictor.for_library(Library(Library.bundled().find(m) for m in (WEAK, STRONG)))
    quality = two.predict(target.table.prompts).astype(np.float64)
    strict, fair = "no shared question", "not the fold's questions"
    rows.append(target.row("default", f"all tables, {strict}", quality[:, 1] - quality[:, 0]))
    for vectors in (False, True):
        router = "form + vector line" if vectors else "form line"
        for sources, learned in ((pair, same), (others, "other pairs"), (everything, "all tables")):
            plans = [(strict, [whole])]
            if sources is not pair and target.name in FAMILIAR:
                plans.append((fair, [test for _, test in folds(target)]))
            for plan, parts in plans:
                preference = np.zeros(len(whole))
                for part in parts:
                    some = [target.table.prompts[row] for row in part]
                    preference[part] = carried_over(some, sources.values(), vectors)
                label = learned if sources is pair else f"{learned}, {plan}"
                rows.append(target.row(router, label, preference))
                with_length = ranks(preference) + ranks(target.lengths)
                rows.append(target.row(f"{router}, rank mean with length", label, with_length))
    return rows


def clear(
    tables: Mapping[str, PerformanceTable], questions: set[str]
) -> dict[str, PerformanceTable]:
    """Return the tables without these questions, and without those that nothing is left of."""
    kept = {
        name: table.rows(
            [i for i, p in enumerate(table.prompts) if question_of(p) not in questions]
        )
        for name, table in tables.items()
    }
    return {name: table for name, table in kept.items() if len(table)}


def told(target: Target, familiar: PerformanceTable) -> Rows:
    """Return the lines of what no router has: other models' scores on the very question.

    They show how much there is to be known: a router that foretold perfectly which of the other
    models are right would have these.
    """
    row_of = {question_of(p): row for row, p in enumerate(familiar.prompts)}
    pairs = [
        (row, row_of[question_of(p)])
        for row, p in enumerate(target.table.prompts)
        if question_of(p) in row_of
    ]
    here, there = np.array(pairs).T
    scores = familiar.scores[there].astype(np.float64)
    scores = np.where(np.isnan(scores), np.nanmean(familiar.scores, axis=0), scores)
    raw = features_of(target.table.prompts, vectors=False)[here]
    features = np.concatenate([scaled(raw, *scaling(raw)), scores], axis=1)
    preference = np.zeros(len(here))
    for fold in range(FOLDS):
        test = target.folds[here] == fold
        slopes, start = line(features[~test], target.gaps[here][~test])
        preference[test] = features[test] @ slopes + start
    share = f"{len(here):,} prompts"
    models = f"{len(familiar.models)} other models' scores told"
    return [
        target.row(f"prompt length ({share})", "-", target.lengths[here], here),
        target.row(f"best less worst quarter ({share})", models, spread(familiar)[there], here),
        target.row(f"form + scores line ({share})", f"{models}, own rows", preference, here),
    ]


def heavy_routers(bert: str | None, causal_lm: str | None) -> dict[str, Callable[[], Predictor]]:
    """Return RouteLLM's two classifiers, where weights for them were given."""
    routers: dict[str, Callable[[], Predictor]] = {}
    if bert:
        routers["bert, win/tie/loss"] = lambda: BertPredictor(bert, loss="pairwise3")
    if causal_lm:
        routers["causal_lm, grades"] = lambda: CausalLMPredictor(causal_lm, loss="grades")
    return routers


if __name__ == "__main__":
    main()

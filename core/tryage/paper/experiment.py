"""The whole experiment, in order; each stage is skipped where its output stands.

    texts      corpora → documents → passages for the experts, masked prompts for the router
    experts    eleven of them, each trained or loaded
    tables     loss and accuracy of every expert on every prompt
    routers    the perceptive router, by several seeds; once by the other loss
    joint      experts and router that learn together
    report     measures, figures, one page
    models     where experts and router lie, for `tryage.paper.models.load_models`

Folders are named after what decides on their content, so that a changed setting redoes what hangs
on it and nothing else.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tryage.data import PerformanceTable
from tryage.experts import Expert
from tryage.paper.corpora import read_parts
from tryage.paper.figures import check_matplotlib
from tryage.paper.joint import Comparison, Plan, compare, lessons
from tryage.paper.library import base_expert, cards_of, descriptions, digest_of, trained_expert
from tryage.paper.models import write_models
from tryage.paper.outcome import conclude
from tryage.paper.prompts import SPLITS, Texts, has_texts, make_texts, read_texts, write_texts
from tryage.paper.published import PublishedExpert
from tryage.paper.report import Run, write_report
from tryage.paper.routers import backbone_of, trained
from tryage.paper.scoring import score
from tryage.paper.settings import ExpertPlan, Settings
from tryage.predictors.perceptive import PerceptivePredictor

Progress = Callable[[str], None]

CACHE = "cache"
LOSSES = ("mse", "ranking")
_JOINT_SHARE = 3
"""Of so many test prompts, joint training is measured on one: all experts read them anew."""


def run(settings: Settings, out: Path, progress: Progress) -> dict[str, Any]:
    """Run the experiment and return what `results.json` holds.

    Args:
        settings: All that decides the result.
        out: Where the report goes; what was computed is kept in a folder of it, and a run that
            broke off goes on from there.
        progress: Called with what is being done.

    Raises:
        UsageError: A corpus or an expert is not as it must be.
        CorruptArtifact: What was kept cannot be read.
        SaveFailed: The disc is full.
    """
    check_matplotlib()
    started = datetime.now(UTC).isoformat(timespec="seconds")
    clock = _Clock()
    cache = out / CACHE
    published = _published(settings, progress)  # before any work: the hub may be out of reach
    texts = _texts(settings, cache / f"texts-{settings.text_digest}", progress)
    clock.stop("texts")
    experts = [
        published[plan.name]
        if plan.name in published
        else _trained(settings, plan, texts, cache, progress)
        for plan in settings.experts
    ]
    clock.stop("experts")
    tables = _tables(settings, experts, texts, cache, progress)
    clock.stop("tables")
    folder = cache / f"run-{settings.digest}"
    routers = _routers(settings, tables["router"], folder, progress)
    clock.stop("routers")
    joint = _joint(settings, experts, routers[settings.router.loss][0], texts, folder, progress)
    clock.stop("joint")
    domains = [corpus.domain for corpus in settings.corpora]
    cards = cards_of(settings.experts, experts)
    outcome = conclude(
        tables["router"],
        tables["validation"],
        tables["test"],
        cards,
        descriptions(settings.experts, texts.kinds, domains),
        routers,
        settings.lambdas,
        joint,
        progress,
    )
    clock.stop("measures")
    progress("writing the report")
    places = {plan.name: plan.model or _folder(settings, plan, cache) for plan in settings.experts}
    router = _router_folder(folder, outcome.headline, settings.seeds[0])
    write_models(out, cards, places, router)
    told = Run(
        digest=settings.digest,
        settings=settings.model_dump(mode="json"),
        seconds=clock.seconds,
        machine=f"{platform.machine()}, Python {platform.python_version()}",
        started=started,
    )
    return write_report(outcome, told, out)


class _Clock:
    """How long each stage took in this run."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._since = time.monotonic()

    def stop(self, stage: str) -> None:
        now = time.monotonic()
        self.seconds[stage] = round(now - self._since, 1)
        self._since = now


def _texts(settings: Settings, folder: Path, progress: Progress) -> Texts:
    if not has_texts(folder):
        parts = read_parts(settings.corpora, settings.text, progress)
        write_texts(make_texts(parts, settings.text, progress), folder)
    return read_texts(folder)


def _published(settings: Settings, progress: Progress) -> dict[str, PublishedExpert]:
    found = {}
    for plan in settings.experts:
        if plan.model is not None:
            progress(f"loading {plan.model}")
            found[plan.name] = PublishedExpert.load(plan.name, plan.model)
    return found


def _trained(
    settings: Settings, plan: ExpertPlan, texts: Texts, cache: Path, progress: Progress
) -> Expert:
    number = 1 + settings.experts.index(plan)
    progress(f"expert {number} of {len(settings.experts)}: {plan.name}")
    return trained_expert(plan, texts.passages, _folder(settings, plan, cache))


def _folder(settings: Settings, plan: ExpertPlan, cache: Path) -> Path:
    learned = plan.model_copy(update={"released": None, "name": "expert"})
    return cache / f"expert-{digest_of(settings.text_digest, learned.model_dump_json())}"


def _tables(
    settings: Settings,
    experts: list[Expert | PublishedExpert],
    texts: Texts,
    cache: Path,
    progress: Progress,
) -> dict[str, PerformanceTable]:
    plans = [plan.model_copy(update={"released": None}) for plan in settings.experts]
    digest = digest_of(settings.text_digest, *(plan.model_dump_json() for plan in plans))
    folder = cache / f"tables-{digest}"
    return {
        split: score(experts, texts.prompts[split], folder / f"{split}.parquet", progress)
        for split in SPLITS
    }


def _routers(
    settings: Settings, table: PerformanceTable, folder: Path, progress: Progress
) -> dict[str, list[PerceptivePredictor]]:
    plan = settings.router
    backbone = plan.backbone or str(backbone_of(base_expert(), folder / "backbone"))
    made: dict[str, list[PerceptivePredictor]] = {}
    for loss in LOSSES:
        made[loss] = []
        for seed in settings.seeds if loss == plan.loss else settings.seeds[:1]:
            progress(f"router by {loss}, seed {seed}")
            router = PerceptivePredictor(
                backbone,
                loss=loss,
                seed=seed,
                epochs=plan.epochs,
                batch_size=plan.batch_size,
                learning_rate=plan.learning_rate,
                max_tokens=settings.text.tokens[1],
            )
            made[loss].append(trained(router, table, _router_folder(folder, loss, seed)))
    return made


def _router_folder(folder: Path, loss: str, seed: int) -> Path:
    return folder / f"router-{loss}-{seed}"


def _joint(
    settings: Settings,
    experts: list[Expert | PublishedExpert],
    router: PerceptivePredictor,
    texts: Texts,
    folder: Path,
    progress: Progress,
) -> Comparison | None:
    """Return joint training beside training apart; nothing where experts are published."""
    own = [expert for expert in experts if isinstance(expert, Expert)]
    if len(own) < len(experts):
        return None
    plan = Plan(rounds=settings.joint.rounds, expert_steps=settings.joint.steps)
    passages = lessons(texts.passages, own[0].tokenizer, plan.passages, plan.seed)
    return compare(
        own,
        {expert.name: expert.text for expert in settings.experts},
        router,
        passages,
        texts.prompts["test"][::_JOINT_SHARE],
        plan,
        settings.seeds,
        folder / "joint",
        progress,
    )

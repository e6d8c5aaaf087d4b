"""Joint training: experts learn on what is routed to them while the router follows their losses.

Hari and Thomson (2023) describe it and report no number. Here it stands beside the same experts and
the same router trained apart, on the same passages, for the same number of gradient steps:

* `joint`: the router sends each passage to the expert of least predicted loss; that expert learns
  on it; then all experts are scored on fresh passages, and the router learns those losses.
* `apart`: each passage goes to an expert that it is text for, drawn by the experts' own mixtures;
  when all have learned, the router learns their losses, on as many passages, for as many steps.

What stands at the beginning is measured too.
"""

from __future__ import annotations

import contextlib
import copy
import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch.nn.functional import cross_entropy

from tryage.errors import UsageError
from tryage.evaluation.measures import bootstrap_interval
from tryage.experts import MASK, Expert, mask, masked_logits
from tryage.paper.prompts import Passage, Prompt
from tryage.paper.scoring import judge
from tryage.predictors.devices import has_bfloat16
from tryage.predictors.perceptive import Losses, PerceptivePredictor
from tryage.predictors.staging import staged

Array = NDArray[np.float64]
Ints = NDArray[np.intp]

Mixtures = Mapping[str, Mapping[str, float]]

ARMS = ("before", "apart", "joint")


@dataclass(frozen=True)
class Plan:
    """How much is learned, in both arms alike.

    Attributes:
        rounds: Times that passages are routed and the router follows.
        expert_steps: Gradient steps of all experts together, in a round.
        router_steps: Gradient steps of the router, in a round.
        batch_size: Passages in a step.
        expert_rate: Learning rate of the experts.
        router_rate: Learning rate of the router.
        seed: Decides on the order of the passages.
    """

    rounds: int = 4
    expert_steps: int = 40
    router_steps: int = 8
    batch_size: int = 16
    expert_rate: float = 1e-4
    router_rate: float = 3e-5
    seed: int = 0

    @property
    def passages(self) -> int:
        """How many passages there must be: no two steps of an arm read the same one."""
        return self.rounds * self.batch_size * (self.expert_steps + self.router_steps)


@dataclass(frozen=True)
class Arm:
    """How a system does on the test prompts after its training.

    Attributes:
        mean_loss: Of the expert that its router chooses, in nats.
        oracle_loss: Of the best expert of each prompt.
        selection_accuracy: Share of prompts on which the two are one.
        expert_steps: Gradient steps of the experts, in all.
        router_steps: Gradient steps of the router.
        traffic: Share of the training passages that each expert learned from.
        losses: The chosen expert's loss on each prompt.
    """

    mean_loss: float
    oracle_loss: float
    selection_accuracy: float
    expert_steps: int
    router_steps: int
    traffic: tuple[float, ...]
    losses: tuple[float, ...]


@dataclass(frozen=True)
class Comparison:
    """Joint training beside the same steps apart.

    Attributes:
        plan: What each seed was given.
        arms: By name, one for each seed.
        saved: Mean loss that joint training saves against training apart, in nats, over all seeds.
        saved_interval: Its 95 % bootstrap interval over prompts, each the mean of its seeds.
    """

    plan: Plan
    arms: Mapping[str, Sequence[Arm]]
    saved: float
    saved_interval: tuple[float, float]


def compare(
    experts: Sequence[Expert],
    mixtures: Mixtures,
    router: PerceptivePredictor,
    passages: Sequence[Prompt],
    test: Sequence[Prompt],
    plan: Plan,
    seeds: Sequence[int],
    folder: Path,
    progress: Callable[[str], None] = lambda step: None,
) -> Comparison:
    """Return both ways to train, from the same beginning; what stands in the folder is not redone.

    Args:
        experts: As they are; they are copied, not changed.
        mixtures: What each expert was trained on, by its name: weights by domain (`math`) or by
            kind of a domain (`math/1`); empty for all alike.
        router: Fitted, over the experts; not changed.
        passages: To learn on, at least `plan.passages`, with their domains and kinds.
        test: To measure on.
        plan: How much is learned.
        seeds: One comparison for each.
        folder: Where each arm's outcome is kept.
        progress: Called with what is being done.

    Raises:
        UsageError: There are fewer passages than the plan reads.
    """
    if len(passages) < plan.passages:
        raise UsageError(
            f"{len(passages)} passages for joint training, and the plan reads {plan.passages}; "
            "give more text, or fewer rounds or steps."
        )
    arms: dict[str, list[Arm]] = {name: [] for name in ARMS}
    for seed in seeds:
        for name in ARMS:
            same = _TRAIN[name] is _as_it_is  # from every seed
            file = folder / (f"{name}.json" if same else f"{name}-{seed}.json")
            if not file.exists():
                progress(f"joint training, seed {seed}: {name}")
                with torch.random.fork_rng():
                    torch.manual_seed(seed)
                    system = _System(experts, router, plan, len({p.domain for p in passages}))
                    order = np.random.default_rng((plan.seed, seed)).permutation(len(passages))
                    _TRAIN[name](system, [passages[at] for at in order], mixtures, seed)
                    _keep(file, system.judged(test))
            arms[name].append(Arm(**json.loads(file.read_text(encoding="utf-8"))))
    both = [np.mean([arm.losses for arm in arms[name]], axis=0) for name in ("apart", "joint")]
    saved = both[0] - both[1]
    return Comparison(plan, arms, float(saved.mean()), bootstrap_interval(saved))


def lessons(passages: Sequence[Passage], tokenizer: Tokenizer, n: int, seed: int) -> list[Prompt]:
    """Return n passages to learn on, drawn at random and masked; fewer if there are no more.

    Args:
        passages: What experts learn on.
        tokenizer: The experts' own.
        n: How many.
        seed: Decides on the passages and on their masks.
    """
    order = np.random.default_rng(seed).permutation(len(passages))
    rng, found = random.Random(seed), list[Prompt]()
    for at in order.tolist():
        if len(found) == n:
            break
        passage = passages[at]
        with contextlib.suppress(UsageError):  # a passage without a word to mask
            asked = mask(passage.text, rng, tokenizer=tokenizer)
            found.append(Prompt(asked.text, asked.answers, passage.domain, kind=passage.kind))
    return found


def _keep(file: Path, arm: Arm) -> None:
    with staged(file.parent) as fresh:
        (fresh / file.name).write_text(json.dumps(asdict(arm)), encoding="utf-8")


def _as_it_is(
    system: _System,
    passages: Sequence[Prompt],
    mixtures: Mixtures,
    seed: int,
) -> None:
    """Learn nothing."""


def _jointly(
    system: _System,
    passages: Sequence[Prompt],
    mixtures: Mixtures,
    seed: int,
) -> None:
    for lesson, fresh in _rounds(passages, system.plan):
        system.teach_experts(lesson, system.route(lesson))
        system.teach_router(fresh)


def _apart(
    system: _System,
    passages: Sequence[Prompt],
    mixtures: Mixtures,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    kept: list[Prompt] = []
    for lesson, fresh in _rounds(passages, system.plan):
        picks = [rng.choice(len(system.experts), p=system.claims(p, mixtures)) for p in lesson]
        system.teach_experts(lesson, np.array(picks, dtype=np.intp))
        kept += fresh
    system.teach_router(kept)


_TRAIN = {"before": _as_it_is, "apart": _apart, "joint": _jointly}


def _rounds(
    passages: Sequence[Prompt], plan: Plan
) -> list[tuple[Sequence[Prompt], Sequence[Prompt]]]:
    """Return each round's passages: those for the experts, and those for the router."""
    lesson, fresh = (plan.batch_size * n for n in (plan.expert_steps, plan.router_steps))
    starts = range(0, plan.passages, lesson + fresh)
    return [
        (passages[at : at + lesson], passages[at + lesson : at + lesson + fresh]) for at in starts
    ]


class _System:
    """Experts and a router that learn: copies, so that the arms begin alike."""

    def __init__(
        self, experts: Sequence[Expert], router: PerceptivePredictor, plan: Plan, n_domains: int
    ) -> None:
        self.plan, self.n_domains = plan, n_domains
        self.experts = [_copy(expert) for expert in experts]
        self.router = _Router(router, plan.router_rate, [expert.name for expert in experts])
        self.traffic = np.zeros(len(experts))
        self.expert_steps = self.router_steps = 0
        self._optimisers = [
            torch.optim.AdamW(
                [p for p in expert.model.parameters() if p.requires_grad], plan.expert_rate
            )
            for expert in self.experts
        ]

    def claims(self, passage: Prompt, mixtures: Mixtures) -> Array:
        """Return the chance that each expert is the one to learn from a passage, (n_experts,)."""
        weights = np.zeros(len(self.experts))
        for at, expert in enumerate(self.experts):
            own = mixtures[expert.name]
            share = own.get(passage.kind, own.get(passage.domain, 0.0)) / (sum(own.values()) or 1)
            weights[at] = share if own else 1 / self.n_domains
        if not weights.any():  # text for none of them
            weights[:] = 1
        claims: Array = weights / weights.sum()
        return claims

    def route(self, passages: Sequence[Prompt]) -> Ints:
        picks: Ints = self.router.losses([p.text for p in passages]).argmin(axis=1)
        return picks

    def teach_experts(self, passages: Sequence[Prompt], picks: Ints) -> None:
        """Take the round's steps: as many as are planned, however the passages fall.

        Each expert's passages are cut into batches; the largest come first, so that what is left
        out are the scraps.
        """
        size = self.plan.batch_size
        batches = []
        for at in range(len(self.experts)):
            own = np.flatnonzero(picks == at)
            self.traffic[at] += len(own)
            batches += [(at, rows) for rows in np.split(own, range(size, len(own), size))]
        batches.sort(key=lambda batch: -len(batch[1]))
        for at, rows in batches[: self.plan.expert_steps]:
            self._step(at, [passages[row] for row in rows])

    def _step(self, at: int, passages: Sequence[Prompt]) -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=has_bfloat16(torch.device("cpu"))):
            losses = _token_losses(self.experts[at], passages)
        torch.autograd.backward(losses.mean())
        torch.nn.utils.clip_grad_norm_(self.experts[at].model.parameters(), 1.0)
        self._optimisers[at].step()
        self._optimisers[at].zero_grad()
        self.expert_steps += 1

    def teach_router(self, passages: Sequence[Prompt]) -> None:
        losses = _score(self.experts, passages)
        size = self.plan.batch_size
        for start in range(0, len(passages), size):
            rows = slice(start, start + size)
            self.router.step([p.text for p in passages[rows]], losses[rows])
            self.router_steps += 1

    def judged(self, test: Sequence[Prompt]) -> Arm:
        losses = _score(self.experts, test)
        picks = self.route(test)
        taken, best = losses[np.arange(len(test)), picks], losses.min(axis=1)
        return Arm(
            mean_loss=float(taken.mean()),
            oracle_loss=float(best.mean()),
            selection_accuracy=float((taken <= best).mean()),
            expert_steps=self.expert_steps,
            router_steps=self.router_steps,
            traffic=tuple((self.traffic / max(self.traffic.sum(), 1)).tolist()),
            losses=tuple(taken.tolist()),
        )


class _Router:
    """The perceptive router while it learns on."""

    def __init__(self, trained: PerceptivePredictor, rate: float, models: Sequence[str]) -> None:
        if trained.models != tuple(models):
            raise UsageError(f"the router knows {trained.models}, and the experts are {models}.")
        reading = trained._reading()
        assert isinstance(reading, Losses)
        self.reading = reading
        self.body = copy.deepcopy(trained._body)
        self.head = torch.nn.Linear(*trained.head_.shape)
        self.head.weight.data.copy_(torch.from_numpy(trained.head_.T.copy()))
        self.head.bias.data.copy_(torch.from_numpy(trained.head_bias_))
        self.network = torch.nn.ModuleDict({"body": self.body, "head": self.head})
        self._optimiser = torch.optim.AdamW(self.network.parameters(), rate)

    def losses(self, texts: Sequence[str]) -> Array:
        """Return the predicted losses, (n_texts, n_experts)."""
        self.network.eval()
        order = np.argsort([len(text) for text in texts], kind="stable")
        found = np.empty((len(texts), self.head.out_features))
        with torch.inference_mode():
            for rows in np.array_split(order, -(-len(order) // 32)):
                outputs = self.head(self.body([texts[row] for row in rows]))
                found[rows] = self.reading.losses(outputs.double().numpy())
        return found

    def step(self, texts: Sequence[str], losses: Array) -> None:
        """Learn the losses (n_texts, n_experts) of some texts."""
        self.network.train()
        scores = torch.from_numpy(np.exp(-losses)).float()
        torch.autograd.backward(self.reading.loss(self.head(self.body(texts)), scores))
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self._optimiser.step()
        self._optimiser.zero_grad()


def _copy(expert: Expert) -> Expert:
    """Return an expert of its own weights; its word embeddings stay as they are.

    They are shared between experts where one vocabulary is, and learn little in few steps.
    """
    model = copy.deepcopy(expert.model)
    for weights in model.get_input_embeddings().parameters():
        weights.requires_grad_(False)
    return Expert(name=expert.name, domain=expert.domain, model=model, tokenizer=expert.tokenizer)


def _score(experts: Sequence[Expert], prompts: Sequence[Prompt]) -> Array:
    """Return the loss of every expert on every prompt, (n_prompts, n_experts)."""
    losses = np.empty((len(prompts), len(experts)))
    for column, expert in enumerate(experts):
        expert.model.train(False)
        losses[:, column] = judge(expert, prompts)[0]
        expert.model.train()
    return losses


def _token_losses(expert: Expert, prompts: Sequence[Prompt]) -> torch.Tensor:
    """Return the losses at the prompts' masks, (n_masks,), with what their gradients hang on."""
    rows = [expert.tokenizer.encode(prompt.text).ids for prompt in prompts]
    answers = [
        token
        for prompt in prompts
        for answer in prompt.answers
        for token in expert.tokenizer.encode(answer, add_special_tokens=False).ids
    ]
    ids = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.long)
    for row, tokens in zip(ids, rows, strict=True):
        row[: len(tokens)] = torch.tensor(tokens)
    masked = ids.eq(torch.tensor(expert.tokenizer.token_to_id(MASK)))
    logits = masked_logits(expert.model, ids, masked, attention=ids.ne(0).long())
    return cross_entropy(logits.float(), torch.tensor(answers), reduction="none")

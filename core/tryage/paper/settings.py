"""What one run of the experiment is: its text, its experts, its router. All that decides a result.

A run's folder in the cache is named after these settings, so that nothing is computed twice and
nothing is mistaken for the result of other settings.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tryage.errors import UsageError, nearest

Count = Annotated[int, Field(gt=0)]
Rate = Annotated[float, Field(gt=0, lt=1)]
Weight = Annotated[float, Field(gt=0)]
Name = Annotated[str, Field(pattern=r"^[\w.+-]+$")]
Base = Literal[
    "small", "medium", "large", "huge",
    "clinical", "code", "docs", "legal", "math", "papers", "patents",
]  # fmt: skip

TEXT = Path("../shared/data/text")
"""Where the default corpora lie, if they are there: one Parquet file for each domain."""


EVERYWHERE = ("code", "docs", "tests", "stubs", "headers", "readmes", "licences")
"""Domains that every machine has on which this runs."""

MAX_TOKENS = 256
"""Longest prompt that experts read, in tokens of the shared vocabulary."""

LAMBDAS = (0.0, 0.002, 0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2, 0.5, 1.0)

_LEAST_TOKENS = 16
_KINDS = 2
_VERSION = 1  # of the code that makes the text and the experts


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Corpus(_Part):
    """`[[corpora]]`: the documents of one domain.

    Attributes:
        domain: What this kind of text is called.
        path: A folder or a file: plain text, Markdown, reStructuredText, or Parquet and JSONL with
            a column `text`. Without one, the domain is one of those that every Python brings.
    """

    domain: Name
    path: Path | None = None


class Text(_Part):
    """`[text]`: how documents become prompts.

    Attributes:
        max_characters: Characters that are read of a domain at most.
        tokens: Length of a prompt, from and to, in tokens of the shared vocabulary.
        masked: Share of a prompt's words that are taken out.
        kinds: Kinds of passage that are told apart within each domain.
        router: Prompts of each domain that the router learns from, at most.
        validation: Prompts of each domain that choices are made on, at most.
        test: Prompts of each domain that the results are measured on, at most.
        seed: Decides on the passages, their masks and their kinds.
    """

    max_characters: Count = 5_000_000
    tokens: tuple[Count, Count] = (64, 256)
    masked: Rate = 0.15
    kinds: Count = _KINDS
    router: Count = 400
    validation: Count = 80
    test: Count = 180
    seed: int = 0


class ExpertPlan(_Part):
    """`[[experts]]`: one expert, trained here or published.

    Attributes:
        name: What it is called in tables and decisions.
        model: A Hugging Face name or a folder that holds a masked language model; it is taken as
            it is. Without one, the expert is trained.
        base: What a trained expert begins as: a generalist of some size, or an expert that comes
            with the package; see `tryage.paper.bases`.
        text: What it learns on: weights by domain (`math`) or kind of a domain (`math/1`). Empty
            for all domains alike.
        steps: Steps of training.
        rate: Highest learning rate.
        released: The day that its card gives.
    """

    name: Name
    model: str | None = None
    base: Base = "large"
    text: Mapping[str, Weight] = {}
    steps: Count = 200
    rate: Rate = 4e-4
    released: date | None = None


class RouterPlan(_Part):
    """`[router]`: the perceptive router.

    Attributes:
        backbone: A folder or a Hugging Face name; without one, an encoder that comes with the
            package.
        loss: `mse` predicts losses; `ranking` looks at the decision too. The other one is trained
            once, to compare.
        epochs: Times that every prompt is read.
        learning_rate: Of the backbone.
        batch_size: Prompts in a step.
    """

    backbone: str | None = None
    loss: Literal["mse", "ranking"] = "ranking"
    epochs: Count = 3
    learning_rate: Rate = 1.5e-4
    batch_size: Count = 16


class JointPlan(_Part):
    """`[joint]`: experts and router that learn together, and the same steps without routing.

    Attributes:
        rounds: Times that prompts are routed, experts learn and the router follows.
        steps: Gradient steps of all experts together in one round.
    """

    rounds: Count = 2
    steps: Count = 33


class Settings(_Part):
    """All that decides the result of a run.

    Attributes:
        corpora: Where the text comes from, one for each domain.
        text: How it becomes prompts.
        experts: What is chosen from.
        router: How the choice is learned.
        joint: How both learn together.
        seeds: One router for each.
        lambdas: Weights λ on size that the front is made of.
    """

    corpora: tuple[Corpus, ...]
    text: Text = Text()
    experts: tuple[ExpertPlan, ...]
    router: RouterPlan = RouterPlan()
    joint: JointPlan = JointPlan()
    seeds: Annotated[tuple[int, ...], Field(min_length=1)] = (0, 1, 2)
    lambdas: tuple[Annotated[float, Field(ge=0)], ...] = LAMBDAS

    @model_validator(mode="after")
    def _fits(self) -> Self:
        domains = [corpus.domain for corpus in self.corpora]
        names = [expert.name for expert in self.experts]
        for what, of, least in (("corpora", domains, 2), ("experts", names, 2)):
            if len(of) < least or len(set(of)) < len(of):
                raise ValueError(f"{what}: {len(of)} are given; two or more of different names")
        cells = {f"{d}/{k}" for d in domains for k in range(1, self.text.kinds + 1)} | {*domains}
        for expert in self.experts:
            for wish in expert.text:
                if wish not in cells:
                    raise ValueError(
                        f"expert {expert.name!r} is to learn on {wish!r}, which no corpus is."
                        f"{nearest(wish, cells)} A domain or a kind of one, such as {domains[0]}/1"
                    )
        if not _LEAST_TOKENS <= self.text.tokens[0] < self.text.tokens[1] <= MAX_TOKENS:
            raise ValueError(f"text.tokens: from {_LEAST_TOKENS} to {MAX_TOKENS}, rising")
        return self

    @property
    def digest(self) -> str:
        """What names this run's folder: the same settings on the same text give the same results.

        The age and the size of the files that corpora name are part of it.
        """
        return _digest(self.text_digest, self.model_dump(mode="json"))

    @property
    def text_digest(self) -> str:
        """What names the folder of the texts."""
        corpora = [corpus.model_dump(mode="json") for corpus in self.corpora]
        states = [_state(corpus.path) for corpus in self.corpora]
        return _digest(_VERSION, corpora, states, self.text.model_dump(mode="json"))

    @classmethod
    def read(cls, file: Path) -> Self:
        """Return the settings of a TOML file; what it leaves out is as in `full`.

        Paths in it are read from the folder of the file.

        Raises:
            UsageError: The file cannot be read, or a setting does not exist or is at fault.
        """
        try:
            told = tomllib.loads(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise UsageError(f"cannot read --config {str(file)!r}: {error}.") from error
        try:
            given = [Corpus(**corpus) for corpus in told.pop("corpora", [])]
            corpora = tuple(_beside(corpus, file) for corpus in given) or default_corpora()
            domains = [corpus.domain for corpus in corpora]
            experts = told.pop("experts", None) or default_experts(domains, _kinds_in(told))
            return cls(corpora=corpora, experts=experts, **told)
        except (ValidationError, TypeError) as error:
            raise UsageError(f"{file}: {_first_fault(error)}.") from error

    @classmethod
    def full(cls) -> Self:
        """Return the settings of the experiment as it is reported."""
        corpora = default_corpora()
        return cls(corpora=corpora, experts=default_experts([c.domain for c in corpora]))

    @classmethod
    def quick(cls) -> Self:
        """Return settings that show every part of the experiment within four minutes."""
        corpora = default_corpora()
        experts = default_experts([c.domain for c in corpora])
        return cls(
            corpora=corpora,
            text=Text(max_characters=600_000, router=60, validation=15, test=40),
            experts=tuple(e.model_copy(update={"steps": min(20, e.steps)}) for e in experts),
            router=RouterPlan(epochs=2),
            joint=JointPlan(rounds=1, steps=11),
            seeds=(0,),
        )


def default_corpora() -> tuple[Corpus, ...]:
    """Return the five domains of `TEXT` and two of this machine, or seven of this machine."""
    files = sorted(TEXT.glob("*.parquet")) if TEXT.is_dir() else []
    if files:
        given = [Corpus(domain=file.stem, path=file) for file in files]
        return (*given, Corpus(domain="code"), Corpus(domain="docs"))
    return tuple(Corpus(domain=domain) for domain in EVERYWHERE)


def default_experts(domains: Sequence[str], kinds: int = 2) -> tuple[ExpertPlan, ...]:
    """Return eleven experts for some domains: two generalists and nine specialists.

    The kinds of a domain are dealt to different specialists, so that no domain is one expert's.
    """
    known = set(domains) == _KNOWN and kinds == _KINDS
    special = _SPECIALISTS if known else _dealt(domains, kinds)
    general = [ExpertPlan(name=n, base=base, steps=steps) for n, base, steps in _GENERALISTS]
    taught = [ExpertPlan(name=n, base=b, steps=steps, text=text) for n, b, steps, text in special]
    return tuple(
        plan.model_copy(update={"released": date(2024, month, 1)})
        for month, plan in enumerate([*general, *taught], start=1)
    )


def _dealt(domains: Sequence[str], kinds: int) -> list[tuple[str, Base, int, Mapping[str, float]]]:
    """Return nine specialists among which the kinds of all domains are dealt out in turn."""
    cells = [f"{domain}/{kind}" for kind in range(1, kinds + 1) for domain in domains]
    hands: list[list[str]] = [cells[at :: len(_SPECIALISTS)] for at in range(len(_SPECIALISTS))]
    bases: tuple[Base, ...] = ("medium", "large")
    return [
        ("-".join(c.replace("/", "") for c in hand), bases[at % 2], 200, dict.fromkeys(hand, 1.0))
        for at, hand in enumerate(hands)
        if hand
    ]


_GENERALISTS: list[tuple[str, Base, int]] = [
    ("generalist-small", "small", 400),
    ("generalist-huge", "huge", 200),
]

# Which kinds they are is found out from the text (`tryage.paper.kinds`), the larger one first:
# dialogues and notes, cases and questions of law, counting and money, prose and formulas, materials
# and systems, modules and tables of characters, explanations and examples. Those that share a
# domain learn for longer, and so grow apart.
_SPECIALISTS: list[tuple[str, Base, int, Mapping[str, float]]] = [
    ("dialogue", "clinical", 200, {"clinical/1": 1}),
    ("casebook", "legal", 400, {"legal/1": 1, "clinical/2": 0.25}),
    ("law", "legal", 400, {"legal/2": 1}),
    ("problems", "math", 200, {"math/1": 1}),
    ("formulas", "papers", 400, {"papers/2": 1, "math/2": 0.25}),
    ("research", "papers", 200, {"papers/1": 1, "patents/2": 1}),
    ("software", "code", 200, {"code/1": 1, "patents/1": 0.25}),
    ("manuals", "docs", 400, {"docs/1": 1}),
    ("scripts", "docs", 400, {"docs/2": 1, "code/2": 0.5}),
]
_KNOWN = {wish.split("/")[0] for *_, text in _SPECIALISTS for wish in text}


def _digest(*told: Any) -> str:
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def _kinds_in(told: Mapping[str, Any]) -> int:
    """Return the kinds of a domain that a file asks for; what is no number is told of elsewhere."""
    text = told.get("text")
    kinds = text.get("kinds") if isinstance(text, dict) else None
    return kinds if isinstance(kinds, int) and kinds > 0 else _KINDS


def _beside(corpus: Corpus, file: Path) -> Corpus:
    path = None if corpus.path is None else file.parent / corpus.path
    return corpus.model_copy(update={"path": path})


def _state(path: Path | None) -> list[tuple[str, int, int]]:
    """Return what changes when a corpus does."""
    if path is None:
        return []
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    states = ((file, file.stat()) for file in files if file.exists())
    return [(file.name, state.st_size, state.st_mtime_ns) for file, state in states]


def _first_fault(error: ValidationError | TypeError) -> str:
    if isinstance(error, TypeError):
        return str(error)
    fault = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in fault["loc"])
    message = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "extra_forbidden":
        return f"{where}: there is no such setting"
    return f"{where} = {fault['input']!r}: {message}" if where else message

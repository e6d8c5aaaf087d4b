"""The experts as chat models: through a LangChain chain, and as a LlamaIndex LLM.

With `tryage.paper.chains` the one place of the core that knows the frameworks; it stands above
them, like the command line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tryage.cards import ModelCard
from tryage.experts import MASK, Expert, MaskedPrompt
from tryage.paper.chains import chat_tryage, llama_tryage
from tryage.predictors.base import Predictor

if TYPE_CHECKING:
    from rich.console import Console


def answer_with_langchain(
    console: Console,
    experts: Sequence[Expert],
    cards: Sequence[ModelCard],
    predictor: Predictor,
    prompts: Sequence[MaskedPrompt],
) -> None:
    """Send each passage through an LCEL chain that ends in `ChatTryage`, and print the answers."""
    from langchain_core.prompts import ChatPromptTemplate

    chat = chat_tryage(experts, cards, predictor)
    chain = ChatPromptTemplate.from_messages([("human", "{passage}")]) | chat

    def ask(passage: str) -> tuple[str, str]:
        message = chain.invoke({"passage": passage})
        return message.response_metadata["tryage"]["model"], message.text

    _show(console, "LangChain: prompt | ChatTryage(models=...)", prompts, ask)


def answer_with_llamaindex(
    console: Console,
    experts: Sequence[Expert],
    cards: Sequence[ModelCard],
    predictor: Predictor,
    prompts: Sequence[MaskedPrompt],
) -> None:
    """Send each passage to a LlamaIndex `Tryage`, and print the answers."""
    llm = llama_tryage(experts, cards, predictor)

    def ask(passage: str) -> tuple[str, str]:
        response = llm.complete(passage)
        return response.additional_kwargs["tryage"]["model"], response.text

    _show(console, "LlamaIndex: Tryage(llms=...).complete", prompts, ask)


def _show(
    console: Console,
    title: str,
    prompts: Sequence[MaskedPrompt],
    ask: Callable[[str], tuple[str, str]],
) -> None:
    """Print each passage with the words that the picked expert filled in, right or wrong."""
    from rich.text import Text

    console.print(f"[bold]{title}[/bold]")
    for prompt in prompts:
        model, answer = ask(prompt.text)
        words = _filled_words(prompt.text, answer)
        right = [w.lower() == a.lower() for w, a in zip(words, prompt.answers, strict=True)]
        line = Text()
        for i, gap in enumerate(prompt.text.split(MASK)):
            if i:
                line.append(words[i - 1], style="bold green" if right[i - 1] else "bold red")
                if not right[i - 1]:
                    line.append(f" ({prompt.answers[i - 1]})", style="dim")
            line.append(" ".join(gap.split("\n")))
        console.print(
            f"  {prompt.domain} → expert [bold]{model}[/bold], {sum(right)} of {len(right)} right:"
        )
        console.print(line, soft_wrap=False)
        console.print()


def _filled_words(passage: str, answer: str) -> list[str]:
    """Return what stands in the answer where the passage has its masks."""
    gaps = [re.escape(gap) for gap in passage.split(MASK)]
    match = re.fullmatch("(.*?)".join(gaps), answer, flags=re.DOTALL)
    return list(match.groups()) if match else ["?"] * (len(gaps) - 1)

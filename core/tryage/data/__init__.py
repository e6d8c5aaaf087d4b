"""Performance tables: what predictors learn from and are judged on."""

from tryage.data.leaks import shared_prompts, without_prompts_of
from tryage.data.merge import merged
from tryage.data.split import Split, split_by_domain, split_by_model, split_by_prompt
from tryage.data.table import PerformanceTable
from tryage.data.text import normalise, question_of

__all__ = [
    "PerformanceTable",
    "Split",
    "merged",
    "normalise",
    "question_of",
    "shared_prompts",
    "split_by_domain",
    "split_by_model",
    "split_by_prompt",
    "without_prompts_of",
]

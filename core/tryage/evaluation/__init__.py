"""How good the choices are that follow from predictions, and how sure that is."""

from tryage.evaluation.evaluate import evaluate
from tryage.evaluation.report import Curve, Evaluation, Measures, Prompts

__all__ = ["Curve", "Evaluation", "Measures", "Prompts", "evaluate"]

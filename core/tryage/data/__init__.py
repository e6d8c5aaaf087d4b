"""Performance tables: what predictors learn from and are judged on."""

from tryage.data.split import Split, split_by_prompt
from tryage.data.table import PerformanceTable

__all__ = ["PerformanceTable", "Split", "split_by_prompt"]

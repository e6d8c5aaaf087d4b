"""The perceptive routers of a run: trained once, kept, and loaded from then on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tryage.data import PerformanceTable
from tryage.experts import Expert
from tryage.predictors.base import CONFIG_FILE
from tryage.predictors.perceptive import PerceptivePredictor
from tryage.predictors.staging import staged
from tryage.predictors.transformer import CHECKPOINT_FILE


def trained(
    router: PerceptivePredictor, table: PerformanceTable, folder: Path
) -> PerceptivePredictor:
    """Return the router, trained; from the folder if it stands there.

    A training that broke off goes on from its last checkpoint.

    Args:
        router: Not fitted; how it is to learn.
        table: What to learn from.
        folder: Of this router on this table alone.
    """
    if not (folder / CONFIG_FILE).exists():
        router.fit(table, checkpoints=folder)
        router.save(folder)
    (folder / CHECKPOINT_FILE).unlink(missing_ok=True)  # four times as large as the router
    kept = PerceptivePredictor.load(folder)
    kept.backbone = router.backbone  # where it is now, and not where it was then
    return kept


def backbone_of(expert: Expert, folder: Path) -> Path:
    """Write an expert's encoder as a folder that a router can start from; return the folder.

    So there is an encoder to start from where no hub can be reached: it has read the same kinds of
    text, and one tokenizer serves both.
    """
    from transformers import PreTrainedTokenizerFast
    from transformers.utils import logging

    if (folder / "config.json").exists():
        return folder
    encoder: Any = expert.model.base_model
    special = {
        f"{kind}_token": f"[{kind.upper()}]" for kind in ("unk", "pad", "cls", "sep", "mask")
    }
    tokenizer = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=expert.tokenizer,
        model_max_length=expert.model.config.max_position_embeddings,
        **special,
    )
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        with staged(folder) as fresh:
            encoder.save_pretrained(fresh)
            tokenizer.save_pretrained(fresh)
    finally:
        if shown:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]
    return folder

"""A sentence encoder, distilled into a table of token vectors.

python -m tryage.training.distil sentence-transformers/all-MiniLM-L6-v2 --out encoder
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from tryage.encoders.static import StaticEncoder, quantise
from tryage.errors import MissingExtra

DIMENSIONS = 256


def distil(encoder: str | Path, dimensions: int = DIMENSIONS) -> StaticEncoder:
    """Return a sentence encoder's vocabulary as a static table, one byte a number.

    Model2Vec (Tulkens and van Dongen, 2024) does the work: each token goes through the encoder by
    itself, the outcomes are cut down to their principal components, and rare tokens get more weight
    (smooth inverse frequency: Arora, Liang and Ma, 2017).

    Args:
        encoder: A name on the Hugging Face hub or a folder, for `sentence-transformers`.
        dimensions: Length of the vectors that are kept.

    Raises:
        MissingExtra: Distilling needs `pip install 'tryage[train]'`.
    """
    try:
        from model2vec.distill import distill as distil_with_model2vec
    except ImportError as error:
        raise MissingExtra("distilling needs model2vec: pip install 'tryage[train]'.") from error
    model = distil_with_model2vec(str(encoder), pca_dims=dimensions)
    vectors = np.asarray(model.embedding, dtype=np.float32)
    unknown = model.tokenizer.token_to_id("[UNK]")
    if unknown is not None:
        # What the encoder has no token for says nothing: it must not pull every such text together.
        vectors[unknown] = 0
    return StaticEncoder(*quantise(vectors), model.tokenizer)


def main() -> None:
    """Distil an encoder from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("encoder", help="name on the Hugging Face hub, or a folder")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--dimensions", type=int, default=DIMENSIONS)
    arguments = parser.parse_args()
    distil(arguments.encoder, arguments.dimensions).save(arguments.out)


if __name__ == "__main__":
    main()

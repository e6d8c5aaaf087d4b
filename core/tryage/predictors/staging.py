"""Saving that leaves the old files whole if it fails half-way."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def staged(directory: Path) -> Iterator[Path]:
    """Yield an empty folder whose files move into the directory once all of them are written.

    If anything fails before (a full disc, an interruption), the directory stays as it was. A folder
    in it is replaced whole: none of its old files stays beside the new ones.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with staged(Path(folder)) as fresh:
        ...         _ = (fresh / "a.txt").write_text("new")
        ...     os.listdir(folder)
        ['a.txt']
    """
    import tempfile  # with all that it loads; `import tryage` comes by here

    directory.mkdir(parents=True, exist_ok=True)
    # Inside the directory, since a file can only be moved at one stroke within a file system.
    with tempfile.TemporaryDirectory(prefix=".saving-", dir=directory) as temporary:
        fresh = Path(temporary)
        yield fresh
        moved = sorted(path.relative_to(fresh) for path in fresh.rglob("*") if path.is_file())
        for file in moved:
            (directory / file).parent.mkdir(parents=True, exist_ok=True)
            os.replace(fresh / file, directory / file)
        for folder in {file.parent for file in moved} - {Path()}:
            for path in (directory / folder).iterdir():
                if path.is_file() and path.relative_to(directory) not in moved:
                    path.unlink()

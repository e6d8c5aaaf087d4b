"""Libraries: ordered sets of model cards, and the one that ships."""

from tryage.library.library import Library, names_of

__all__ = ["Library", "names_of"]

"""The page for people at `/`, and the figures that it shows."""

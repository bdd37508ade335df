"""Pages of no app."""

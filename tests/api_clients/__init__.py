"""The REST API through clients that others wrote: one generated from its description, and one that means it harm."""

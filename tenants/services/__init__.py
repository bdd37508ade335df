"""Writes about people, tenants and their tokens. Each function is one change."""

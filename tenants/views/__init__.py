"""Pages about tenants: which one a person acts for, and its settings."""

"""What every REST endpoint shares, and the endpoints about people, tenants and tokens. Knows nothing of keys."""

"""The REST API about tiers, keys and what stands behind them: thin callers of services and selectors."""

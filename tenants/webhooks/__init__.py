"""Outgoing webhooks: what happened to a tenant's things is told to the URLs that the tenant registered.

``emit`` writes what there is to tell in the transaction of the change itself (an outbox); ``deliver`` sends it, again and again for
three days; ``endpoints`` is what a tenant does with its endpoints. Knows nothing of keys: who calls ``emit`` says what happened.
"""

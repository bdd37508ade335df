"""An embedded stand-in for Amazon API Gateway, for laptops and tests.

It speaks the part of API Gateway that API keys and usage plans need: the control plane (the management API that
boto3 calls) and the data plane (the endpoint that tenants call). ``python -m sandbox --help`` starts it.

The package knows nothing of the project around it: no Django, no boto3. Where AWS's behaviour is not documented, the
choice made here is marked *choice* beside the code and listed in ``docs/sandbox.md``.
"""

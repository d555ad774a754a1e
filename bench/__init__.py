"""Load generators and the report of docs/performance.md; run by hand with ``python -m bench``."""

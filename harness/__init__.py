"""Real zones for tests, the demo and the load tests: processes, links and clients. Never part of the installed product."""

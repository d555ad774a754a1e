"""Tests of koinon.policy."""

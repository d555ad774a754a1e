"""Tests of koinon.objects."""

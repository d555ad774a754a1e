"""Restricted attributes: section 6 of the template reference, row by row."""

from __future__ import annotations

import pytest

from koinon.objects.restricted import keep_restricted, restricted_change
from koinon.objects.template import Template

NAMES = ("KEEP", "disk/SIZE", "DISK/DRIVER")


@pytest.mark.parametrize(
    ("old", "new", "replace", "changed"),
    [
        ("KEEP=1", "KEEP=2", True, "KEEP"),
        ("KEEP=1", "KEEP=2", False, "KEEP"),
        ("KEEP=1", "KEEP=1 FREE=2", True, None),
        ("KEEP=1", "FREE=2", True, None),
        ("", "KEEP=1", False, "KEEP"),
        ("KEEP=1", "KEEP=1 KEEP=2", False, "KEEP"),
        ("KEEP=1", "KEEP=[]", False, "KEEP"),
        ("DISK=[SIZE=1,A=1]", "DISK=[SIZE=1,A=2]", True, None),
        ("DISK=[SIZE=1]", "DISK=[SIZE=2]", True, "DISK"),
        ("DISK=[SIZE=1]", "", True, "DISK"),
        ("DISK=[SIZE=1]", "", False, None),
        ("DISK=[SIZE=1]", "DISK=[]", False, "DISK"),
        ("DISK=[SIZE=1]", "DISK=x", False, "DISK"),
        ("DISK=[SIZE=1] DISK=[SIZE=2]", "DISK=[SIZE=2] DISK=[SIZE=1]", False, None),
        ("DISK=[SIZE=1]", "DISK=[SIZE=1] DISK=[DRIVER=raw]", False, "DISK"),
        ("DISK=[A=1]", "<T><DISK><size>9</size></DISK></T>", False, "DISK"),
    ],
)
def test_names_what_may_not_change(old: str, new: str, replace: bool, changed: str | None) -> None:
    assert restricted_change(Template.parse(old), Template.parse(new), NAMES, replace=replace) == changed


def test_a_replace_keeps_what_it_does_not_mention() -> None:
    new = Template.parse("FREE=1")
    keep_restricted(Template.parse("KEEP=1 KEEP=2 OTHER=3"), new, NAMES)
    assert new == Template.parse("FREE=1 KEEP=1 KEEP=2")

"""VLAN rules of a group: a list that a template replaces."""

from __future__ import annotations

import pytest

from koinon.accounting.vlan_rules import rules_of
from koinon.errors import ActionError


def test_rules_keep_their_order_and_their_text() -> None:
    text = 'RULE=[ID="20-30", SCOPE="a & <b>", VNTEMPLATE="7"] RULE=[ID="3"]'
    assert rules_of(text) == (
        "<RULE><ID><![CDATA[20-30]]></ID><SCOPE><![CDATA[a & <b>]]></SCOPE><VNTEMPLATE><![CDATA[7]]></VNTEMPLATE></RULE>"
        "<RULE><ID><![CDATA[3]]></ID><SCOPE><![CDATA[]]></SCOPE><VNTEMPLATE><![CDATA[]]></VNTEMPLATE></RULE>"
    )
    assert rules_of("") == ""
    assert rules_of("RULE=[ID=1,SCOPE=a] RULE=[ID=1,SCOPE=b]").count("<RULE>") == 2


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("RULE=[", "Parse error"),
        ("OTHER=[ID=1]", r"A VLAN rule is written RULE = \[ ID = \.\.\., SCOPE = \.\.\., VNTEMPLATE = \.\.\. \]\."),
        ("RULE=1", "A VLAN rule is written"),
        ("RULE=[ID=1,VLAN=2]", "A VLAN rule is written"),
        ("RULE=[SCOPE=x]", "A VLAN rule needs an ID."),
        ("RULE=[ID=1] RULE=[ID=1]", "The VLAN rule with the ID 1 stands there twice."),
    ],
)
def test_other_text_is_refused(text: str, why: str) -> None:
    with pytest.raises(ActionError, match=why):
        rules_of(text)

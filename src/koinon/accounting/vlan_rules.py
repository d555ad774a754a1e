"""The VLAN rules of one group in one zone: which VLANs its networks may use, as a list that a template replaces.

Not here: where they are stored (quota_rows.py); who may set them (identity/local_limits.py).
Source:   OpenNebula share/doc/xsd/group.xsd (VLAN_RULES: what a rule holds, and its name).
"""

from __future__ import annotations

from typing import Final

from koinon.errors import InvalidChangeError
from koinon.objects import xml
from koinon.objects.template import Template

_RULE: Final = "RULE"
_PARTS: Final = ("ID", "SCOPE", "VNTEMPLATE")


def rules_of(text: str) -> str:
    """The rules of a template as stored and shown: ``<RULE>...</RULE>`` elements in the order given.

    Args:
        text: vectors ``RULE = [ ID = ..., SCOPE = ..., VNTEMPLATE = ... ]``; empty text is no rules.

    Raises:
        InvalidChangeError: it can't be parsed, holds something else, or a rule has no ID or stands there twice.
    """
    try:
        template = Template.parse(text)
    except ValueError as error:
        raise InvalidChangeError(str(error)) from error
    rules: dict[str, None] = {}
    for name, value in template.items():
        if name != _RULE or isinstance(value, str) or not value.keys() <= set(_PARTS):
            raise InvalidChangeError(f"A VLAN rule is written {_RULE} = [ {', '.join(f'{part} = ...' for part in _PARTS)} ].")
        if not value.get("ID"):
            raise InvalidChangeError("A VLAN rule needs an ID.")
        rule = "".join(f"<{part}>{xml.cdata(value.get(part, ''))}</{part}>" for part in _PARTS)
        if rule in rules:  # the same VLANs may be given in several scopes
            raise InvalidChangeError(f"The VLAN rule with the ID {value['ID'][:64]} stands there twice.")
        rules[rule] = None
    return "".join(f"<{_RULE}>{rule}</{_RULE}>" for rule in rules)

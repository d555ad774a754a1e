"""The requests of docs/guide/json.md, on a new zone, in their order."""

from __future__ import annotations

import json
import re
from pathlib import Path

from harness.zones import Zone
from tests.api.json_client import JsonClient

GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "json.md"
_EXCHANGE = re.compile(r"^> ([A-Z]+) (\S+)(?: (\{.*\}))?(?: ([A-Z][\w-]+): (\S+))?\n< (\d+) (.*)$", re.MULTILINE)


def test_the_guide_shows_what_a_zone_answers(tmp_path: Path) -> None:
    text = GUIDE.read_text()
    exchanges = _EXCHANGE.findall(text)
    assert len(exchanges) == len(re.findall("^> ", text, re.MULTILINE))
    zone = Zone(tmp_path, "alone", settings={"login": {"password_hash": "sha256"}})
    try:
        client = JsonClient(zone.start().port, zone.secret)
        for method, path, body, header, value, status, shown in exchanges:
            headers = {header.replace("-", "_"): value} if header else {}
            answer = client.ask(method, path, json.loads(body) if body else None, **headers)
            assert answer.status == int(status), (path, answer)
            expected = json.loads(shown)
            assert {name: answer.body.get(name) for name in expected} == expected, path
    finally:
        zone.stop()

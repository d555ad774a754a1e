"""The page of the JSON face is true: its requests are made of a new zone, in their order, and answered as it shows."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

from harness.zones import Zone
from tests.acceptance import guide_page
from tests.acceptance.guide_page import Part, Step
from tests.api.json_client import JsonClient

PAGE: Final = guide_page.GUIDES / "json.md"
_REQUEST = re.compile(r"([A-Z]+) (\S+)(?: (\{.*\}))?(?: ([A-Z][\w-]+): (\S+))?")
_ANSWER = re.compile(r"< \d+ (\{.*\})\n")


def test_the_page_shows_what_a_zone_answers(tmp_path: Path) -> None:
    zone = Zone(tmp_path, "alone", settings={"login": {"password_hash": "sha256"}})
    try:
        client = JsonClient(zone.start().port, zone.secret)

        def do(part: Part, _shown: Callable[[str], bool]) -> str:
            assert isinstance(part, Step)
            request, answer = _REQUEST.fullmatch(part.command), _ANSWER.fullmatch(part.shown)
            assert request is not None, part.line
            assert answer is not None, part.line
            method, path, body, header, value = request.groups()
            given = client.ask(method, path, json.loads(body) if body else None, **({header.replace("-", "_"): value} if header else {}))
            told = {name: given.body.get(name) for name in json.loads(answer[1])}  # a page may tell a part of it
            return f"< {given.status} {json.dumps(told, ensure_ascii=False)}\n"

        seen, shown = guide_page.follow(PAGE, do)
    finally:
        zone.stop()
    assert seen == shown

"""Frames come back as they were sent; whatever else arrives is refused with FrameError and nothing else."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from typing import Any, Final

import msgspec
import pytest
import zstandard
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from koinon.statements.chain import extend, verify_run
from koinon.statements.commits import GENESIS, Commit
from koinon.statements.rendering import render
from koinon.statements.schema import MAX_BODY_BYTES as MAX_ROW_BYTES
from koinon.statements.schema import Delete, Insert, RowChange, SetCounter, Update
from koinon.wire.frames import (
    MAX_BODY_BYTES,
    MAX_PAYLOAD_BYTES,
    Body,
    CommitsFrame,
    Frame,
    FrameError,
    Heartbeat,
    Reader,
    ZoneReport,
    encode,
)
from tests.statements.changes import commit, commits

_KEY: Final = Ed25519PrivateKey.from_private_bytes(bytes(32))
_VERIFY: Final = _KEY.public_key().verify
_DOMAIN: Final = b"koinon frame v1\0"


def _accept(signature: bytes, message: bytes) -> None:
    """For tests of what comes after the signature."""


def _commits_frame(*made: Commit, **fields: Any) -> CommitsFrame:
    plain: dict[str, Any] = {
        "federation_id": "f" * 32,
        "epoch": 1,
        "prev_chain": bytes(32),
        "chain": b"\x01" * 32,
        "commits": made or (commit(),),
        "head_index": 2,
        "sent_at_ms": 1_700_000_000_000,
        "losses": 0,
    }
    return CommitsFrame(**(plain | fields))


def _heartbeat(**fields: Any) -> Heartbeat:
    report = ZoneReport(3, 1, 40, 2, 0.25, None, "ok")
    plain: dict[str, Any] = {
        "federation_id": "f" * 32,
        "epoch": 1,
        "head_index": 42,
        "head_chain": bytes(32),
        "master_time_ms": 1_700_000_000_000,
        "zones": (report,),
        "losses": 2,
    }
    return Heartbeat(**(plain | fields))


def _framed(payload: bytes, *, sign: Callable[[bytes], bytes] = _KEY.sign) -> bytes:
    return len(payload).to_bytes(4, "big") + sign(_DOMAIN + payload) + payload


def _packed(body: object) -> bytes:
    """A frame that the master did sign, whatever its body."""
    return _framed(zstandard.compress(msgspec.msgpack.encode(body)))


def _read(*pieces: bytes, verify: Callable[[bytes, bytes], None] = _VERIFY) -> list[Frame]:
    reader = Reader(verify)
    return [frame for piece in pieces for frame in reader.feed(piece)]


@pytest.mark.parametrize("body", [_commits_frame(), _heartbeat(), _heartbeat(zones=())])
def test_a_body_comes_back_with_its_signature_and_payload(body: Body) -> None:
    [(read, signature, payload)] = _read(encode(body, _KEY.sign))
    assert read == body
    _VERIFY(signature, _DOMAIN + payload)


@pytest.mark.parametrize("body", [_commits_frame(losses=0), _heartbeat(losses=0)])
def test_what_was_signed_before_losses_were_counted_is_read_still(body: Body) -> None:
    """Zones keep such a frame as proof, from before the master was upgraded."""
    fields = msgspec.msgpack.decode(msgspec.msgpack.encode(body))
    [(read, _, _)] = _read(_packed(fields[:-1]))
    assert read == body


@given(st.lists(commits(), min_size=1, max_size=3))
def test_commits_come_back_as_they_were_sent(made: list[Commit]) -> None:
    [(read, _, _)] = _read(encode(_commits_frame(*made), _KEY.sign))
    assert isinstance(read, CommitsFrame)
    assert read.commits == tuple(made)


def test_every_kind_of_change_keeps_its_type() -> None:
    changes: tuple[RowChange, ...] = (
        Insert("acl", (1, 2, -3, 2**63 - 1, 5)),
        Update("user_pool", 5, ("name", "gid"), ("7", 7)),
        Delete("user_pool", 5),
        SetCounter("user_pool", 5),
    )
    [(read, _, _)] = _read(encode(_commits_frame(commit(changes=changes)), _KEY.sign))
    assert isinstance(read, CommitsFrame)
    assert read.commits[0].changes == changes
    assert [type(change) for change in read.commits[0].changes] == [Insert, Update, Delete, SetCounter]


@given(st.data())
def test_it_does_not_matter_how_the_stream_is_cut(data: st.DataObject) -> None:
    bodies: list[Body] = [_heartbeat(), _commits_frame(), _heartbeat(zones=())]
    stream = b"".join(encode(body, _KEY.sign) for body in bodies)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    pieces = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert [body for body, _, _ in _read(*pieces)] == bodies


def test_bytes_are_taken_even_if_nobody_reads_the_iterator() -> None:
    reader, stream = Reader(_VERIFY), encode(_heartbeat(), _KEY.sign)
    reader.feed(stream[:50])
    assert [body for body, _, _ in reader.feed(stream[50:])] == [_heartbeat()]


def test_frames_left_in_an_iterator_come_with_the_next_call() -> None:
    reader = Reader(_VERIFY)
    first = next(reader.feed(encode(_heartbeat(), _KEY.sign) + encode(_commits_frame(), _KEY.sign)))
    assert [first[0], *(body for body, _, _ in reader.feed(b""))] == [_heartbeat(), _commits_frame()]


def test_what_is_read_can_be_verified_as_a_run() -> None:
    made = commit(digests={})
    chain = extend(GENESIS.chain, made, [render(change) for change in made.changes])
    [(read, _, _)] = _read(encode(_commits_frame(made, chain=chain), _KEY.sign))
    assert isinstance(read, CommitsFrame)
    assert verify_run(GENESIS, read.commits, read.chain)[-1][2] == chain


def test_a_heartbeat_of_ten_zones_is_small() -> None:
    zones = tuple(ZoneReport(zone_id, 1, 1_000_000 + zone_id, 3, 0.5, 0.25, "ok") for zone_id in range(10))
    assert len(encode(_heartbeat(zones=zones), _KEY.sign)) < 600


# What the master did not say


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_frame_changed_anywhere_is_refused(at: int, flip: int) -> None:
    stream = bytearray(encode(_commits_frame(), _KEY.sign) + encode(_heartbeat(), _KEY.sign))
    first_end = 68 + int.from_bytes(stream[:4], "big")
    at = 4 + at % (first_end - 4)
    stream[at] ^= flip
    with pytest.raises(FrameError, match="signature"):
        _read(bytes(stream))


def test_a_frame_of_another_master_is_refused() -> None:
    with pytest.raises(FrameError, match="signature"):
        _read(encode(_heartbeat(), Ed25519PrivateKey.generate().sign))


def test_a_signature_for_another_purpose_is_refused() -> None:
    payload = zstandard.compress(msgspec.msgpack.encode(_heartbeat()))
    with pytest.raises(FrameError, match="signature"):
        _read(_framed(payload, sign=lambda message: _KEY.sign(payload)))


@pytest.mark.parametrize("error", [InvalidSignature(), ValueError("no key of zone 7 is known")])
def test_however_verify_refuses_it_is_a_frame_error(error: Exception) -> None:
    def refuse(signature: bytes, message: bytes) -> None:
        raise error

    with pytest.raises(FrameError, match="signature"):
        _read(encode(_heartbeat(), _KEY.sign), verify=refuse)


def test_nothing_is_unpacked_before_the_signature_was_verified() -> None:
    def refuse(signature: bytes, message: bytes) -> None:
        raise InvalidSignature

    with pytest.raises(FrameError, match="signature"):
        _read(_framed(b"no zstd at all"), verify=refuse)


def test_after_an_error_the_reader_stays_broken() -> None:
    reader = Reader(_VERIFY)
    with pytest.raises(FrameError, match="announces 0 bytes"):
        list(reader.feed(bytes(4)))
    with pytest.raises(FrameError, match="announces 0 bytes"):
        list(reader.feed(encode(_heartbeat(), _KEY.sign)))


def test_frames_before_the_bad_one_are_given() -> None:
    frames = Reader(_VERIFY).feed(encode(_heartbeat(), _KEY.sign) + bytes(4))
    assert next(frames)[0] == _heartbeat()
    with pytest.raises(FrameError):
        next(frames)


# What the master signed and we still refuse


@pytest.mark.parametrize("size", [0, MAX_PAYLOAD_BYTES + 1, 2**32 - 1])
def test_a_size_out_of_bounds_is_refused_before_its_bytes_come(size: int) -> None:
    with pytest.raises(FrameError, match="announces"):
        _read(size.to_bytes(4, "big"))


def test_a_body_that_unpacks_to_more_than_its_bound_is_refused() -> None:
    bomb = zstandard.compress(bytes(MAX_BODY_BYTES + 1))
    assert len(bomb) < 10_000
    with pytest.raises(FrameError, match=f"{MAX_BODY_BYTES + 1} bytes"):
        _read(_framed(bomb))


def test_a_body_that_hides_its_size_is_refused() -> None:
    bomb = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(1000))
    with pytest.raises(FrameError, match="unknown number"):
        _read(_framed(bomb))


def test_a_size_that_lies_is_refused_without_taking_the_memory() -> None:
    """A zstd header that claims 2**62 bytes for a body of none."""
    header = b"\x28\xb5\x2f\xfd\xe0" + (2**62).to_bytes(8, "little")
    with pytest.raises(FrameError):
        _read(_framed(header + b"\x01\x00\x00"))


@pytest.mark.parametrize(
    "payload",
    [
        b"x",
        b"\x28\xb5\x2f\xfd",
        zstandard.compress(b""),
        zstandard.compress(msgspec.msgpack.encode(_heartbeat()))[:-1],
        zstandard.compress(msgspec.msgpack.encode(_heartbeat())) + b"x",
        zstandard.compress(msgspec.msgpack.encode(_heartbeat())) * 2,
        zstandard.compress(msgspec.msgpack.encode(_heartbeat()) + b"\xc0"),
        zstandard.compress(b"\x91" * 100_000 + b"\xc0"),
        zstandard.compress(b"\xdd\xff\xff\xff\xff"),
        zstandard.compress(b"\xc6\xff\xff\xff\xff"),
    ],
    ids=["not zstd", "magic only", "empty", "cut", "junk after", "twice", "junk in the body", "deep", "endless array", "endless bytes"],
)
def test_a_payload_that_is_no_body_is_refused(payload: bytes) -> None:
    with pytest.raises(FrameError):
        _read(_framed(payload))


_HEARTBEAT: Final[list[Any]] = ["H", "f", 1, 2, bytes(32), 4, [[3, 1, 40, 2, 0.5, None, "ok"]], 0]
_PLAIN: Final = ["0" * 32, 1, 1, 0, "", b"", b"", {}, 0, [["D", "acl", 5]]]
_COMMITS: Final[list[Any]] = ["C", "f", 1, bytes(32), bytes(32), [_PLAIN], 1, 4, 0]


def _with(body: list[Any], at: int, value: object) -> list[Any]:
    return [*body[:at], value, *body[at + 1 :]]


def _with_zone(at: int, value: object) -> list[Any]:
    return _with(_HEARTBEAT, 6, [_with(_HEARTBEAT[6][0], at, value)])


def _with_commit(at: int, value: object) -> list[Any]:
    return _with(_COMMITS, 5, [_PLAIN, _with(list(_PLAIN), at, value)])


@pytest.mark.parametrize("body", [_HEARTBEAT, _COMMITS])
def test_the_plain_bodies_of_the_next_test_are_good(body: list[Any]) -> None:
    assert len(_read(_packed(body))) == 1


@pytest.mark.parametrize(
    "body",
    [
        None,
        7,
        {},
        [],
        ["X"],
        ["H"],
        _HEARTBEAT[:-2],
        [*_HEARTBEAT, 1],
        _with(_HEARTBEAT, 1, "f" * 65),
        _with(_HEARTBEAT, 2, -1),
        _with(_HEARTBEAT, 2, 2**63),
        _with(_HEARTBEAT, 3, 1.5),
        _with(_HEARTBEAT, 4, bytes(31)),
        _with(_HEARTBEAT, 4, "0" * 32),
        _with(_HEARTBEAT, 7, -1),
        _with_zone(0, 2**31),
        _with_zone(3, -1),
        _with_zone(4, math.nan),
        _with_zone(4, math.inf),
        _with_zone(5, -1.0),
        _with_zone(6, "x" * 65),
        _COMMITS[:-2],
        [*_COMMITS, 1],
        _with(_COMMITS, 3, bytes(33)),
        _with(_COMMITS, 8, None),
        _with(_COMMITS, 5, []),
        _with(_COMMITS, 5, [None]),
        _with(_COMMITS, 5, [[]]),
        _with_commit(0, "x"),
        _with_commit(1, -1),
        _with_commit(2, 0),
        _with_commit(2, 2**64 - 1),
        _with_commit(3, 2**40),
        _with_commit(4, "\x00"),
        _with_commit(5, bytes(65)),
        _with_commit(7, {"host_pool": bytes(32)}),
        _with_commit(7, {"acl": b""}),
        _with_commit(8, -5),
        _with_commit(9, []),
        _with_commit(9, [["S", "SELECT 1"]]),
        _with_commit(9, ["DELETE FROM acl WHERE oid = 5"]),
        _with_commit(9, [["D", "host_pool", 5]]),
        _with_commit(9, [["D", "acl", "5 OR 1=1"]]),
        _with_commit(9, [["D", "acl", True]]),
        _with_commit(9, [["D", "acl", 2**31]]),
        _with_commit(9, [["C", "pool_control", 5]]),
        _with_commit(9, [["U", "acl", 5, ["rights = 1, zone"], [5]]]),
        _with_commit(9, [["U", "acl", 5, ["zone", "rights"], [5, 5]]]),
        _with_commit(9, [["U", "acl", 5, ["rights"], []]]),
        _with_commit(9, [["U", "acl", 5, [], []]]),
        _with_commit(9, [["U", "user_pool", 5, ["name"], [b"bytes"]]]),
        _with_commit(9, [["U", "user_pool", 5, ["name"], ["a\x0bb"]]]),
        _with_commit(9, [["U", "user_pool", 5, ["name"], ["x" * 129]]]),
        _with_commit(9, [["U", "user_pool", 5, ["body"], ["x" * (MAX_ROW_BYTES + 1)]]]),
        _with_commit(9, [["I", "acl", [1, 2, 3, 4]]]),
        _with_commit(9, [["I", "acl", [1, 2, 3, 4, 2**63]]]),
        _with_commit(9, [["I", "acl", [1, 2, 3, 4, None]]]),
        _with_commit(9, [["I", "host_pool", [1, "h", "", 0, 0, 0, 0, 0]]]),
        _with_commit(9, [["I", "user_pool", [1, 2, "", 0, 0, 0, 0, 0]]]),
    ],
)
def test_a_body_outside_its_type_or_the_grammar_is_refused(body: object) -> None:
    with pytest.raises(FrameError):
        _read(_packed(body))


def test_text_that_is_not_utf_8_is_refused() -> None:
    raw = msgspec.msgpack.encode(_HEARTBEAT).replace(b"\xa2ok", b"\xa2\xc3\x28")
    with pytest.raises(FrameError):
        _read(_framed(zstandard.compress(raw)))


@pytest.mark.parametrize("change", [Delete("host_pool", 1), Update("user_pool", 5, ("body",), ("\x01",))])
def test_a_commit_outside_the_grammar_is_refused_although_it_was_encoded(change: RowChange) -> None:
    with pytest.raises(FrameError, match="the log may not hold"):
        _read(encode(_commits_frame(commit(changes=(change,))), _KEY.sign))


# Fuzz: each layer is fed what the layer around it would let through


def _read_anything(stream: bytes) -> None:
    with contextlib.suppress(FrameError):  # any other error fails the test
        assert all(isinstance(body, Body) for body, _, _ in _read(stream, verify=_accept))


@given(st.binary(max_size=300))
def test_any_bytes_give_a_frame_error_or_nothing(stream: bytes) -> None:
    _read_anything(stream)


@given(st.binary(min_size=1, max_size=200))
def test_any_payload_gives_a_frame_error(payload: bytes) -> None:
    with pytest.raises(FrameError):
        _read(_framed(payload), verify=_accept)


@given(st.binary(max_size=200))
def test_any_body_gives_a_frame_error(raw: bytes) -> None:
    with pytest.raises(FrameError):
        _read(_framed(zstandard.compress(raw)), verify=_accept)


@given(st.sampled_from([_HEARTBEAT, _COMMITS]), st.integers(0, 400), st.binary(max_size=4), st.integers(0, 4))
def test_a_body_changed_anywhere_gives_a_frame_error_or_a_body(body: list[Any], at: int, put: bytes, gone: int) -> None:
    raw = msgspec.msgpack.encode(body)
    at %= len(raw)
    _read_anything(_framed(zstandard.compress(raw[:at] + put + raw[at + gone :])))


@given(st.integers(0, 400), st.binary(max_size=4), st.integers(0, 4))
def test_a_payload_changed_anywhere_gives_a_frame_error_or_a_body(at: int, put: bytes, gone: int) -> None:
    payload = zstandard.compress(msgspec.msgpack.encode(_COMMITS))
    at %= len(payload)
    _read_anything(_framed(payload[:at] + put + payload[at + gone :] or b"x"))


_ANYTHING: Final = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=8) | st.binary(max_size=33),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)


@given(st.sampled_from([_HEARTBEAT, _COMMITS]), st.integers(0, 6), _ANYTHING)
def test_any_value_in_any_field_gives_a_frame_error_or_a_body(body: list[Any], at: int, value: object) -> None:
    _read_anything(_packed(_with(body, at, value)))


@given(st.integers(0, 9), _ANYTHING)
def test_any_value_in_a_commit_gives_a_frame_error_or_a_body(at: int, value: object) -> None:
    _read_anything(_packed(_with_commit(at, value)))


# What is not even sent


def test_a_body_larger_than_a_reader_takes_is_not_encoded() -> None:
    row = Update("user_pool", 5, ("body",), ("x" * MAX_ROW_BYTES,))
    with pytest.raises(FrameError, match="fewer commits"):
        encode(_commits_frame(*[commit(changes=(row,) * 3)] * 6), _KEY.sign)


def test_a_signature_of_another_length_is_not_sent() -> None:
    with pytest.raises(FrameError, match="10 bytes"):
        encode(_heartbeat(), lambda message: bytes(10))

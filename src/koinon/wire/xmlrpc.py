"""XML-RPC as OpenNebula speaks it: the one module to import for it.

Path:     body -> decode() -> bind() -> the call -> encode_success() or encode_failure() -> body
Not here: HTTP; which calls exist (calls/).
"""

from __future__ import annotations

from koinon.wire.parameters import bind
from koinon.wire.values import I8, MALFORMED, UNKNOWN_METHOD, WRONG_PARAMETERS, DateTime, Fault, Malformed, Request, Value, unknown_method
from koinon.wire.xmlrpc_reading import MAX_DEPTH, MAX_VALUES, decode, decode_reply
from koinon.wire.xmlrpc_writing import encode_call, encode_failure, encode_fault, encode_result, encode_success, escape, success_chunks

__all__ = [
    "I8",
    "MALFORMED",
    "MAX_DEPTH",
    "MAX_VALUES",
    "UNKNOWN_METHOD",
    "WRONG_PARAMETERS",
    "DateTime",
    "Fault",
    "Malformed",
    "Request",
    "Value",
    "bind",
    "decode",
    "decode_reply",
    "encode_call",
    "encode_failure",
    "encode_fault",
    "encode_result",
    "encode_success",
    "escape",
    "success_chunks",
    "unknown_method",
]

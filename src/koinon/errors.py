"""Every failure a caller may see, once: the XML-RPC code and its HTTP twin render from here.

Texts are what the caller reads; the ``[method]`` prefix is put before them where the reply is made.
Source: OpenNebula's XML-RPC error codes (include/Request.h) and their texts (src/rm/Request.cc).
"""

from __future__ import annotations


class CloudError(Exception):
    """What went wrong, why, and what to do, in one text that may be shown to the caller.

    Attributes:
        code: the XML-RPC error code.
        status: the HTTP status that says the same.
        object_id: id of the object that caused the failure, -1 if there is none.
    """

    code: int = 0x2000
    status: int = 500

    def __init__(self, text: str, *, object_id: int = -1) -> None:
        super().__init__(text)
        self.text = text
        self.object_id = object_id


class RemoteError(CloudError):
    """Another zone's refusal, in its own words and with its own code."""

    def __init__(self, text: str, code: int, object_id: int, status: int = 0) -> None:
        super().__init__(text, object_id=object_id)
        self.code = code
        self.status = status or _STATUS.get(code, self.status)


class AuthenticationError(CloudError):
    """The session names no one we know, or its secret is wrong."""

    code, status = 0x0100, 401

    def __init__(self, text: str = "User couldn't be authenticated, aborting call.") -> None:
        super().__init__(text)


class AuthorizationError(CloudError):
    """The caller is known and may not do this."""

    code, status = 0x0200, 403

    @classmethod
    def denied(cls, user_id: int, detail: str, *, object_id: int = -1) -> AuthorizationError:
        """``detail`` is one or more ``Not authorized to perform OP TYPE [ID]``, joined with ``; ``."""
        return cls(f"User [{user_id}] : {detail}.", object_id=object_id)

    @classmethod
    def not_for(cls, user_id: int, label: str) -> AuthorizationError:
        """The call is not for this user at all; ``label`` is the kind's name or ``-``."""
        return cls(f"User [{user_id}] not authorized to perform action on {label}.")


class NotFoundError(CloudError):
    """No object of this kind has that id (or, with id -1, that name)."""

    code, status = 0x0400, 404

    def __init__(self, label: str, object_id: int) -> None:
        text = f"Error getting {label} Pool." if object_id < 0 else f"Error getting {label} [{object_id}]."
        super().__init__(text, object_id=object_id)


class ActionError(CloudError):
    """The object's state, or the daemon's, does not allow this."""

    code, status = 0x0800, 409


class InvalidChangeError(ActionError):
    """The value that something was to be changed to makes no sense."""

    status = 422


class ChangedError(ActionError):
    """The object is not the version that the caller's change rests on."""

    status = 412


class BadArgumentError(CloudError):
    """An argument has the right type and a wrong value (RPC_API)."""

    code, status = 0x1000, 400


class InternalError(CloudError):
    """OpenNebula's catch-all, which is not raised itself: the classes below say whose fault it was, and HTTP's status with it."""

    code, status = 0x2000, 500


class InvalidError(InternalError):
    """What was sent makes no sense: a malformed rule or template, a name that is not allowed, an object that would be too large."""

    status = 422


class RestrictedError(InternalError):
    """The caller may change the object, and not this attribute of it."""

    status = 403


class MissingError(InternalError):
    """There is nothing with that id, where OpenNebula's code for this is not the one of NotFoundError."""

    status = 404


class ConflictError(InternalError):
    """It is so already, or is not so, or may not be otherwise."""

    status = 409


class TakenError(ConflictError):
    """The name belongs to another object."""

    def __init__(self, acl_name: str, object_id: int) -> None:
        super().__init__(f"NAME is already taken by {acl_name} {object_id}.")


class DefectError(InternalError):
    """A fault of ours, not of the caller; the server's log says more."""


class UnavailableError(InternalError):
    """This zone can't do it now and changed nothing: the caller may try again."""

    status = 503


class OutcomeUnknownError(InternalError):
    """The write may or may not have happened; the text carries the request id or index to look for."""

    status = 504


class ReusedError(ActionError):
    """A request that was to take effect once has the id of another one."""

    status = 422

    def __init__(self) -> None:
        super().__init__("This request id (Idempotency-Key) was used for another request. Use a new one.")


class AllocationError(CloudError):
    """An object could not be made."""

    code, status = 0x4000, 409

    def __init__(self, label: str, reason: str = "") -> None:
        super().__init__(f"Error allocating a new {label}." + (f" {reason}" if reason else ""))


class ReplicationError(CloudError):
    """A log entry from another zone was not taken."""

    code, status = 0x10000, 409


_STATUS = {kind.code: kind.status for kind in CloudError.__subclasses__() if kind is not RemoteError}

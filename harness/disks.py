"""A small disk that fills up: a tmpfs, mounted by root."""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path
from typing import Final

from harness.engines import Missing

_FILLER: Final = "filler"
_BLOCK: Final = bytes(4096)


class SmallDisk:
    """A file system of its own at a directory; what was there is hidden while it is.

    Args:
        place: the directory, made if it is not there; its owner may write to the disk too.
        mib: how much it holds.

    Raises:
        Missing: this process may mount nothing.
    """

    def __init__(self, place: Path, mib: int) -> None:
        self._place = place
        place.mkdir(parents=True, exist_ok=True)
        owner = place.stat()
        options = f"size={mib}m,mode=700,uid={owner.st_uid},gid={owner.st_gid}"
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], capture_output=True, text=True, check=False)
        if done.returncode:
            raise Missing(f"A small disk can't be mounted here, which needs root: {done.stderr.strip()}")

    def fill(self) -> None:
        """Leave not one block."""
        with (self._place / _FILLER).open("ab", buffering=0) as filler, contextlib.suppress(OSError):
            os.posix_fallocate(filler.fileno(), filler.tell(), self.free_bytes())
        with (self._place / _FILLER).open("ab", buffering=0) as filler, contextlib.suppress(OSError):
            while True:
                filler.write(_BLOCK)

    def free(self) -> None:
        """Take away what ``fill`` has put there."""
        (self._place / _FILLER).unlink(missing_ok=True)

    def free_bytes(self) -> int:
        found = os.statvfs(self._place)
        return found.f_bavail * found.f_frsize

    def remove(self) -> None:
        """Unmount it; whoever still uses it keeps it to the end."""
        subprocess.run(["umount", "--lazy", self._place], check=False)

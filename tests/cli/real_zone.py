"""A whole zone behind a socket, without a server process: its database, log-in and dispatcher, in this one."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.api.desk import Desk
from tests.cli.stand_in import HangUps


class RealZone:
    """One zone; serves while it is entered. Its administrator is ``oneadmin:Secret1``."""

    def __init__(self, folder: Path) -> None:
        self.desk = Desk(folder)
        self._turn = threading.Lock()  # the zone's loop serves one thread at a time
        self._server = _Server(self)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/RPC2"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self.desk.close()

    def reply(self, body: bytes) -> bytes:
        with self._turn:
            return self.desk.reply(body)


class _Server(HangUps, ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, zone: RealZone) -> None:
        self.zone = zone
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        reply = self.server.zone.reply(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Type", "text/xml; charset=utf-8")
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, format: str, *args: object) -> None:
        """Tests print what they need."""

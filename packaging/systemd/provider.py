"""An AWX look-alike on loopback for `packaging/systemd/life`: it mints, lists, verifies and revokes tokens, and keeps a
ledger. GET /ledger answers how many of its tokens live and how many it has minted."""
import base64
import json
import secrets
import sys
import threading
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

USER = "svc-ci"
PASSWORD = "look-alike"
LOCK = threading.Lock()
TOKENS = {}


def moment(when):
    return when.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Provider(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body=None):
        data = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        if body is not None:
            self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def known(self):
        form, _, value = self.headers.get("Authorization", "").partition(" ")
        if form == "Basic":
            return base64.b64decode(value).decode() == f"{USER}:{PASSWORD}"
        return form == "Bearer" and any(token["token"] == value for token in TOKENS.values())

    def handle_request(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else {}
        path = self.path.split("?")[0]
        with LOCK:
            if path == "/ledger":
                alive = sorted(token["token"] for token in TOKENS.values())
                return self.answer(200, {"alive": alive, "minted": getattr(self.server, "minted", 0)})
            if not self.known():
                return self.answer(401, {"detail": "Invalid username/password."})
            if path == "/api/v2/me/":
                return self.answer(200, {"count": 1, "results": [{"id": 7, "username": USER}]})
            if self.command == "POST":
                self.server.minted = getattr(self.server, "minted", 0) + 1
                now = datetime.now(timezone.utc)
                token = {
                    "id": self.server.minted,
                    "created": moment(now),
                    "description": body.get("description", ""),
                    "user": 7,
                    "token": secrets.token_hex(15),
                    "expires": moment(now.replace(year=now.year + 1000, month=1, day=1)),
                    "scope": body.get("scope", "write"),
                    "application": None,
                }
                TOKENS[token["id"]] = token
                return self.answer(201, token)
            if self.command == "DELETE":
                number = int(path.rstrip("/").rsplit("/", 1)[1])
                if TOKENS.pop(number, None) is None:
                    return self.answer(404, {"detail": "Not found."})
                return self.answer(204)
            rows = [{**token, "token": "************"} for token in TOKENS.values()]
            return self.answer(200, {"count": len(rows), "next": None, "previous": None, "results": rows})

    do_GET = do_POST = do_DELETE = handle_request


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Provider).serve_forever()

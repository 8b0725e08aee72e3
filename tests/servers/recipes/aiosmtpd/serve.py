"""Two mail servers with one user: each message becomes a line of JSON in the file `letters`."""

import base64
import json
import os
import signal
import socket
import ssl

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword


class Letters:
    async def handle_DATA(self, server, session, envelope):
        letter = {
            "encrypted": session.ssl is not None or server.transport.get_extra_info("sslcontext") is not None,
            "user": session.auth_data.login.decode() if session.auth_data else None,
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "content": base64.b64encode(envelope.original_content).decode(),
        }
        with open("letters", "a") as file:
            file.write(json.dumps(letter) + "\n")
        return "250 OK"


def login(server, session, envelope, mechanism, data):
    right = (
        isinstance(data, LoginPassword)
        and data.login == b"patrold"
        and data.password.decode() == os.environ["secret"]
    )
    return AuthResult(success=right, auth_data=data if right else None, handled=False)


context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
context.load_cert_chain("certificate.pem", "key.pem")
rules = {"authenticator": login, "auth_required": True}
port = int(os.environ["port"])
Controller(Letters(), hostname="127.0.0.1", port=port, tls_context=context, require_starttls=True, **rules).start()
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    second = free.getsockname()[1]
# Of a connection that is encrypted from the start, it does not know so by itself.
Controller(Letters(), hostname="127.0.0.1", port=second, ssl_context=context, auth_require_tls=False, **rules).start()
open("letters", "a").close()
with open("ready.new", "w") as file:
    file.write(str(second))
os.rename("ready.new", "ready")
signal.pause()

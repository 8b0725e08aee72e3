"""Serves Keystone on loopback: port, then what its own command line takes."""

import socketserver
import sys
import wsgiref.simple_server

from keystone.server import wsgi


class Server(socketserver.ThreadingMixIn, wsgiref.simple_server.WSGIServer):
    daemon_threads = True
    request_queue_size = 64


if __name__ == "__main__":
    port = int(sys.argv.pop(1))
    sys.argv[0] = "keystone"
    application = wsgi.initialize_public_application()
    wsgiref.simple_server.make_server("127.0.0.1", port, application, server_class=Server).serve_forever()

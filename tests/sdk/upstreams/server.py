"""What the upstreams of single dialects have in common: an HTTP server that remembers the last request."""

import http.server
import json
import threading


class Upstream:
    """Answers POST by `reply(path, headers, body)`: status, headers, bytes or pieces of bytes. Of other methods the
    path is `METHOD path`."""

    def __init__(self, reply):
        self.last = None
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self):
                self.do_POST()

            def do_DELETE(self):
                self.do_POST()

            def do_POST(self):
                raw = self.rfile.read(int(self.headers["content-length"] or 0))
                outer.last = {"path": self.path, "headers": self.headers, "body": json.loads(raw or "null"), "raw": raw}
                path = self.path if self.command == "POST" else f"{self.command} {self.path}"
                status, headers, answer = reply(path, self.headers, raw)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                if isinstance(answer, bytes):
                    self.send_header("content-length", str(len(answer)))
                    self.end_headers()
                    self.wfile.write(answer)
                    return
                self.send_header("transfer-encoding", "chunked")
                self.end_headers()
                for piece in answer:
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                    self.wfile.flush()
                self.wfile.write(b"0\r\n\r\n")

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


def as_json(status, body, **headers):
    return status, {"content-type": "application/json", **headers}, json.dumps(body).encode()

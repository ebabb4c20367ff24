#!/usr/bin/env python3
"""embed_http.py SERVER MODEL: the server of embed/http, asked well and badly."""
import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
import time

SIDE = 32
PIXELS = SIDE * SIDE


class Server:
    def __init__(self, program, model):
        self.process = subprocess.Popen([program, model, "0"], stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        self.port = int(line.rsplit(":", 1)[1].rstrip("/\n"))

    def ask(self, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.request(method, path, body=body, headers=headers or {})
        reply = connection.getresponse()
        data = reply.read()
        connection.close()
        return reply.status, reply.getheader("Content-Type"), data

    def job(self, query, body=None):
        status, _, data = self.ask("POST", "/jobs?" + query, body)
        assert status == 202, (status, data)
        return "/jobs/" + json.loads(data)["job"]

    def wait(self, job):
        seen = []
        for _ in range(2000):
            status, _, data = self.ask("GET", job)
            assert status == 200, (status, data)
            state = json.loads(data)
            seen.append(state)
            if state["state"] not in ("waiting", "running"):
                return seen
            time.sleep(0.01)
        raise AssertionError("a job does not end")

    def raw(self, data):
        """What comes back for bytes that are no request, until the connection ends, which the server may do at once."""
        back = b""
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as link:
            try:
                link.sendall(data)
                link.shutdown(socket.SHUT_WR)
                while piece := link.recv(4096):
                    back += piece
            except OSError as error:
                assert not isinstance(error, TimeoutError), "the server neither answers nor ends"
        return back


def works(s):
    status, kind, data = s.ask("GET", "/")
    assert (status, kind) == (200, "text/html; charset=utf-8") and b"</html>" in data
    for name in ("page.js", "page.css", "studio.js"):
        assert s.ask("GET", "/" + name)[0] == 200, name
    assert json.loads(s.ask("GET", "/model")[2]) == {"channels": 1, "height": SIDE, "width": SIDE, "classes": 10}
    job = s.job("label=7&steps=1&count=5&seed=3")
    last = s.wait(job)[-1]
    assert last["state"] == "done" and last["done"] == last["total"] == 5, last
    status, kind, first = s.ask("GET", job + "/pictures")
    assert (status, kind, len(first)) == (200, "application/octet-stream", 5 * PIXELS)
    status, kind, page = s.ask("GET", job + "/page.png")
    assert (status, kind) == (200, "image/png") and page.startswith(b"\x89PNG")
    again = s.job("label=7&steps=1&count=5&seed=3")
    s.wait(again)
    assert s.ask("GET", again + "/pictures")[2] == first, "another picture from the same seed"
    # The lower half is made anew, the upper one stays bit for bit.
    picture, mask = first[:PIXELS], bytes(PIXELS // 2) + b"\xff" * (PIXELS // 2)
    filled = s.job("label=7&steps=8&count=4&seed=9", picture + mask)
    s.wait(filled)
    made = s.ask("GET", filled + "/pictures")[2]
    for i in range(4):
        one = made[i * PIXELS:(i + 1) * PIXELS]
        assert one[:PIXELS // 2] == picture[:PIXELS // 2] and one[PIXELS // 2:] != picture[PIXELS // 2:], i


def cancels(s):
    job = s.job("label=1&steps=64&count=64")
    second = s.job("label=1&steps=64&count=64")
    while json.loads(s.ask("GET", job)[2])["done"] == 0:
        time.sleep(0.01)
    assert s.ask("DELETE", second)[0] == 200 and s.ask("DELETE", job)[0] == 200
    last = s.wait(job)[-1]
    assert last["state"] == "cancelled" and 0 < last["done"] < last["total"], last
    assert s.wait(second)[-1]["state"] == "cancelled"
    assert s.ask("GET", job + "/pictures")[0] == 404


def refuses(s):
    for query in ("steps=0", "steps=65", "count=0", "count=65", "count=9999999999999999999999", "label=10", "label=-2",
                  "steps=1e3", "steps=", "steps=+1", "steps=%201", "seed=-1", "steps=2%00", "label=7x"):
        assert s.ask("POST", "/jobs?" + query)[0] == 400, query
    for size in (1, PIXELS, 2 * PIXELS - 1):
        assert s.ask("POST", "/jobs?label=1", bytes(size))[0] == 400, size
    assert s.ask("POST", "/jobs", bytes(2 * PIXELS))[0] == 400  # without a label
    assert s.ask("POST", "/jobs?label=1", bytes(2 * PIXELS + 1))[0] == 413
    assert b" 413 " in s.raw(b"POST /jobs HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Length: 999999999999\r\n\r\n" % s.port)
    host = b"Host: 127.0.0.1:%d\r\n" % s.port
    endless = b"POST /jobs?label=1 HTTP/1.1\r\n" + host + b"Transfer-Encoding: chunked\r\n\r\n" + b"1000\r\n" + bytes(4096) + b"\r\n"
    assert b" 202 " not in s.raw(endless)
    for path in ("/../../etc/passwd", "/page", "/jobs/", "/jobs/1234", "/jobs/0000000000000000", "/jobs/zzzzzzzzzzzzzzzz",
                 "/jobs/00000000000000001", "/" + "a" * 8000):
        assert s.ask("GET", path)[0] in (404, 405, 414, 431), path
    for method, path in (("GET", "/jobs"), ("POST", "/"), ("PUT", "/jobs/0000000000000000"), ("DELETE", "/"), ("POST", "/page.js"), ("POST", "/model")):
        assert s.ask(method, path)[0] == 405, (method, path)
    status, kind, data = s.ask("HEAD", "/model")
    assert (status, kind, data) == (200, "application/json", b"")
    assert b"\r\nAllow: POST\r\n" in s.raw(b"GET /jobs HTTP/1.1\r\nConnection: close\r\n" + host + b"\r\n")
    for headers in ({"Origin": "http://example.com"}, {"Host": "example.com"}, {"Host": "127.0.0.1"}, {"Origin": "null"}):
        assert s.ask("POST", "/jobs", headers=headers)[0] == 403, headers
        assert s.ask("GET", "/model", headers=headers)[0] == 403, headers
    assert s.ask("GET", "/model", headers={"Host": "localhost:%d" % s.port})[0] == 200
    for rubbish in (b"\0" * 5000, b"GET\r\n\r\n", b"\x16\x03\x01\x02\x00", b"GET / HTTP/1.1\r\n" + b"A: " + b"b" * 60000 + b"\r\n\r\n",
                    b"GET / HTTP/1.1\r\n\r\n"):
        assert b" 200 " not in s.raw(rubbish), rubbish[:20]


def bears(s):
    """Half requests, which say nothing more, keep nobody else waiting."""
    half = b"POST /jobs?label=1 HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Length: %d\r\n\r\n" % (s.port, 2 * PIXELS)
    links = [socket.create_connection(("127.0.0.1", s.port), timeout=20) for _ in range(40)]
    for i, link in enumerate(links):
        link.sendall(half[:10 * i] if i < 10 else half + bytes(i))
    begun = time.time()
    assert s.ask("GET", "/model")[0] == 200 and time.time() - begun < 10
    for link in links:
        link.close()


def holds(s):
    """More than it takes at a time: some get in, the others are told to wait, and all that got in are drawn."""
    said, lock = [], threading.Lock()

    def ask():
        reply = s.ask("POST", "/jobs?label=2&steps=16&count=64")
        with lock:
            said.append(reply)

    threads = [threading.Thread(target=ask) for _ in range(30)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    taken = ["/jobs/" + json.loads(data)["job"] for status, _, data in said if status == 202]
    assert 4 <= len(taken) < 30 and {status for status, _, _ in said} == {202, 503}, [status for status, _, _ in said]
    for job in taken[:-1]:
        s.ask("DELETE", job)
    assert all(s.wait(job)[-1]["state"] in ("done", "cancelled") for job in taken)


def ends(s):
    s.job("label=1&steps=64&count=64")
    begun = time.time()
    s.process.send_signal(signal.SIGTERM)
    assert s.process.wait(10) == 0 and time.time() - begun < 5, "it does not end at once"


def main():
    program, model = sys.argv[1:]
    assert subprocess.run([program, "README.md", "0"], capture_output=True).returncode == 1
    for port in ("99999", "4294967296", "-1", "80x", ""):
        assert subprocess.run([program, model, port], capture_output=True).returncode == 2, port
    server = Server(program, model)
    try:
        for test in (works, cancels, refuses, bears, holds, works, ends):
            test(server)
    finally:
        server.process.kill()
    print("embed_http: draws, fills in, cancels, refuses, ends")


main()

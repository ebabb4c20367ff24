#!/usr/bin/env python3
"""embed_browser.py --server PROGRAM MODEL | --folder SITE, --picture FILE: the page of embed/page in a headless Chromium,
used as a person would, by the mouse.  A server of embed/http is started, or the folder is served as files."""
import argparse
import base64
import functools
import http.client
import http.server
import json
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time


class Browser:
    """A page under Chrome's DevTools protocol, by a WebSocket of the few frames that it takes."""

    def __init__(self, url):
        self.folder = tempfile.mkdtemp(prefix="cm-browser-")
        self.process = subprocess.Popen(
            ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
             "--remote-debugging-port=0", "--window-size=728,700", "--user-data-dir=" + self.folder, url],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.number = 0
        self.link = self.connect()

    def connect(self):
        for _ in range(600):
            try:
                with open(self.folder + "/DevToolsActivePort") as file:
                    port = int(file.readline())
                connection = http.client.HTTPConnection("127.0.0.1", port)
                connection.request("GET", "/json")
                pages = [p for p in json.loads(connection.getresponse().read()) if p["type"] == "page"]
                path = pages[0]["webSocketDebuggerUrl"].split(str(port), 1)[1]
                break
            except (OSError, ValueError, IndexError):
                time.sleep(0.1)
        else:
            raise AssertionError("chromium does not open a page")
        link = socket.create_connection(("127.0.0.1", port), timeout=60)
        link.sendall(("GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                      "Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n\r\n"
                      % (path, port, base64.b64encode(os.urandom(16)).decode())).encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += link.recv(1)
        assert b" 101 " in head, head
        return link

    def read(self, n):
        data = b""
        while len(data) < n:
            piece = self.link.recv(n - len(data))
            assert piece, "chromium has gone"
            data += piece
        return data

    def message(self):
        text = b""
        while True:
            first, length = self.read(2)
            if length == 126:
                length = int.from_bytes(self.read(2), "big")
            elif length == 127:
                length = int.from_bytes(self.read(8), "big")
            text += self.read(length)
            if first & 128:
                return json.loads(text)

    def call(self, method, **params):
        self.number += 1
        data = json.dumps({"id": self.number, "method": method, "params": params}).encode()
        mask = os.urandom(4)
        size = bytes([128 | len(data)]) if len(data) < 126 else bytes([254]) + len(data).to_bytes(2, "big")
        self.link.sendall(b"\x81" + size + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(data)))
        while True:
            reply = self.message()
            if reply.get("id") == self.number:
                assert "error" not in reply, reply
                return reply["result"]

    def value(self, expression):
        reply = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in reply, reply
        return reply["result"].get("value")

    def wait(self, expression, what):
        for _ in range(600):
            if self.value(expression):
                return
            time.sleep(0.05)
        raise AssertionError("the page does not get there: %s; it says: %s" % (what, self.value("document.body.innerText")))

    def mouse(self, kind, x, y, buttons=1):
        self.call("Input.dispatchMouseEvent", type="mouse" + kind, x=x, y=y, button="left", buttons=buttons, clickCount=1)

    def click(self, name):
        box = self.value("(b => [b.x + b.width / 2, b.y + b.height / 2])(at('%s').getBoundingClientRect())" % name)
        self.mouse("Pressed", *box)
        self.mouse("Released", *box, buttons=0)

    def close(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def use(page, picture):
    idle = "document.readyState === 'complete' && document.body.dataset.ready === '1' && !state.busy"
    page.wait(idle, "the first sixteen pictures")
    said = page.value("at('said').textContent")
    assert "in a second" in said, said
    page.value("at('label').value = '7', 0")
    page.click("draw")
    page.wait(idle + " && state.seed === 3", "sixteen sevens")
    page.value("window.before = state.picture.slice(), 0")
    # Over the lower half of the large picture, in rows.
    x, y, side = page.value("(b => [b.x, b.y, b.width])(at('picture').getBoundingClientRect())")
    for row in range(18, 33, 2):
        page.mouse("Pressed", x + 2, y + row * side / 32 - 1)
        for column in (8, 16, 24, 32):
            page.mouse("Moved", x + column * side / 32 - 1, y + row * side / 32 - 1)
        page.mouse("Released", x + side - 1, y + row * side / 32 - 1, buttons=0)
    painted = page.value("state.mask.reduce((n, m) => n + (m ? 1 : 0), 0)")
    assert 400 < painted < 700, painted
    page.value("at('steps').value = 8, at('steps').oninput(), 0")
    page.click("fill")
    page.wait(idle + " && state.seed === 4", "the filled pictures")
    kept, changed = page.value(
        "[state.picture.every((v, i) => state.mask[i] || v === before[i]), state.picture.some((v, i) => v !== before[i])]")
    assert kept and changed, (kept, changed)
    with open(picture, "wb") as file:
        file.write(base64.b64decode(page.call("Page.captureScreenshot", format="png")["data"]))
    page.value("at('steps').value = 32, at('steps').oninput(), 0")
    # At once, before a server can have told the job's name; then in the midst of it, where a quick machine may be done.
    page.value("at('draw').click(), at('cancel').click(), 0")
    page.wait(idle, "the end of what was cancelled at once")
    assert page.value("at('said').textContent") == "cancelled", page.value("at('said').textContent")
    page.click("draw")
    page.wait("at('progress').value > 0 || !state.busy", "a job that has begun")
    page.click("cancel")
    page.wait(idle, "the end of what was cancelled")
    said = page.value("at('said').textContent")
    assert said == "cancelled" or "in a second" in said, said
    page.value("at('steps').value = 1, at('steps').oninput(), 0")
    page.click("draw")
    page.wait(idle + " && at('said').textContent.includes('in a second')", "pictures after a cancelled job")
    return page.value("at('said').textContent")


class Quiet(http.server.SimpleHTTPRequestHandler):
    extensions_map = {**http.server.SimpleHTTPRequestHandler.extensions_map, ".wasm": "application/wasm"}

    def log_message(self, *_):
        pass


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--server", nargs=2)
    parser.add_argument("--folder")
    parser.add_argument("--picture", required=True)
    args = parser.parse_args()
    if args.server:
        process = subprocess.Popen([*args.server, "0"], stdout=subprocess.PIPE, text=True)
        url, stop = process.stdout.readline().strip(), process.kill
    else:
        files = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=args.folder))
        threading.Thread(target=files.serve_forever, daemon=True).start()
        url, stop = "http://127.0.0.1:%d/" % files.server_port, files.shutdown
    try:
        page = Browser(url)
        try:
            said = use(page, args.picture)
        finally:
            page.close()
    finally:
        stop()
    print("embed_browser: %s: drawn, filled in, cancelled; %s" % ("server" if args.server else "files", said))


main()

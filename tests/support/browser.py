"""A headless Chromium that is told what to do over a pipe, by its DevTools protocol."""

import base64
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path

CHROMIUM = shutil.which("chromium")
BROWSER_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1400,1600",
)
PATIENCE_SECONDS = 120


class Browser:
    """One page of a new browser; a context manager."""

    def __init__(self, profile):
        (child_in, self._out), (self._in, child_out) = os.pipe(), os.pipe()
        flags = [*BROWSER_FLAGS, "--remote-debugging-pipe", f"--user-data-dir={profile}"]
        self._process = subprocess.Popen(  # the browser reads from 3 and writes to 4
            ["bash", "-c", f'exec "$@" 3<&{child_in} 4>&{child_out}', "bash", CHROMIUM, *flags],
            pass_fds=(child_in, child_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(child_in)
        os.close(child_out)
        self._number, self._left, self._session = 0, b"", {}
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self._session = {"sessionId": session}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self._session = {}
            self._call("Browser.close")
            self._process.wait(PATIENCE_SECONDS)
        finally:
            self._process.kill()
            self._process.wait()
        os.close(self._in)
        os.close(self._out)

    def open(self, address):
        self.evaluate("window.onbeforeunload = null")  # no question whether to leave the page
        self._call("Page.navigate", url=address)

    def evaluate(self, script):
        """The value of a JavaScript expression in the page."""
        answer = self._call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait_for(self, script):
        """The value of an expression once it is true."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not (value := self.evaluate(script)):
            assert time.monotonic() < deadline, (script, self.evaluate("document.body.innerText"))
            time.sleep(0.1)
        return value

    def type(self, text):
        """Type into what has the focus."""
        self._call("Input.insertText", text=text)

    def picture(self, path):
        Path(path).write_bytes(base64.b64decode(self._call("Page.captureScreenshot")["data"]))

    def _call(self, method, **params):
        self._number += 1
        message = {"id": self._number, "method": method, "params": params, **self._session}
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self._left:
                assert select.select([self._in], [], [], PATIENCE_SECONDS)[0], method
                content = os.read(self._in, 2**16)
                assert content, "the browser is gone"
                self._left += content
            answer, _, self._left = self._left.partition(b"\0")
            record = json.loads(answer)
            if record.get("id") == self._number:  # what else comes are events
                assert "error" not in record, record
                return record["result"]

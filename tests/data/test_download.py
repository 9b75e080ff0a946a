"""A real server on 127.0.0.1 that refuses, stalls, trickles, lies, or does its work."""

import hashlib
import socket
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from nas.data.datasets import load_training
from nas.data.download import Patience, fetch
from nas.errors import DataError, DownloadError, StorageError

CONTENT = bytes(range(256)) * 2000  # 512 kB
MD5 = hashlib.md5(CONTENT).hexdigest()
HURRIED = Patience(silence_seconds=60.0, judge_seconds=0.4, longest_seconds=30.0)


class Handler(BaseHTTPRequestHandler):
    """Serves CONTENT the way the first part of the path says."""

    def do_GET(self):
        getattr(self, "serve_" + self.path.split("/")[1])()

    def log_message(self, *args):
        pass

    def start(self, length=512_000, content_type="application/gzip"):
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def serve_good(self):
        self.start()
        self.wfile.write(CONTENT)

    def serve_unannounced(self):
        self.start(length=None)
        self.wfile.write(CONTENT)

    def serve_moved(self):
        self.send_response(302)
        self.send_header("Location", "/good/file")
        self.end_headers()

    def serve_steady(self):
        self.start()
        for start in range(0, len(CONTENT), 64_000):
            self.wfile.write(CONTENT[start : start + 64_000])
            time.sleep(0.1)

    def serve_refused(self):
        self.send_error(403)

    def serve_busy(self):
        self.send_error(429)

    def serve_page(self):
        page = b"<html>please log in</html>"
        self.start(len(page), "text/html")
        self.wfile.write(page)

    def serve_half(self):
        self.start()
        self.wfile.write(CONTENT[:1000])

    def serve_altered(self):
        self.start()
        self.wfile.write(CONTENT[:-1] + b"!")

    def serve_silent(self):
        self.server.closing.wait(60)

    def serve_trickle(self):
        self.start(length=170_000_000)
        self.drip()

    def serve_trickle_unannounced(self):
        self.start(length=None)
        self.drip()

    def serve_slowing(self):
        self.start(length=len(CONTENT) * 100)
        self.wfile.write(CONTENT)
        self.drip()

    def serve_endless_header(self):
        self.wfile.write(b"HTTP/1.0 200 OK\r\n")
        self.drip(b"X-More: yes\r\n", 0.2)

    def drip(self, chunk=b"x" * 100, pause_seconds=0.05):
        while not self.server.closing.wait(pause_seconds):
            try:
                self.wfile.write(chunk)
            except OSError:
                return


@contextmanager
def serving():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.closing = threading.Event()
    server.handle_error = lambda *args: None  # a client that leaves is what is tested
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="module")
def host():
    with serving() as address:
        yield address


@pytest.fixture
def path(tmp_path):
    return tmp_path / "downloads" / "file.tar.gz"


def left_behind(path):
    return [file.name for file in path.parent.iterdir()]


@pytest.mark.parametrize("way", ["good", "unannounced", "moved", "steady"])
def test_a_file_arrives_whole(host, path, way):
    fetch(f"{host}/{way}/file", path, MD5, len(CONTENT), HURRIED)
    assert path.read_bytes() == CONTENT
    assert left_behind(path) == ["file.tar.gz"]


@pytest.mark.parametrize(
    ("way", "words"),
    [
        ("refused", "403"),
        ("busy", "429"),
        ("page", "something else.*text/html.*md5 .* instead of"),
        ("altered", "something else.*md5 .* instead of"),
        ("half", "ended after 1000 of 512000 bytes"),
        ("silent", r"silent for 0\.6 s"),
        ("endless_header", r"silent for 0\.6 s"),
        ("trickle", "kB/s: the 170 MB would take"),
        ("trickle_unannounced", "kB/s: the 10 MB would take"),
        ("slowing", "kB/s: the 51 MB would take"),
    ],
)
def test_a_failed_download_is_told_soon_and_leaves_nothing(host, path, way, words):
    is_silent = way in ("silent", "endless_header")
    patience = replace(HURRIED, silence_seconds=0.6) if is_silent else HURRIED
    started_at = time.monotonic()
    with pytest.raises(DownloadError, match=words):
        fetch(f"{host}/{way}/file", path, MD5, 10_000_000, patience)
    assert time.monotonic() - started_at < 25  # the socket's own limit is 30
    assert left_behind(path) == []


def test_a_closed_port_and_an_unknown_host_are_told_at_once(path):
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))  # bound, not listening: connections are refused
        address = f"http://127.0.0.1:{reserved.getsockname()[1]}/file"
        with pytest.raises(DownloadError, match="refused"):
            fetch(address, path, MD5, 1, HURRIED)
    with pytest.raises(DownloadError, match=r"no-such-host\.invalid"):
        fetch("http://no-such-host.invalid/file", path, MD5, 1)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://host/file", "host/file", "http://["])
def test_only_web_addresses_are_asked(path, url):
    with pytest.raises(DataError, match="http:// or https://"):
        fetch(url, path, MD5, 1)


def test_a_place_that_cannot_be_written_is_a_storage_error(host, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="NAS_CACHE=DIR"):
        fetch(f"{host}/good/file", tmp_path / "file" / "inner", MD5, 1, HURRIED)


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "svhn", "fashion-mnist"])
def test_absent_data_name_the_ways_on(host, monkeypatch, name):
    monkeypatch.setenv("NAS_MIRROR", f"{host}/refused/")
    with pytest.raises(DownloadError) as caught:
        load_training(name)
    message = str(caught.value)
    assert all(word in message for word in ("403", "--data DIR", "NAS_MIRROR", "digits", "md5 "))
    if name == "cifar10":
        assert "cifar-10-python.tar.gz (md5 c58f30108f718f92721af3b95e74349a)" in message


@pytest.mark.slow
@pytest.mark.parametrize("way", ["silent", "trickle", "endless_header", "slowing"])
def test_a_throttling_host_is_given_up_within_20_seconds(host, monkeypatch, way):
    monkeypatch.setenv("NAS_MIRROR", f"{host}/{way}")
    started_at = time.monotonic()
    with pytest.raises(DownloadError, match="--dataset digits"):
        load_training("cifar10")
    assert time.monotonic() - started_at < 20

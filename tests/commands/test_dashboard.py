"""optuna-dashboard as it is served: by real requests over a real socket, and a real browser."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import optuna
import optuna_dashboard
import pytest
from optuna.trial import TrialState

from nas.commands import main
from nas.commands.dashboard_server import HOST, guard, make_dashboard
from nas.errors import RunError
from nas.study.folder import StudyFolder
from nas.study.storage import open_storage
from tests.support.browser import BROWSER_FLAGS, CHROMIUM, Browser
from tests.support.searching import Running, wait_until
from tests.support.small_study import (
    SEARCH,
    add_trial,
    copy_studies,
    create_study,
    net,
    searched_studies,
    snapshot,
)

STUDY = "tiny-8k-digits"
JSON = {"Content-Type": "application/json"}
STATIC = Path(optuna_dashboard.__file__).parent / "public"


@contextmanager
def served(folder, allow_writing=False):
    """The dashboard of a study on a free port, in a thread."""
    server = make_dashboard(open_storage(None, folder.journal), 0, allow_writing)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def request(port, method="GET", path="/api/studies", body=None, **headers):
    """Status and body of one request; the Host header is the address unless one is given."""
    answer = respond(port, method, path, body, headers)
    return answer.status, answer.content


def respond(port, method, path, body=None, headers=None):
    """The answer to one request, its body as `content`."""
    connection = http.client.HTTPConnection(HOST, port, timeout=120)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        answer.content = answer.read()
        return answer
    finally:
        connection.close()


def reason(answer):
    """Why a request was refused, as the page reads it: every answer's body is JSON."""
    status, content = answer
    assert status == 403
    return json.loads(content)["reason"]


def write_note(port, text, version=1, path="/api/studies/0/note", **headers):
    note = json.dumps({"body": text, "version": version})
    return request(port, "PUT", path, note, **JSON, **headers)


@pytest.fixture
def mixed(tmp_path):
    """A study with a trial of every state."""
    folder, study = create_study(tmp_path / "studies", name="mixed")
    add_trial(study, net(8), (0.3, 0.5123))
    add_trial(study, net(12), (0.2,), TrialState.PRUNED)
    add_trial(study, net(32, depth=4), state=TrialState.PRUNED, reason="over budget: 76,000")
    add_trial(study, net(16), (0.1,), TrialState.FAIL, reason="killed")
    add_trial(study, net(24), (), value=0.0, reason="diverged in epoch 1 of 4: loss nan")
    study.tell(study.ask(), state=TrialState.FAIL)
    add_trial(study, net(4), (0.4,), TrialState.RUNNING)
    study.enqueue_trial({"width0": 8})
    return folder


def test_the_page_and_its_data_are_served_and_the_study_stays_as_it_is(mixed):
    before = snapshot(mixed.path)
    with served(mixed) as port:
        status, page = request(port, path="/dashboard/")
        assert status == 200
        assert b"<html" in page.lower()
        assert request(port, path="/")[0] in (200, 302)
        status, content = request(port)
        assert status == 200
        (summary,) = json.loads(content)["study_summaries"]
        assert summary["study_name"] == "mixed"
        status, content = request(port, path=f"/api/studies/{summary['study_id']}")
        assert status == 200
        assert len(json.loads(content)["trials"]) == 8
        assert request(port, "HEAD", "/dashboard/")[0] == 200
    assert snapshot(mixed.path) == before


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "", "127.0.0.1", "0.0.0.0"])
def test_another_host_name_is_refused(mixed, host):
    with served(mixed) as port:
        assert request(port, Host=host)[0] == 421
        assert request(port, Host=f"{host or 'x'}.evil:{port}")[0] == 421
        assert request(port, Host=f"localhost:{port}")[0] == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "delete"])
def test_without_write_only_reading_requests_pass(mixed, method):
    before = snapshot(mixed.path)
    with served(mixed) as port:
        assert request(port, method, "/api/studies/0")[0] in (403, 501)
        assert request(port)[0] == 200
    assert snapshot(mixed.path) == before


def test_a_note_that_is_not_saved_is_answered_with_the_reason_and_the_option(mixed):
    with served(mixed) as port:
        for path in ("/api/studies/0/note", "/api/studies/0/3/note"):
            text = "x" * 2**20  # more than the server reads at once
            answer = write_note(port, text, path=path, Origin=f"http://{HOST}:{port}")
            assert re.search(r"read-only.*--write", reason(answer))


def test_with_write_notes_are_saved_but_not_for_other_pages(mixed):
    with served(mixed, allow_writing=True) as port:
        for origin in ("http://evil.example", "null", f"https://{HOST}:{port}", f"http://{HOST}"):
            assert "another page" in reason(write_note(port, "theirs", Origin=origin))
        assert "another page" in reason(write_note(port, "theirs"))  # no browser leaves it out
        for name in (HOST, "localhost"):
            own = {"Host": f"{name}:{port}", "Origin": f"http://{name}:{port}"}
            for path in ("/api/studies/0", "/api/studies/0/3"):
                text, version = f"ours at {path} by {name}", 1 + (name != HOST)
                # the page reads JSON out of every answer
                assert write_note(port, text, version, f"{path}/note", **own) == (200, b"{}")
                assert text.encode() in request(port, path="/api/studies/0")[1]
        assert b"theirs" not in request(port, path="/api/studies/0")[1]


def test_with_write_every_other_write_of_the_dashboard_is_refused_with_the_reason(mixed):
    app = optuna_dashboard.wsgi(open_storage(None, mixed.journal))
    routes = {(route.method, re.sub("<[^>]+>", "0", route.rule)) for route in app.routes}
    writes = {(method, path) for method, path in routes if method != "GET"}
    assert writes >= {
        ("POST", "/api/studies"),
        ("POST", "/api/studies/0/rename"),
        ("DELETE", "/api/studies/0"),
        ("POST", "/api/trials/0/tell"),
        ("POST", "/api/trials/0/user-attrs"),
    }
    notes = {("PUT", "/api/studies/0/note"), ("PUT", "/api/studies/0/0/note")}
    assert notes < writes
    body = {"study_name": "x", "directions": ["maximize"], "state": "Fail", "user_attrs": {"a": 1}}
    before = snapshot(mixed.path)
    with served(mixed, allow_writing=True) as port:
        own = {"Origin": f"http://{HOST}:{port}", **JSON}
        for method, path in sorted(writes - notes):
            for own_path in (path, path.replace("/trials/0/", "/trials/6/")):  # which runs
                answer = request(port, method, own_path, json.dumps(body), **own)
                assert "only notes" in reason(answer), own_path
    assert snapshot(mixed.path) == before


def test_notes_written_by_the_real_process_change_nothing_that_a_command_says(tmp_path, capsys):
    studies = copy_studies(tmp_path / "studies")
    lines = [
        [*command, "--studies", str(studies)]
        for command in (["status"], ["best"], ["show", "0"], SEARCH)
    ]

    def said():
        texts = []
        for line in lines:
            assert main(line) == 0
            texts.append(capsys.readouterr().out)
        return texts

    before = said()
    line = ["dashboard", "--studies", str(studies), "--port", "0", "--write"]
    running = Running(line, tmp_path / "dashboard")
    wait_until(lambda: (tmp_path / "dashboard.out").exists() and "(notes" in running.text())
    port = int(re.search(rf"{STUDY}: http://{HOST}:(\d+)/", running.text())[1])
    own = {"Origin": f"http://{HOST}:{port}"}
    for path in ("/api/studies/0/note", "/api/studies/0/2/note"):
        assert write_note(port, "**bold** " * 1000, path=path, **own)[0] == 200
    running.signal(signal.SIGINT)
    assert running.wait() == 0
    assert running.errors() == f"study: {STUDY}\nCtrl-C stops it.\n"
    assert said() == before


@pytest.mark.parametrize("encoding", [None, "identity", "gzip"])
def test_the_page_s_files_are_served_whatever_encoding_is_accepted(mixed, encoding):
    with served(mixed) as port:
        for path, file in (
            ("/static/bundle.js", STATIC / "bundle.js"),
            ("/favicon.ico", STATIC.parent / "img" / "favicon.ico"),
        ):
            connection = http.client.HTTPConnection(HOST, port, timeout=120)
            connection.putrequest("GET", path, skip_accept_encoding=True)
            if encoding is not None:
                connection.putheader("Accept-Encoding", encoding)
            connection.endheaders()
            answer = connection.getresponse()
            content = answer.read()
            connection.close()
            assert answer.status == 200
            assert int(answer.headers["Content-Length"]) == len(content)
            if encoding == "gzip":
                file = file.with_name(f"{file.name}.gz")
            assert content == file.read_bytes()


@pytest.mark.parametrize("allow_writing", [False, True])
def test_no_answer_may_be_shown_in_another_page_s_frame(mixed, allow_writing):
    with served(mixed, allow_writing) as port:
        for method, path in (
            *(("GET", path) for path in ("/dashboard/", "/dashboard/studies/0", "/api/studies")),
            *(("GET", "/static/bundle.js"), ("GET", "/nowhere"), ("HEAD", "/dashboard/")),
            ("DELETE", "/api/studies/0"),
        ):
            policies = respond(port, method, path).headers.get_all("Content-Security-Policy")
            assert "frame-ancestors 'none'" in policies, path
        page = respond(port, "GET", "/dashboard/")
        assert len(page.headers.get_all("Content-Security-Policy")) == 2  # the dashboard's own too


def test_port_80_is_left_out_of_a_host_header():
    answers = []

    def page(environ, start):
        start("200 OK", [])
        return [b"page"]

    application = guard(page, 80, allow_writing=False)
    environ = {"HTTP_HOST": "localhost", "REQUEST_METHOD": "GET", "PATH_INFO": "/"}
    assert application(environ, lambda *status: answers.append(status)) == [b"page"]
    assert answers[0][0] == "200 OK"


def test_it_listens_on_loopback_alone(mixed):
    server = make_dashboard(open_storage(None, mixed.journal), 0)
    try:
        assert server.server_address[0] == "127.0.0.1"
    finally:
        server.server_close()


def test_a_taken_port_is_one_message(mixed, capsys):
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(RunError, match=f"cannot listen on 127.0.0.1:{port}.*--port"):
            make_dashboard(open_storage(None, mixed.journal), port)
        line = ["dashboard", "--studies", str(mixed.path.parent), "--port"]
        assert main([*line, str(port)]) == 1
    assert capsys.readouterr().err.count("error:") == 1
    assert main([*line, "65536"]) == 2


def test_it_follows_a_search_that_goes_on_and_does_not_disturb_it(mixed):
    storage = open_storage(None, mixed.journal)
    study = optuna.load_study(study_name="mixed", storage=storage)
    with served(mixed) as port:
        assert len(json.loads(request(port, path="/api/studies/0")[1])["trials"]) == 8
        for number in range(3):  # the first takes the network that waits
            add_trial(study, net(12, depth=2 + number), (0.1, 0.6))
        until = time.monotonic() + 120  # the page asks the store anew every two seconds
        while (number := len(json.loads(request(port, path="/api/studies/0")[1])["trials"])) < 10:
            assert time.monotonic() < until
            time.sleep(0.2)
        assert number == 10
    assert len(study.get_trials(deepcopy=False)) == 10


PAGES = {  # every page that the side bar leads to, with what it must show
    "": ("History", "Hyperparameter Importance", "Timeline", "Best Trial"),
    "/analytics": ("Slice", "Contour", "Rank"),
    "/trials": ("Trial 0", "Complete", "num_params", "notation"),
    "/note": ("Note",),
}


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("which", ["real", "mixed"])
def test_every_page_of_a_study_shows_its_trials_in_a_real_browser(which, page, mixed, tmp_path):
    folder = StudyFolder(searched_studies() / "tiny-8k-digits") if which == "real" else mixed
    with served(folder) as port:
        address = f"http://{HOST}:{port}/dashboard/studies/0{page}"
        document = browse(address, tmp_path / "dom", "--dump-dom")
        shots = os.environ.get("NAS_SCREENSHOTS")
        if shots:
            picture = f"{shots}/{which}{page.replace('/', '-')}.png"
            browse(address, tmp_path / "shot", f"--screenshot={picture}")
    study = optuna.load_study(study_name=folder.name, storage=open_storage(None, folder.journal))
    values = {"": [study.best_value], "/trials": [study.trials[0].value]}.get(page, [])
    for text in (folder.name, *PAGES[page], *map(str, values)):
        assert text in document, text
    if which == "mixed" and page == "/trials":
        for state in ("Pruned", "Fail", "Running", "Waiting"):
            assert state in document, state


SHOWN = "[...document.querySelectorAll('button')].filter(b => b.checkVisibility())"


def press(browser, icon):
    """Click the button of an icon, once it is there and shown."""
    found = f"""{SHOWN}.find(b => b.querySelector("[data-testid='{icon}Icon']"))"""
    browser.wait_for(f"(b => b && !b.disabled && (b.click(), true))({found})")


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
@pytest.mark.parametrize("allow_writing", [False, True])
def test_a_browser_shows_what_became_of_a_note_and_offers_no_write_that_is_refused(
    mixed, allow_writing, tmp_path
):
    page = "(document.body?.innerText ?? '')"
    shots = os.environ.get("NAS_SCREENSHOTS")
    mode = "write" if allow_writing else "read"
    with served(mixed, allow_writing) as port, Browser(tmp_path / "profile") as browser:
        address = f"http://{HOST}:{port}/dashboard"
        for number, path in enumerate(("/studies/0/note", "/studies/0/trials?numbers=6")):
            browser.open(address + path)
            press(browser, "Edit")
            browser.wait_for("(t => t && (t.focus(), true))(document.querySelector('textarea'))")
            browser.type("a note of ours")
            press(browser, "Save")
            said = "Success to save" if allow_writing else "with --write to save notes"
            browser.wait_for(f"{page}.includes('{said}')")
            if shots:
                time.sleep(1)  # for what slides in
                browser.picture(f"{shots}/note-{number}-{mode}.png")
            # what was typed and not saved stays
            browser.wait_for(f"!!document.querySelector('textarea') == {int(not allow_writing)}")
        assert "Running" in browser.evaluate(page)
        assert not browser.evaluate(f"{SHOWN}.some(b => b.innerText.match(/fail trial/i))")
        browser.open(address)
        browser.wait_for(f"{page}.includes('mixed')")
        names = browser.evaluate(f"{SHOWN}.map(b => b.innerText + b.ariaLabel)")
        assert any(re.search("reload", name, re.I) for name in names), names
        assert not [name for name in names if re.search("create|rename|delete", name, re.I)]
        if shots:
            browser.picture(f"{shots}/list-{mode}.png")


def browse(address, profile, *flags):
    """What a new headless Chromium writes to its standard output for an address."""
    line = [CHROMIUM, *BROWSER_FLAGS, "--virtual-time-budget=20000"]
    line += [f"--user-data-dir={profile}", *flags, address]
    return subprocess.run(line, capture_output=True, text=True, timeout=600, check=True).stdout

"""optuna-dashboard as it is served: by real requests over a real socket, and a real browser."""

import http.client
import json
import os
import shutil
import socket
import subprocess
import threading
import time
from contextlib import contextmanager

import optuna
import pytest
from optuna.trial import TrialState

from nas.commands import main
from nas.commands.dashboard_server import HOST, guard, make_dashboard
from nas.errors import RunError
from nas.study.folder import StudyFolder
from nas.study.storage import open_storage
from tests.support.small_study import add_trial, create_study, net, searched_studies, snapshot

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
    "--virtual-time-budget=20000",
)


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
    connection = http.client.HTTPConnection(HOST, port, timeout=120)
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


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


def test_with_write_the_page_may_change_and_other_pages_may_not(mixed):
    note = json.dumps({"body": "ours", "version": 1})
    with served(mixed, allow_writing=True) as port:
        path, json_type = "/api/studies/0/note", {"Content-Type": "application/json"}
        for origin in ("http://evil.example", "null", f"https://127.0.0.1:{port}"):
            assert request(port, "PUT", path, note, Origin=origin, **json_type)[0] == 403
            assert request(port, "DELETE", "/api/studies/0", Origin=origin)[0] == 403
        own = f"http://127.0.0.1:{port}"
        assert request(port, "PUT", path, note, Origin=own, **json_type)[0] == 204
        assert b"ours" in request(port, path="/api/studies/0")[1]


def test_port_80_is_left_out_of_a_host_header():
    answers = []
    application = guard(lambda environ, start: [b"page"], 80, allow_writing=False)
    environ = {"HTTP_HOST": "localhost", "REQUEST_METHOD": "GET"}
    assert application(environ, lambda *status: answers.append(status)) == [b"page"]


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


def browse(address, profile, *flags):
    """What a new headless Chromium writes to its standard output for an address."""
    line = [CHROMIUM, *BROWSER_FLAGS, f"--user-data-dir={profile}", *flags, address]
    return subprocess.run(line, capture_output=True, text=True, timeout=600, check=True).stdout

"""The HTTP client against servers that mean no good, or are in trouble."""

from __future__ import annotations

import base64
import gzip
import itertools
import json
import logging
import socket
import threading
import time

import pytest

from bmerge import GeneratorError
from bmerge_plugins.servers import HttpServer, HttpSettings, Login, Retry, parse_address
from servers.faulty_http import JsonServer
from servers.raw_http import RawServer, answer

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@pytest.fixture
def client():
    """Make clients without patience; they are closed at the end."""
    made = []

    def make(url, *, timeout=5.0, attempts=1, patience=120.0, login=None):
        retry = Retry(attempts=attempts, pause=0.01, patience=patience)
        settings = HttpSettings(timeout=timeout, retry=retry, login=login)
        made.append(HttpServer(parse_address(url), settings))
        return made[-1]

    yield make
    for one in made:
        one.close()


def dripping(start, byte, server):
    """Send ``start``, then a byte now and then for as long as the test goes on."""

    def reply(connection, _request):
        connection.sendall(start)
        while not server[0].stopping.wait(0.05):
            connection.sendall(byte)

    return reply


def test_nobody_reads_a_websocket_that_was_left_though_the_server_says_nothing(client):
    """Or the process would not end: it waits for such threads."""
    before = set(threading.enumerate())
    with JsonServer() as server:
        with client(server.url).websocket("/ws", {"clientId": "a"}):
            time.sleep(0.2)  # until it is read
        readers = [t for t in threading.enumerate() if t not in before and "Pool" in t.name]
        for reader in readers:
            reader.join(10)
        assert not any(reader.is_alive() for reader in readers)


@pytest.mark.parametrize(
    ("start", "byte"),
    [
        (b"HTTP/1.1 200 OK\r\nX-Slow: ", b"x"),
        (HEAD + b"Content-Length: 1000000\r\n\r\n", b" "),
        (b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
    ids=["headers", "body", "continue"],
)
def test_an_answer_that_drips_ends_at_the_deadline(start, byte, client):
    holder = []
    with RawServer(lambda *_: None) as server:
        holder.append(server)
        server.reply = dripping(start, byte, holder)
        began = time.monotonic()
        with pytest.raises(GeneratorError, match=r"no end after 0\.4 s") as caught:
            client(server.url, timeout=0.4).get("/x")
        assert time.monotonic() - began < 10  # the server alone would go on for ever
    assert (caught.value.transient, caught.value.blame) == (True, "surroundings")


def test_a_request_that_nobody_reads_ends_at_the_deadline(client):
    with (
        RawServer(answer(b"1"), deaf=True) as server,
        pytest.raises(GeneratorError, match="no end after 0.4 s|no answer in time"),
    ):
        client(server.url, timeout=0.4).post("/x", "x" * 20_000_000)


def test_an_endless_answer_is_cut_off(client, monkeypatch):
    monkeypatch.setattr("bmerge_plugins.servers.bodies._LARGEST", 1 << 20)

    def reply(connection, _request):
        connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        while True:
            connection.sendall(b"10000\r\n" + b" " * 0x10000 + b"\r\n")

    with RawServer(reply) as server:
        with pytest.raises(GeneratorError, match="the answer is larger than 1 MiB") as caught:
            client(server.url, attempts=5).get("/x")
        assert len(server.requests) == 1
    assert caught.value.blame == "surroundings"


def test_a_packed_answer_is_unpacked_but_not_without_a_limit(client, monkeypatch):
    monkeypatch.setattr("bmerge_plugins.servers.bodies._LARGEST", 1 << 20)
    with RawServer(answer(gzip.compress(b'{"a": 1}'), Content_Encoding="gzip")) as server:
        assert client(server.url).get("/x") == {"a": 1}
        assert b"accept-encoding: gzip\r\n" in server.requests[0].lower()
        bomb = gzip.compress(b"[" + b" " * (1 << 25), compresslevel=9)
        server.reply = answer(bomb, Content_Encoding="gzip")
        with pytest.raises(GeneratorError, match="the answer is larger than 1 MiB"):
            client(server.url).get("/x")


@pytest.mark.parametrize(
    ("body", "coding", "message"),
    [
        (gzip.compress(b'{"a": 1}')[:-4], "gzip", "the packed answer was cut"),
        (b"not packed at all", "gzip", "cannot be unpacked"),
        (b"???", "br", "packed as 'br', not as was asked"),
        (gzip.compress(gzip.compress(b"1")), "gzip, gzip", "packed as 'gzip, gzip'"),
    ],
    ids=["cut", "damaged", "br", "twice"],
)
def test_other_packed_answers_are_failed_ones(body, coding, message, client):
    with (
        RawServer(answer(body, Content_Encoding=coding)) as server,
        pytest.raises(GeneratorError, match=message) as caught,
    ):
        client(server.url).get("/x")
    assert caught.value.blame == "surroundings"


@pytest.mark.parametrize(
    "body",
    [b"[" * 100_000, b"[" * 500 + b"]" * 500, b'{"a":' * 300 + b"1" + b"}" * 300],
    ids=["unclosed", "lists", "objects"],
)
def test_deep_json_is_a_failed_answer(body, client):
    with RawServer(answer(body)) as server:
        with pytest.raises(GeneratorError, match="is not JSON|nested more than") as caught:
            client(server.url).get("/x")
        server.reply = answer(body, "500 Broken")
        with pytest.raises(GeneratorError, match="500 Broken"):
            client(server.url).get("/x")
    assert caught.value.transient


@pytest.mark.parametrize(
    ("status", "body", "blame", "transient"),
    [
        (401, {"detail": "Incorrect username or password"}, "surroundings", False),
        (403, None, "surroundings", False),
        (407, None, "surroundings", False),
        (404, {"detail": "Not Found"}, "surroundings", False),
        (404, {"detail": "Sampler not found"}, "study", False),
        (400, {"detail": "Sampler not found"}, "study", False),
        (422, {"detail": [{"msg": "value is not a valid integer"}]}, "study", False),
        (413, None, "study", False),
        (429, None, "surroundings", True),
        (500, {"errors": "something"}, "surroundings", True),
        (502, None, "surroundings", True),
        (500, {"error": "OutOfMemoryError", "errors": "CUDA out of memory"}, "surroundings", True),
        (500, {"error": "NansException", "errors": "A tensor with all NaNs"}, "merge", False),
        (500, {"errors": "Error(s) in loading state_dict for LatentDiffusion"}, "merge", False),
    ],
)  # fmt: skip
def test_a_status_says_whose_fault_it_is(status, body, blame, transient, client):
    with (
        RawServer(answer(json.dumps(body).encode(), f"{status} Text")) as server,
        pytest.raises(GeneratorError) as caught,
    ):
        client(server.url).post("/x", {})
    assert (caught.value.blame, caught.value.transient) == (blame, transient)


def test_a_get_follows_the_same_server_and_a_post_says_where_it_was_sent(client):
    def reply(connection, request):
        if request.startswith(b"GET /a "):
            return answer(b"", "307 Elsewhere", Location="/b/")(connection, request)
        if request.startswith(b"GET /b/ "):
            return answer(b"[1]")(connection, request)
        return answer(b"", "301 Moved", Location="http://me:pw@other/x/a?token=t0ken")(
            connection, request
        )

    with RawServer(reply) as server:
        one = client(server.url, attempts=3)
        assert one.get("/a") == [1]
        with pytest.raises(GeneratorError, match="301 Moved") as caught:
            one.post("/a", {})
        assert "(other/x)" in caught.value.hint
        assert "pw" not in caught.value.hint
        assert "t0ken" not in caught.value.hint
        assert (caught.value.blame, caught.value.transient) == ("study", False)
        assert len(server.requests) == 3


@pytest.mark.parametrize("status", ["301 Moved", "307 Elsewhere", "308 Moved"])
def test_a_post_is_not_sent_again_elsewhere(status, client):
    with RawServer(answer(b"", status, Location="/b")) as server:
        with pytest.raises(GeneratorError, match=status) as caught:
            client(server.url).post("/a", {})
        assert len(server.requests) == 1
    assert "(/b)" in caught.value.hint


@pytest.mark.parametrize("status", ["302 Found", "301 Moved Permanently"])
def test_a_password_is_not_carried_to_another_server(status, client):
    with RawServer(answer(b"{}")) as other:
        location = f"{other.url}/stolen"
        with (
            RawServer(answer(b"", status, Location=location)) as server,
            pytest.raises(GeneratorError, match=status) as caught,
        ):
            client(server.url.replace("//", "//me:s3cret@")).get("/x")
        assert other.requests == []
    assert caught.value.blame == ("study" if "Moved" in status else "surroundings")


def test_a_password_is_not_carried_to_another_name_at_the_same_port(client):
    def reply(connection, request):
        location = f"http://localhost:{server.port}/stolen"
        answer(b"", "302 Found", Location=location)(connection, request)

    with RawServer(reply) as server:
        with pytest.raises(GeneratorError, match="302 Found"):
            client(server.url.replace("//", "//me:s3cret@")).get("/x")
        assert len(server.requests) == 1


def test_a_circle_of_redirections_ends(client):
    there = itertools.count()

    def reply(connection, request):
        answer(b"", "302 Found", Location=f"/{next(there)}")(connection, request)

    with RawServer(reply) as server:
        with pytest.raises(GeneratorError, match="in a circle") as caught:
            client(server.url).get("/x")
        assert len(server.requests) == 5
    assert caught.value.blame == "surroundings"


def test_a_pause_beyond_patience_is_told_and_not_slept(client):
    with RawServer(answer(b"", "503 Busy", Retry_After="3600")) as server:
        one = client(server.url, attempts=5)
        one.sleep = lambda seconds: pytest.fail(f"slept {seconds} s")
        with pytest.raises(GeneratorError, match=r"asks to be left alone for 3600 s") as caught:
            one.get("/x")
        assert len(server.requests) == 1
    assert caught.value.blame == "surroundings"


def test_a_pause_within_patience_is_kept(client):
    with RawServer(answer(b"", "503 Busy", Retry_After="7")) as server:
        one, slept = client(server.url, attempts=3), []
        one.sleep = slept.append
        with pytest.raises(GeneratorError, match="503 Busy"):
            one.get("/x")
    assert slept == [7.0, 7.0]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "127.1.2.3", "0.0.0.0"])
def test_a_server_on_this_machine_is_never_asked_through_a_proxy(host, client, monkeypatch):
    if host == "[::1]" and not _has_ipv6():
        pytest.skip("no IPv6 here")
    with RawServer(answer(b'"the proxy"')) as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        where = "::1" if host == "[::1]" else "0.0.0.0"
        with RawServer(answer(b'"the server"'), host=where) as server:
            assert client(f"http://{host}:{server.port}").get("/x") == "the server"
        assert proxy.requests == []


def test_others_are_asked_through_the_proxy_whose_password_nobody_sees(client, monkeypatch, caplog):
    caplog.set_level(logging.DEBUG)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with RawServer(answer(b'"from afar"')) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url.replace("//", "//pat:pr0xypw@"))
        one = client("http://pictures.example:7860")
        assert one.get("/x") == "from afar"
        assert proxy.requests[0].startswith(b"GET http://pictures.example:7860/x HTTP/1.1")
        token = base64.b64encode(b"pat:pr0xypw").decode()
        assert f"Basic {token}".encode() in proxy.requests[0]
        proxy.reply = answer(b"bad password pr0xypw", "407 Proxy Authentication Required")
        with pytest.raises(GeneratorError) as caught:
            one.get("/x")
    assert caught.value.blame == "surroundings"
    assert "proxy" in caught.value.hint
    assert "pr0xypw" not in f"{caught.value!r} {caught.value.hint} {caplog.text}"


def test_a_proxy_that_is_no_address_is_refused_without_its_password(client, monkeypatch):
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", "ftp://pat:pr0xypw@proxy:21")
    with pytest.raises(GeneratorError, match="the proxy that the environment names") as caught:
        client("http://pictures.example:7860")
    assert "pr0xypw" not in str(caught.value)


def test_a_query_of_an_address_goes_with_every_request_and_is_never_shown(client, caplog):
    caplog.set_level(logging.DEBUG)

    def reply(connection, request):
        body = b"who is tok%20en/1? tok en/1 is not known"
        answer(body, "403 Forbidden")(connection, request)

    with RawServer(reply) as server:
        one = client(f"{server.url}/api?key=tok%20en/1")
        with pytest.raises(GeneratorError) as caught:
            one.get("/x", {"a": "b"})
        assert server.requests[0].startswith(b"GET /api/x?a=b&key=tok%20en/1 HTTP/1.1")
    told = f"{caught.value!r} {caught.value.hint} {one.address!r} {caplog.text}"
    assert "tok%20en" not in told
    assert "tok en" not in told


@pytest.mark.parametrize("form", ["s3/cret", "s3%2Fcret"])
def test_a_password_is_struck_out_of_what_a_server_says(form, client):
    with (
        RawServer(answer(f"no {form}".encode(), f"500 {form}")) as server,
        pytest.raises(GeneratorError) as caught,
    ):
        client(server.url, login=Login("me", "s3/cret")).get("/x")
    assert form not in str(caught.value)


def test_what_a_server_says_cannot_act_on_a_terminal(client):
    body = json.dumps({"detail": "a\x1b[2Jb\ud800c\nd"}).encode()
    with RawServer(answer(body, "500 Broken")) as server, pytest.raises(GeneratorError) as caught:
        client(server.url).get("/x")
    assert str(caught.value).endswith(r"500 Broken: a\x1b[2Jb\ud800c d")
    str(caught.value).encode()  # or a database would refuse it


@pytest.mark.parametrize("host", ["a..b", "x" * 70])
def test_a_name_that_no_machine_can_have_is_an_error(host, client):
    with pytest.raises(GeneratorError) as caught:
        client(f"http://{host}:1").get("/x")
    assert host[:4] in str(caught.value)


def _has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True

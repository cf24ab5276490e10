"""Attacks on the rating page, each over a real connection to the real server."""

from __future__ import annotations

import json
import re
import sqlite3
import sys

import pytest

from bmerge.web.token import study_token
from web_server import serving

PATHS = ("/", "/live", "/live/parts", "/events", "/api/state", "/static/rate.js", "/pictures/1")


def a_picture(client):
    return client.state()["question"]["pictures"][0]


def an_answer(client):
    return {"question": client.state()["question"]["id"], "answer": "left"}


@pytest.mark.parametrize("path", PATHS)
def test_nothing_without_the_token(stranger, path):
    status, _, body = stranger.get(path)
    assert status == 403
    assert b"open the address that `bmerge rate` printed" in body


@pytest.mark.parametrize("cut", [slice(0, -1), slice(0, 1), slice(0, 0)])
def test_part_of_the_token_opens_nothing(stranger, cut):
    status, headers, _ = stranger.get(f"/?token={stranger.token[cut]}")
    assert status == 403
    assert "Set-Cookie" not in headers


def test_token_opens_the_first_address_only(stranger):
    assert stranger.get(f"/api/state?token={stranger.token}")[0] == 403
    assert stranger.post(f"/api/undo?token={stranger.token}", {})[0] == 403
    assert stranger.post(f"/?token={stranger.token}", {})[0] == 403


def test_cookie_is_for_this_page_alone(stranger):
    _, headers, body = stranger.get(f"/?token={stranger.token}")
    cookie = headers["Set-Cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert stranger.token.encode() not in body
    assert headers["Referrer-Policy"] == "no-referrer"


def test_cookie_of_another_study_opens_nothing(stranger, tmp_path):
    (tmp_path / "other").mkdir()
    name = stranger.log_in().cookie.split("=")[0]
    stranger.cookie = f"{name}={study_token(tmp_path / 'other')}"
    assert stranger.get("/api/state")[0] == 403


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:{port}",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "192.168.1.7:{port}",
        "[::ffff:10.0.0.1]",
        "user@evil.example",
        "[",
        "",
    ],
)
def test_name_that_is_let_point_here_reaches_nothing(client, host):
    """DNS rebinding: the browser believes that the page belongs to the attacker's site."""
    headers = {"Host": host.format(port=client.port)}
    assert client.get("/api/state", headers)[0] in {400, 403}
    assert client.get(f"/?token={client.token}", headers)[0] in {400, 403}


def test_two_hosts_are_refused(client):
    both = [("Host", f"127.0.0.1:{client.port}"), ("Host", "evil.example")]
    assert client.get("/api/state", both)[0] in {400, 403}


@pytest.mark.parametrize("host", ["localhost:{port}", "127.0.0.1", "[::1]:9000", "LOCALHOST."])
def test_own_names_are_let_in(client, host):
    assert client.get("/api/state", {"Host": host.format(port=client.port)})[0] == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": None},
        {"Origin": "null"},
        {"Origin": "https://evil.example"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "http://127.0.0.1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
    ids=str,
)
def test_another_site_cannot_answer_with_our_cookie(client, desk, headers):
    assert client.post("/api/answer", an_answer(client), headers)[0] == 403
    assert client.post("/api/undo", {}, headers)[0] == 403
    assert desk.ratings.answered() == 0


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_form_cannot_answer(client, desk, kind):
    """The kinds of body that a form can send without being asked."""
    assert client.post("/api/answer", an_answer(client), {"Content-Type": kind})[0] == 415
    assert desk.ratings.answered() == 0


def test_a_page_takes_back_no_answer_that_it_does_not_know(client, desk):
    assert client.state()["last"] is None
    client.post("/api/answer", an_answer(client))
    known = client.state()["last"]
    client.post("/api/answer", an_answer(client))  # from another page
    assert client.post("/api/undo", {})[0] == 400
    assert client.post("/api/undo", known)[0] == 409
    assert desk.ratings.answered() == 2
    status, _, body = client.post("/api/undo", client.state()["last"])
    assert (status, json.loads(body)["last"]) == (200, known)


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"])
def test_only_a_post_changes_anything(client, desk, method):
    client.post("/api/answer", an_answer(client))
    for path in ("/api/answer", "/api/undo"):
        assert client.send(method, path)[0] in {403, 404, 405}
    assert desk.ratings.answered() == 1


@pytest.mark.parametrize(
    "path",
    [
        "/pictures/../study.db",
        "/pictures/..%2frate.token",
        "/pictures/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "/pictures//etc/passwd",
        "/pictures/pictures%2f0000%2fp00-s1.png",
        "/pictures/p00-s1.png",
        "/pictures/..%5c..%5crate.token",
        "/pictures/%00",
        "/pictures/'%20OR%20'1'='1",
        "/static/../rate.py",
        "/static/..%2frating.py",
        "/static/%2fetc%2fpasswd",
        "/rate.token",
        "/ratings.db",
    ],
)
def test_no_path_of_a_request_reaches_the_disk(client, path):
    status, _, body = client.get(path)
    assert status == 404
    assert client.token.encode() not in body


@pytest.mark.parametrize("file", ["rate.token", "../secret.png", "/etc/passwd", "pictures/x.txt"])
def test_database_that_was_tampered_with_gives_nothing_else_away(client, desk, file):
    folder = desk.ratings.folder
    (folder.parent / "secret.png").write_bytes(b"secret")
    (folder / "pictures" / "x.txt").write_bytes(b"secret")
    picture = a_picture(client)
    with sqlite3.connect(folder / "ratings.db") as db:
        db.execute("UPDATE pictures SET file = ? WHERE id = ?", (file, picture.split("/")[-1]))
    assert client.get(picture)[0] == 404


@pytest.mark.skipif(sys.platform == "win32", reason="symbolic links")
def test_link_out_of_the_folder_is_not_followed(client, desk, tmp_path_factory):
    secret = tmp_path_factory.mktemp("elsewhere") / "secret.png"
    secret.write_bytes(b"secret")
    picture = a_picture(client)
    file = desk.ratings.folder / desk.ratings.file(picture.split("/")[-1])
    file.unlink()
    file.symlink_to(secret)
    assert client.get(picture)[0] == 404


def test_every_answer_has_the_headers(client):
    headers_of = [client.get(p)[1] for p in ("/", "/live", "/api/state", "/no", a_picture(client))]
    client.cookie = ""
    headers_of.append(client.get("/")[1])
    for headers in headers_of:
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert "Server" not in headers


def test_answers_are_not_kept_by_the_browser_but_pictures_are(client):
    assert client.get("/api/state")[1]["Cache-Control"] == "no-store"
    assert "private" in client.get(a_picture(client))[1]["Cache-Control"]


@pytest.mark.parametrize("path", ["/", "/live", "/static/rate.js", "/static/common.css"])
def test_nothing_is_loaded_from_elsewhere(client, path):
    text = client.get(path)[2].decode()
    assert not re.findall(r"(?:https?:)?//[a-z0-9.]+\.[a-z]", text)
    assert "<script>" not in text
    assert not re.search(r"\son\w+=", text)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b"[" * 4000, 400),
        (b'"' + b"x" * 5000 + b'"', 413),
        (b"{}", 400),
        (b'{"question": 1, "answer": "left"}', 400),
        (b'{"question": ["x"], "answer": {}}', 400),
        (b"\xff\xfe", 400),
    ],
    ids=range(9),
)
def test_body_that_is_no_answer_is_refused(client, desk, body, status):
    assert client.post("/api/answer", body)[0] == status
    assert desk.ratings.answered() == 0


def test_wrong_answer_is_refused_and_an_old_one_too(client, desk):
    answer = an_answer(client)
    status, _, body = client.post("/api/answer", {**answer, "answer": "DROP TABLE"})
    assert (status, b"is not an answer" in body) == (400, True)
    assert client.post("/api/answer", answer)[0] == 200
    status, _, body = client.post("/api/answer", answer)
    assert status == 409  # answered on another device, say; the page goes on with what is next
    assert json.loads(body)["question"]["id"] != answer["question"]
    assert desk.ratings.answered() == 1


def test_prompt_is_text_and_nothing_else(client, desk):
    prompt = "</b><script>alert(1)</script>"
    client.state()
    with sqlite3.connect(desk.ratings.folder / "ratings.db") as db:
        db.execute("UPDATE pictures SET prompt = ?", (prompt,))
    status, headers, body = client.get("/api/state")
    assert status == 200
    assert headers["Content-Type"] == "application/json"
    assert json.loads(body)["question"]["prompt"] == prompt


def test_state_tells_nothing_of_which_trial_is_which(client):
    text = json.dumps(client.state())
    assert "0000" not in re.sub(r"[0-9a-f]{16}", "", text)
    assert "png" not in text


def test_on_a_network_addresses_are_let_in_but_names_are_not(desk):
    with serving(desk.ratings.folder, addresses=True) as client:
        client.log_in()
        for host, status in (
            ("192.168.1.7", 200),
            ("[fe80::1]:80", 200),
            ("evil.example", 403),
            ("192.168.1.7.evil.example", 403),
        ):
            assert client.get("/api/state", {"Host": host})[0] == status
        client.cookie = ""
        assert client.get("/api/state", {"Host": "192.168.1.7"})[0] == 403


@pytest.mark.skipif(sys.platform == "win32", reason="file modes")
def test_token_is_long_random_and_for_the_owner_only(tmp_path):
    folders = [tmp_path / name for name in "ab"]
    for folder in folders:
        folder.mkdir()
    one, other = (study_token(folder) for folder in folders)
    assert one != other
    assert len(one) == 32
    assert study_token(folders[0]) == one
    file = folders[0] / "rate.token"
    assert file.stat().st_mode & 0o777 == 0o600
    file.write_text("")
    assert len(study_token(folders[0])) == 32

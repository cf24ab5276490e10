"""optuna-dashboard itself opens a study and serves its pictures."""

from __future__ import annotations

import io
import json
import os

import pytest
from optuna.artifacts import FileSystemArtifactStore
from optuna.storages import RDBStorage

from bmerge.storage.stored import read_study
from bmerge.study.loop import run_study
from toy_study import make_study

pytestmark = pytest.mark.filterwarnings("ignore")  # the dashboard's own


def get(app, path):
    """Return the body that an application answers with."""
    status = []
    environ = {
        "REQUEST_METHOD": "GET", "PATH_INFO": path, "SERVER_NAME": "x", "SERVER_PORT": "80",
        "wsgi.input": io.BytesIO(), "wsgi.errors": io.StringIO(), "wsgi.url_scheme": "http",
    }  # fmt: skip
    body = b"".join(app(environ, lambda code, headers, *_: status.append(code)))
    assert status[0].startswith("200"), (path, status, body[:200])
    return body


def test_the_dashboard_shows_every_picture(tmp_path, bmerge):
    optuna_dashboard = pytest.importorskip("optuna_dashboard")
    folder = tmp_path / "a study"
    run_study(make_study(folder, n_iters=2, init=0), trials=4)
    assert bmerge("studies", "dashboard", folder).status == 0
    run_study(make_study(folder, n_iters=2, init=0))
    told = bmerge("studies", "dashboard", folder)
    assert told.status == 0, told.err
    address = f"sqlite:///{folder / 'study.db'}"
    assert told.out == f"optuna-dashboard '{address}' --artifact-dir '{folder / 'artifacts'}'\n"
    storage = RDBStorage(address)
    app = optuna_dashboard.wsgi(storage, FileSystemArtifactStore(folder / "artifacts"))
    (entry,) = json.loads(get(app, "/api/studies"))["study_summaries"]
    detail = json.loads(get(app, f"/api/studies/{entry['study_id']}"))
    trials = read_study(folder).trials
    assert [t["number"] for t in detail["trials"]] == list(trials)
    for shown in detail["trials"]:
        pictures = trials[shown["number"]].pictures
        assert shown["values"] == [trials[shown["number"]].score]
        assert len(shown["artifacts"]) == len(pictures) == 3
        files = {(folder / p["file"]).read_bytes() for p in pictures}
        place = f"/artifacts/{entry['study_id']}/{shown['trial_id']}"
        assert {get(app, f"{place}/{a['artifact_id']}") for a in shown["artifacts"]} == files
        assert {a["mimetype"] for a in shown["artifacts"]} == {"image/png"}
    storage.engine.dispose()


def test_pictures_are_copied_where_there_are_no_links(tmp_path, bmerge, monkeypatch):
    folder = tmp_path / "a study"
    run_study(make_study(folder, n_iters=1, init=0), trials=2)
    pictures = {p["file"] for trial in read_study(folder).trials.values() for p in trial.pictures}
    monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError("no links")))
    assert bmerge("studies", "dashboard", folder).status == 0
    copies = list((folder / "artifacts").iterdir())
    assert {path.stat().st_nlink for path in copies} == {1}
    wanted = sorted((folder / name).read_bytes() for name in pictures)
    assert sorted(path.read_bytes() for path in copies) == wanted

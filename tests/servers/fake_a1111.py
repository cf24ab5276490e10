"""What A1111 and its forks do over /sdapi/v1, with the traps that real ones have.

A picture's colour says which weights it was made with. The traps: new files are not seen before
a refresh; a file that is replaced under the same name keeps its old weights; an unknown
checkpoint is an error in ``options`` but is dropped without a word in ``override_settings``; a
job that was interrupted gives its half-done picture as if it were whole; unknown schedules and
VAEs are left out without a word;
hashes are unknown until a model has been loaded; overrides are taken back unless told otherwise.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from pathlib import Path

from servers.faulty_http import HttpError, JsonServer, colour, png


class FakeA1111(JsonServer):
    def __init__(self, folder: Path, *, dialect: str = "a1111", **options) -> None:
        super().__init__(**options)
        self.folder = folder
        self.dialect = dialect
        self.listed: list[Path] = []
        self.hashes: dict[Path, str] = {}
        self.weights: dict[Path, bytes] = {}
        self.current: Path | None = None
        self.before_picture = lambda count: None
        self.corrupt = lambda weights: weights
        self.reported_hash: str | None = None
        self.grid = False
        self.black = False
        self.pictures = 0
        self.interrupted = threading.Event()
        self.state = {"interrupted": False, "skipped": False, "job": ""}
        self.cut = False
        self.after_picture = lambda count: None
        self.tells_progress = True
        self.lists: dict[str, object] = {}
        self.hold_from: int | None = None
        self.refresh()
        if self.listed:
            self.use(self.listed[0])

    def answer(self, method, path, query, body):
        name = f"{method} {path.removeprefix('/sdapi/v1/')}"
        match name:
            case "GET sd-models":
                return [self.entry(file) for file in self.listed]
            case "POST refresh-checkpoints":
                return self.refresh()
            case "GET options" | "POST options":
                return self.set_options(body) if body else self.options()
            case "POST txt2img" | "POST img2img":
                return self.make(body)
            case "POST interrupt" | "GET progress":
                return self.progress(interrupt=name == "POST interrupt")
            case _ if name in self.lists:
                return self.lists[name]
        raise HttpError(404, {"detail": "Not Found"})

    def options(self) -> dict[str, object]:
        return {"sd_model_checkpoint": self.title(self.current) if self.current else None}

    def progress(self, *, interrupt: bool) -> dict[str, object]:
        if interrupt:
            self.state["interrupted"] = True
            self.interrupted.set()
        elif not self.tells_progress:
            raise HttpError(404, {"detail": "Not Found"})
        return {"progress": 0.0, "state": self.state, "current_image": None}

    def refresh(self) -> None:
        self.listed = sorted(self.folder.glob("**/*.safetensors"))

    def entry(self, file: Path) -> dict[str, object]:
        digest = self.hashes.get(file)
        return {
            "title": self.title(file),
            "model_name": file.stem,
            "hash": digest[:10] if digest else None,
            "sha256": digest,
            "filename": str(file),
            "config": None,
        }

    def title(self, file: Path) -> str:
        digest = self.hashes.get(file)
        name = str(file.relative_to(self.folder))
        return f"{name} [{digest[:10]}]" if digest else name

    def find(self, title: str) -> Path | None:
        bare = title.split(" [", maxsplit=1)[0]
        return next((file for file in self.listed if self.title(file).split(" [")[0] == bare), None)

    def use(self, file: Path) -> None:
        if file not in self.weights:  # a name that is loaded is never read again
            self.weights[file] = self.corrupt(file.read_bytes())
            self.hashes[file] = hashlib.sha256(self.weights[file]).hexdigest()
        self.current = file

    def set_options(self, body) -> None:
        file = self.find(body["sd_model_checkpoint"])
        if file is None:
            unknown = f"Unknown checkpoint: {body['sd_model_checkpoint']}"
            raise HttpError(500, {"error": "RuntimeError", "detail": "", "errors": unknown})
        self.use(file)

    def make(self, body) -> dict[str, object]:
        self.pictures += 1
        self.state = {"interrupted": False, "skipped": False, "job": ""}
        self.cut = False
        self.before_picture(self.pictures)
        if self.hold_from is not None and self.pictures >= self.hold_from:
            self.interrupted.wait(20)
        if body.get("sampler_name") == "nonsense":
            raise HttpError(404, {"detail": "Sampler not found"})
        before = self.current
        override = self.find(body["override_settings"].get("sd_model_checkpoint", "/"))
        if override is not None:
            self.use(override)
        answer = self.render(body)
        if body.get("override_settings_restore_afterwards", True) and before is not None:
            self.use(before)
        self.after_picture(self.pictures)
        return answer

    def render(self, body) -> dict[str, object]:
        assert self.current is not None
        size = body.get("width", 8), body.get("height", 8)
        rgb = colour(self.weights[self.current], body["prompt"], body["seed"])
        if self.cut:  # half denoised, at another step each time
            noise = 40 * (1 + self.pictures % 5)
            rgb = tuple((level + noise) % 256 for level in rgb)
        if self.black:  # --disable-nan-check
            rgb = (0, 0, 0)
        images = [base64.b64encode(png(rgb, size)).decode()]
        if self.grid:
            images.insert(0, base64.b64encode(png((0, 0, 0))).decode())
        digest = self.reported_hash or self.hashes[self.current][:10]
        lines = [body["prompt"], f"Steps: 20, Model hash: {digest}, Model: {self.current.stem}"]
        info: dict[str, object] = {
            "seed": body["seed"],
            "sd_model_hash": digest,
            "index_of_first_image": 1 if self.grid else 0,
            "infotexts": ["\n".join(lines)] * len(images),
        }
        if self.dialect == "a1111":
            info["sd_model_name"] = self.current.stem
        if self.dialect == "silent":
            info = {"seed": body["seed"], "index_of_first_image": info["index_of_first_image"]}
        return {"images": images, "parameters": body, "info": json.dumps(info)}

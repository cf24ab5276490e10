"""What ComfyUI does over HTTP and its websocket, with the traps that the real one has.

The traps: a checkpoint is remembered by its file name, so that a file that is replaced keeps its
old weights until ``/free``; a workflow that was already run is answered from memory; an unknown
checkpoint is refused by the validation of ``/prompt``; prompts wait in a queue.
"""

from __future__ import annotations

import json
import queue
import threading
import time
from pathlib import Path

from servers.faulty_http import HttpError, JsonServer, colour, png

SAMPLERS = ("KSampler", "SamplerCustomAdvanced")
LOADERS = {"CheckpointLoaderSimple": "ckpt_name", "UNETLoader": "unet_name"}
LISTS = {
    "sampler_name": ["euler", "dpmpp_2m", "lcm"],
    "scheduler": ["normal", "karras", "simple"],
}
KNOWN = {"CheckpointLoaderSimple", "CLIPTextEncode", "EmptyLatentImage", "EmptySD3LatentImage",
         "KSampler", "VAEDecode", "PreviewImage", "SaveImage", "FluxGuidance",
         "ConditioningZeroOut", "UNETLoader", "CLIPLoader", "VAELoader", "RandomNoise", "CFGGuider",
         "KSamplerSelect", "Flux2Scheduler", "SamplerCustomAdvanced",
         "EmptyFlux2LatentImage"}  # fmt: skip


class FakeComfyUI(JsonServer):
    def __init__(self, folder: Path, *, modern: bool = False, **options) -> None:
        super().__init__(**options)
        self.folder = folder
        self.folders = {"checkpoints": [str(folder)]}
        self.modern = modern
        self.known = set(KNOWN)
        self.encoders = ["qwen_3_4b.safetensors"]
        self.weights: dict[str, bytes] = {}
        self.cache: dict[str, object] = {}
        self.images: dict[str, bytes] = {}
        self.history: dict[str, object] = {}
        self.pending: dict[str, dict] = {}
        self.running: str | None = None
        self.most_loaded = 0
        self.runs = 0
        self.before_run = lambda graph: None
        self.ignored: dict[str, object] = {}  # node_errors of outputs that are left out
        self.interrupted = threading.Event()
        self.beginning = 0.0  # seconds from taking a prompt to beginning with it
        self.hold_from: int | None = None
        self._work: queue.Queue[str | None] = queue.Queue()
        self._worker = threading.Thread(target=self._run_all)

    def __enter__(self):
        self._worker.start()
        return super().__enter__()

    def __exit__(self, *error: object) -> None:
        self.interrupted.set()
        self._work.put(None)
        self._worker.join()
        super().__exit__(*error)

    def answer(self, method, path, query, body):
        name = f"{method} {path}"
        if name.startswith("GET /object_info/"):
            return self.object_info(path.rpartition("/")[2])
        if name.startswith("GET /history/"):
            entry = self.history.get(path.rpartition("/")[2])
            return {path.rpartition("/")[2]: entry} if entry else {}
        routes = {
            "POST /prompt": lambda: self.prompt(body),
            "GET /system_stats": lambda: {"system": {"comfyui_version": "0.9"}, "devices": []},
            "GET /internal/folder_paths": lambda: self.folders,
            "GET /queue": self.queue,
            "POST /queue": lambda: self.delete(self.pending, body),
            "POST /history": lambda: self.delete(self.history, body),
            "POST /interrupt": self.interrupted.set,
            "POST /free": self.free,
            "GET /view": lambda: self.images[query["filename"]],
        }
        if name in routes:
            answer = routes[name]()
            return b"" if answer is None else answer
        raise HttpError(404, "404: Not Found")

    def queue(self):
        running = [[0, self.running, {}]] if self.running else []
        return {"queue_running": running, "queue_pending": [[0, i, {}] for i in self.pending]}

    def delete(self, items, body) -> None:
        for item in body["delete"]:
            items.pop(item, None)

    def free(self) -> None:
        self.weights.clear()
        self.cache.clear()

    def checkpoints(self) -> list[str]:
        return [str(f.relative_to(self.folder)) for f in self.folder.glob("**/*.safetensors")]

    def object_info(self, node):
        if node not in self.known:
            return {}
        lists = {LOADERS[node]: self.checkpoints()} if node in LOADERS else {}
        lists |= LISTS if node == "KSampler" else {}
        lists |= {"clip_name": self.encoders} if node == "CLIPLoader" else {}
        specs = {
            name: ["COMBO", {"options": names}] if self.modern else [names]
            for name, names in lists.items()
        }
        return {node: {"input": {"required": specs}}}

    def prompt(self, body):
        errors = {}
        for node, content in body["prompt"].items():
            name = content["inputs"].get(LOADERS.get(content["class_type"]))
            if name is not None and name not in self.checkpoints():
                error = {"type": "value_not_in_list", "message": "Value not in list",
                         "details": f"ckpt_name: '{name}' not in []"}  # fmt: skip
                errors[node] = {"errors": [error], "class_type": content["class_type"]}
        if errors:
            failed = {
                "type": "prompt_outputs_failed_validation",
                "message": "Prompt outputs failed",
            }
            raise HttpError(400, {"error": failed, "node_errors": errors})
        item = body["prompt_id"]
        self.pending[item] = body
        self._work.put(item)
        return {"prompt_id": item, "number": 0, "node_errors": self.ignored}

    def _run_all(self) -> None:
        while (item := self._work.get()) is not None:
            body = self.pending.pop(item, None)
            if body is None:
                continue
            self.running = item
            self.runs += 1
            if self.beginning:
                time.sleep(self.beginning)
                self.interrupted.clear()  # as the real one does before it begins
            if self.hold_from is not None and self.runs >= self.hold_from:
                self.interrupted.wait(20)
            status, outputs = self._run(body["prompt"])
            graph = body["prompt"]
            self.history[item] = {"prompt": [0, item, graph, {}, []], "outputs": outputs,
                                  "status": status}  # fmt: skip
            self.running = None
            self._tell(body["client_id"], item)

    def _run(self, graph):
        if self.interrupted.is_set():
            self.interrupted.clear()
            return {"status_str": "error", "messages": [["execution_interrupted", {}]]}, {}
        failure = self.before_run(graph)
        if failure:
            return {"status_str": "error", "messages": [["execution_error", failure]]}, {}
        key = json.dumps(graph, sort_keys=True)
        if key not in self.cache:
            try:
                self.cache[key] = self._outputs(graph)
            except FileNotFoundError as error:  # taken away while it waited in the queue
                failure = {"node_type": "CheckpointLoaderSimple", "exception_message": str(error)}
                return {"status_str": "error", "messages": [["execution_error", failure]]}, {}
        return {"status_str": "success", "completed": True, "messages": []}, self.cache[key]

    def _outputs(self, graph):
        (sampler,) = [n for n in graph.values() if n["class_type"] in SAMPLERS]
        inputs = dict(sampler["inputs"])
        if "guider" in inputs:
            inputs |= graph[inputs["guider"][0]]["inputs"]
            inputs["seed"] = graph[inputs["noise"][0]]["inputs"]["noise_seed"]
        loader = graph[inputs["model"][0]]
        weights = self._loaded(loader["inputs"][LOADERS[loader["class_type"]]])
        text = graph[inputs["positive"][0]]["inputs"]
        while "text" not in text:
            text = graph[text["conditioning"][0]]["inputs"]
        latent = graph[inputs["latent_image"][0]]["inputs"]
        picture = png(colour(weights, text["text"], inputs["seed"]), (latent["width"], 8))
        outputs = {}
        for node, content in graph.items():
            if content["class_type"] in ("PreviewImage", "SaveImage"):
                name = f"{len(self.images)}.png"
                self.images[name] = picture
                kind = "output" if content["class_type"] == "SaveImage" else "temp"
                image = {"filename": name, "subfolder": "", "type": kind}
                outputs[node] = {"images": [image] * latent["batch_size"]}
        return outputs

    def _loaded(self, name: str) -> bytes:
        if name not in self.weights:
            self.weights[name] = (self.folder / name).read_bytes()
        self.most_loaded = max(self.most_loaded, len(self.weights))
        return self.weights[name]

    def _tell(self, client: str, item: str) -> None:
        events = self.sockets.get(client)
        if events is not None:
            data = {"value": 20, "max": 20, "prompt_id": item}
            events.put({"type": "progress", "data": data})
            events.put({"type": "execution_success", "data": {"prompt_id": item}})
            events.put({"type": "executing", "data": {"node": None, "prompt_id": item}})

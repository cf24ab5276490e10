"""What stable-diffusion.cpp's sd-server does: one model for the life of the process.

Run as a program. It reads the model, then listens; there is no way to change the model.
"""

from __future__ import annotations

import argparse
import base64
import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from servers.faulty_http import HttpError, JsonServer, colour, png


class FakeSdServer(JsonServer):
    def __init__(self, model: Path, port: int, *, old: bool) -> None:
        self.model = model
        self.weights = model.read_bytes()
        self.old = old
        super().__init__(port=port)

    def answer(self, method, path, query, body):
        if path == "/sdapi/v1/sd-models":
            return [{"title": self.model.stem, "model_name": self.model.stem, "hash": "8" * 10}]
        if path == "/sdapi/v1/txt2img":
            if body["prompt"] == "die":
                sys.stderr.write("[ERROR] ggml: out of memory\n")
                self.stopping.set()
                raise HttpError(500, {"error": "server_error", "message": "out of memory"})
            rgb = colour(self.weights, body["prompt"], body["seed"])
            info = "" if self.old else json.dumps({"sd_model_name": self.model.name})
            return {"images": [base64.b64encode(png(rgb)).decode()], "info": info}
        raise HttpError(404, {"error": "not found"})


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--listen-ip", required=True)
    parser.add_argument("--listen-port", type=int, required=True)
    parser.add_argument("--old", action="store_true")
    arguments = parser.parse_args()
    if arguments.model.read_bytes() == b"broken":
        sys.stderr.write("loading model\n")
        sys.stderr.write("[ERROR] new_sd_ctx_t failed\n")
        return 1
    with FakeSdServer(arguments.model, arguments.listen_port, old=arguments.old) as server:
        server.stopping.wait()
        time.sleep(0.2)
    return 1


if __name__ == "__main__":
    sys.exit(main())

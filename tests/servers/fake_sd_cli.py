"""What stable-diffusion.cpp's sd-cli does: read a model, make one picture, end."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from servers.faulty_http import colour, png


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("-o", "--output", type=Path)
    for name in ("--model", "--prompt", "--negative-prompt", "--sampling-method", "--scheduler"):
        parser.add_argument(name)
    for name in ("--seed", "--steps", "--width", "--height"):
        parser.add_argument(name, type=int)
    parser.add_argument("--cfg-scale", type=float)
    parser.add_argument("--vae-tiling", action="store_true")
    arguments = parser.parse_args()
    if arguments.prompt == "wait":
        time.sleep(60)
    if arguments.prompt == "fail":
        sys.stderr.write("[ERROR] generate failed\n")
        return 1
    if arguments.prompt != "nothing":
        weights = Path(arguments.model).read_bytes()
        size = arguments.width or 8, arguments.height or 8
        arguments.output.write_bytes(png(colour(weights, arguments.prompt, arguments.seed), size))
    return 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Prints models as text with ONNX's own printer: `print_text.py FOLDER MODEL…` writes FOLDER/0.onnxtxt, 1.onnxtxt, …"""

import os
import sys

import onnx
import onnx.printer


def main(arguments: list[str]) -> int:
    if len(arguments) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    folder, *models = arguments
    for number, path in enumerate(models):
        with open(os.path.join(folder, f"{number}.onnxtxt"), "w", encoding="utf-8") as file:
            file.write(onnx.printer.to_text(onnx.load(path)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

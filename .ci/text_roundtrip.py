#!/usr/bin/env python3
"""Checks that ONNX's own parser reads texts that sparsec printed, and that they say what the checker accepts.

Usage: text_roundtrip.py [--no-check] FILE.onnxtxt…

--no-check only parses: for texts that use operators the checker does not know.
"""

import sys

import onnx
import onnx.parser


def main(arguments: list[str]) -> int:
    check = "--no-check" not in arguments
    files = [a for a in arguments if not a.startswith("--")]
    if not files:
        print(__doc__, file=sys.stderr)
        return 2
    failed = 0
    for path in files:
        try:
            with open(path, encoding="utf-8") as f:
                model = onnx.parser.parse_model(f.read())
            if check:
                onnx.checker.check_model(model)
            print(f"{path}: {len(model.graph.node)} nodes, {len(model.graph.initializer)} initialisers")
        except Exception as error:  # the parser and the checker raise different types
            failed += 1
            message = error.args[0] if error.args else error
            text = message.decode(errors="replace") if isinstance(message, bytes) else str(message)
            print(f"{path}: {text[:400]}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

#!/usr/bin/env python3
"""Checks models with ONNX's own checker, shape inference included: `check_models.py MODEL…`."""

import sys

import onnx


def main(models: list[str]) -> int:
    if not models:
        print(__doc__, file=sys.stderr)
        return 2
    failed = 0
    for path in models:
        try:
            onnx.checker.check_model(path, full_check=True)
        except Exception as error:  # the checker and shape inference raise different types
            failed += 1
            print(f"{path}: {error}", file=sys.stderr)
    print(f"{len(models) - failed} valid, {failed} not")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

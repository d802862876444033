#!/usr/bin/env python3
"""Prints the operators of the onnx package with the versions in which their meaning changed or
ended, for `testdata/ops/operators.txt`: a line each, domain (`ai.onnx` for ONNX's own), name, versions."""

import collections

import onnx

versions = collections.defaultdict(list)
for schema in onnx.defs.get_all_schemas_with_history():
    versions[schema.domain or "ai.onnx", schema.name].append(schema.since_version)
print(f"# .ci/operators.py > testdata/ops/operators.txt, with onnx {onnx.__version__}")
for (domain, name), since in sorted(versions.items()):
    print(domain, name, *sorted(since))

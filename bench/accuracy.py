#!/usr/bin/env python3
"""What is left of each model's metric by channels, masks, and both in one budget. Prints a Markdown table.

usage: bench/accuracy.py FOLDER [--shares 70 50 35 25] [--joint 4x1] [--masks 4x1@50 4x1@30 2:4] [--only NAME …]
                         [--out DIR] [--bin SPARSEC] [--extra ARGS]

FOLDER holds one folder a model with model.onnx, calib.npz, val.npz and meta.json. A row a model: the dense metric, then
channels alone at each share of the MACs, channels with masks of the joint pattern at the same multiplications, and masks
alone (PATTERN@DENSITY in percent, or N:M). EXTRA goes to every compilation: what an ablation changes. Standard library only.
"""
import argparse, json, pathlib, shlex, subprocess, sys

METRICS = {"accuracy": "top1", "binary": "top1", "next_byte": "accuracy", "iou": "miou"}


def after(a, model, tag, options):
    """The metric of the dense and of the compiled model."""
    meta = json.loads((model / "meta.json").read_text())
    scales = [x for i in meta["inputs"] if i["scale"] != 1 for x in ("--scale", f"{i['name']}={i['scale']!r}")]
    out = a.out / f"{model.name}-{tag.replace(':', 'of')}"
    args = [a.bin, "compile", model / "model.onnx", "-o", out, "--data", model / "calib.npz", *scales, "--eval",
            model / "val.npz", "--metric", METRICS[meta["metric"]], *options, *shlex.split(a.extra), "--json"]
    run = subprocess.run(list(map(str, args)), capture_output=True, text=True)
    if run.returncode not in (0, 4):
        print(run.stderr[-400:], file=sys.stderr)
        return None, None
    report = json.loads(run.stdout)
    return report["before"]["metric"]["value"], report["after"]["metric"]["value"]


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("folder", type=pathlib.Path)
    p.add_argument("--shares", type=int, nargs="*", default=[70, 50, 35, 25])
    p.add_argument("--joint", default="4x1")
    p.add_argument("--masks", nargs="*", default=["4x1@50", "4x1@30", "2:4"])
    p.add_argument("--only", nargs="*")
    p.add_argument("--extra", default="")
    p.add_argument("--out", type=pathlib.Path, default=pathlib.Path("accuracy"))
    p.add_argument("--bin", default="sparsec")
    a = p.parse_args()
    columns = [(f"channels {s} %", f"channels-{s}", ["--max-macs", f"{s}%"]) for s in a.shares]
    columns += [(f"with {a.joint} {s} %", f"joint-{s}", ["--max-macs", f"{s}%", "--mask", a.joint]) for s in a.shares if a.joint != "none"]
    for mask in a.masks:
        pattern, _, density = mask.partition("@")
        columns.append((mask, mask, ["--mask", pattern, *(["--mask-density", f"{density}%"] if density else [])]))
    print("| model | dense | " + " | ".join(c[0] for c in columns) + " |\n|---|" + "--:|" * (len(columns) + 1))
    for model in sorted(d for d in a.folder.iterdir() if (d / "val.npz").exists()):
        if a.only and model.name not in a.only:
            continue
        found = [after(a, model, tag, options) for _, tag, options in columns]
        dense = next((f[0] for f in found if f[0] is not None), float("nan"))
        cell = lambda v: "failed" if v is None else f"{v:.2f}"
        print(f"| {model.name} | {dense:.2f} | " + " | ".join(cell(f[1]) for f in found) + " |", flush=True)


main()

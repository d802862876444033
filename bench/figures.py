#!/usr/bin/env python3
"""Figures of `sparsec compile` over a folder of trained models: what the README and release notes quote.

usage: bench/figures.py FOLDER [--ort PATH] [--shares 70 50 35] [--only NAME …] [--out DIR] [--bin SPARSEC]

FOLDER holds one folder a model with model.onnx, calib.npz, val.npz and meta.json (inputs with their scale, the metric).
Each model is compiled to each share of its MACs, without labels; the metric is taken on val.npz; times are of one
thread, dense and compiled in turn in one process. Prints a Markdown table. Standard library only.
"""
import argparse, json, os, pathlib, subprocess, sys, time

METRICS = {"accuracy": "top1", "binary": "top1", "next_byte": "accuracy", "iou": "miou"}


def sparsec(a, *args, rc=(0, 4)):
    run = subprocess.run([a.bin, *map(str, args), "--json"], capture_output=True, text=True)
    if run.returncode not in rc:
        sys.exit(f"{' '.join(map(str, args))}: exit {run.returncode}\n{run.stderr}")
    return json.loads(run.stdout)


def compile_(a, model, out, scales, share):
    """Compiles once, with wall time and peak memory of the process."""
    args = [a.bin, "compile", model / "model.onnx", "-o", out, "--data", model / "calib.npz", "--max-macs", f"{share}%",
            "--json", *scales]
    start = time.time()
    pid = subprocess.Popen(list(map(str, args)), stdout=subprocess.PIPE, text=True)
    text = pid.stdout.read()
    _, status, usage = os.wait4(pid.pid, 0)
    code = os.waitstatus_to_exitcode(status)
    if code not in (0, 4):
        sys.exit(f"compile {model}: exit {code}")
    return json.loads(text), time.time() - start, usage.ru_maxrss / 1024


def main():
    p = argparse.ArgumentParser()
    p.add_argument("folder", type=pathlib.Path)
    p.add_argument("--ort")
    p.add_argument("--shares", type=int, nargs="+", default=[70, 50, 35])
    p.add_argument("--only", nargs="*")
    p.add_argument("--out", type=pathlib.Path, default=pathlib.Path("figures"))
    p.add_argument("--bin", default="sparsec")
    a = p.parse_args()
    ort = ["--runtime", f"ort={a.ort}"] if a.ort else []
    print("| model | MACs | metric | params | file | ORT time | tract time | compile | peak memory | verify |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for model in sorted(d for d in a.folder.iterdir() if (d / "model.onnx").exists()):
        if a.only and model.name not in a.only:
            continue
        meta = json.loads((model / "meta.json").read_text())
        metric = METRICS[meta["metric"]]
        scales = [x for i in meta["inputs"] if i["scale"] != 1 for x in ("--scale", f"{i['name']}={i['scale']!r}")]
        score = lambda m: sparsec(a, "eval", m, "--data", model / "val.npz", "--metric", metric, *scales, *ort)["value"]
        dense = score(model / "model.onnx")
        for share in a.shares:
            out = a.out / f"{model.name}-{share}"
            r, seconds, memory = compile_(a, model, out, scales, share)
            cut = out / "model.onnx"
            ratio = lambda key: r["after"][key] / r["before"][key]
            def timed(runtime):
                runs = sparsec(a, "bench", model / "model.onnx", cut, "--threads", 1, "--seconds", 6, *runtime)["runs"]
                return runs[1]["min_ms"] / runs[0]["min_ms"]
            check = sparsec(a, "verify", model / "model.onnx", cut, "--plan", out / "plan.yaml", rc=(0, 5))
            print(f"| {model.name} | {100 * ratio('macs'):.1f} % | {dense:.2f} → {score(cut):.2f} | {100 * ratio('params'):.0f} % "
                  f"| {100 * ratio('file_bytes'):.0f} % | {timed(ort) if a.ort else float('nan'):.2f} | {timed([]):.2f} | {seconds:.1f} s "
                  f"| {memory:.0f} MiB | {'equal' if check['equal'] else 'DIFFERS'} ({check['max_rel_error']:.0e}) |", flush=True)


main()

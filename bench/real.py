#!/usr/bin/env python3
"""Trained models compiled to shares of their MACs, each judged by its own metric; prints a Markdown table.

usage: bench/real.py FOLDER --score COMMAND [--ort PATH] [--shares 70 50] [--only NAME …] [--runtimes tract ort]
                     [--out DIR] [--bin SPARSEC]

FOLDER holds NAME.onnx and NAME.calibration.npz. COMMAND, with `{name}`, `{model}` and `{folder}` in it, prints an object
of figures of a compiled model as JSON: its metrics, the same of the dense model under `dense`, and `latency_ms` with
`dense_latency_ms`. Time is what the process took on the clock and, since other work may run beside it, of the
processors. Standard library only.
"""
import argparse, json, os, pathlib, shlex, subprocess, sys, time


def compiled(a, model, out, share, runtime):
    """Exit code, last complaint, seconds on the clock and of the processors, and peak memory in MiB."""
    args = [a.bin, "compile", model, "-o", out, "--data", model.with_suffix(".calibration.npz"),
            "--max-macs", f"{share}%", "--json"]
    args += ["--runtime", f"ort={a.ort}" if runtime == "ort" else runtime]
    out.mkdir(parents=True, exist_ok=True)
    start = time.time()
    with open(out / "stdout", "w+") as said, open(out / "stderr", "w+") as complaints:
        child = subprocess.Popen(list(map(str, args)), stdout=said, stderr=complaints)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0), complaints.seek(0)
        lines = complaints.read().splitlines()
        why = next((l for l in lines if l.startswith("error")), lines[-1] if lines else "")
        report = json.loads(said.read()) if child.returncode in (0, 4) else None
    return report, why, time.time() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def score(a, name, model):
    command = [part.format(name=name, model=model, folder=a.folder) for part in shlex.split(a.score)]
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode:
        sys.exit(f"{shlex.join(command)}: exit {run.returncode}\n{run.stderr}")
    return json.loads(run.stdout[run.stdout.index("{"):])


def main():
    p = argparse.ArgumentParser()
    p.add_argument("folder", type=pathlib.Path)
    p.add_argument("--score", required=True)
    p.add_argument("--ort")
    p.add_argument("--shares", type=int, nargs="+", default=[70, 50])
    p.add_argument("--only", nargs="*")
    p.add_argument("--runtimes", nargs="+", default=["tract", "ort"])
    p.add_argument("--out", type=pathlib.Path, default=pathlib.Path("real-results"))
    p.add_argument("--bin", default="sparsec")
    a = p.parse_args()
    print("| model | measured by | MACs | metric, dense → compiled | parameters | file | ORT time | compile | processors "
          "| peak memory |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    models = [m for m in sorted(a.folder.glob("*.onnx")) if m.with_suffix(".calibration.npz").exists()]
    for model in (m for m in models if not a.only or m.stem in a.only):
        for runtime in (r for r in a.runtimes if r != "ort" or a.ort):
            for share in a.shares:
                out = a.out / f"{model.stem}-{runtime}-{share}"
                r, why, seconds, processors, memory = compiled(a, model, out, share, runtime)
                if r is None:
                    print(f"| {model.stem} | {runtime} | {share} % asked | {why} |", flush=True)
                    continue
                s = score(a, model.stem, out / "model.onnx")
                ratio = lambda key: f"{100 * r['after'][key] / r['before'][key]:.1f} %"
                metrics = "; ".join(f"{k} {v} → {s[k]}" for k, v in s["dense"].items())
                print(f"| {model.stem} | {runtime} | {ratio('macs')} | {metrics} | {ratio('params')} | {ratio('file_bytes')} "
                      f"| {s['latency_ms'] / s['dense_latency_ms']:.2f} | {seconds:.0f} s | {processors:.0f} s "
                      f"| {memory:.0f} MiB |", flush=True)


main()

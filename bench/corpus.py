#!/usr/bin/env python3
"""Does sparsec cut any graph, and exactly? Random plans over a folder of models; prints a Markdown table.

usage: bench/corpus.py FOLDER [--ort PATH] [--seeds 1 2 3] [--keep 0.7] [--only NAME …] [--out DIR] [--bin SPARSEC]
                       [--timeout 300] [--jobs 1] [--save] [--skip-passed]

FOLDER holds NAME.onnx files, and NAME.npz with sample inputs where random ones would not do. Each is inspected, then for every seed and share compiled to a random plan, and the result
is verified against the masked model, by ONNX Runtime where --ort names its library. Results are kept in
OUT/results.jsonl: what was done by the same binary is not done again, so a run that was stopped goes on; with
--skip-passed neither is what passed with another binary. Standard library only.
"""
import argparse, ast, hashlib, json, os, pathlib, re, shutil, signal, statistics, subprocess, sys, tempfile, time, zipfile
from concurrent.futures import ThreadPoolExecutor


def call(a, args):
    """Runs one command: its exit code, standard output, last line of complaint, seconds and peak memory in MiB."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        start = time.time()
        p = subprocess.Popen([a.bin, *map(str, args), "--json", "--threads", "1"], stdout=out, stderr=err,
                             start_new_session=True)
        while True:
            pid, status, usage = os.wait4(p.pid, os.WNOHANG)
            if pid:
                break
            if time.time() - start > a.timeout:
                os.killpg(p.pid, signal.SIGKILL)
                os.wait4(p.pid, 0)
                return 124, "", f"no answer within {a.timeout} s", time.time() - start, 0
            time.sleep(0.01)
        p.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0), err.seek(0)
        lines = [l for l in err.read().splitlines() if l.strip() and not l.startswith("note:")]
        why = next((l for l in lines if l.startswith("error") or "panicked" in l), lines[-1] if lines else "")
        if "panicked" in why:
            why = " ".join(lines[:3])
        return p.returncode, out.read(), why, time.time() - start, usage.ru_maxrss / 1024


def shapes(samples):
    """Shapes of the arrays of an .npz file, by name."""
    out = {}
    with zipfile.ZipFile(samples) as z:
        for entry in z.namelist():
            with z.open(entry) as f:
                start = f.read(12)
                long = start[6] > 1
                size = int.from_bytes(start[8:12] if long else start[8:10], "little")
                header = (b"" if long else start[10:]) + f.read(size - (0 if long else 2))
                out[entry.removesuffix(".npy")] = ast.literal_eval(header.decode("latin1"))["shape"]
    return out


def open_sizes(model, inputs):
    """Options that bind what the inputs leave open, from the samples."""
    samples, out = model.with_suffix(".npz"), {}
    if samples.exists():
        found = shapes(samples)
        for i in inputs:
            names = re.findall(r"[^,]+", i["type"].partition("[")[2].rstrip("]"))
            out.update({n: s for n, s in zip(names, found.get(i["name"], ())) if re.fullmatch(r"\w*[a-zA-Z_]\w*", n)})
    return [x for n, s in out.items() for x in ("--dim", f"{n}={s}")]


def look(a, model):
    code, text, why, seconds, memory = call(a, ["inspect", model, "--times"])
    if code == 0 and json.loads(text)["macs"] is None:
        code, text, why, seconds, memory = call(a, ["inspect", model, "--times",
                                                    *open_sizes(model, json.loads(text)["inputs"])])
    if code:
        return {"stage": "inspect", "code": code, "why": why}
    r = json.loads(text)
    frozen = {}
    for f in r["frozen"]:
        frozen[f["reason"]] = frozen.get(f["reason"], 0) + f["params"]
    out = {k: r.get(k) for k in ("params", "params_prunable", "macs", "macs_prunable", "slots", "analysis_ms")}
    return {**out, "groups": len(r["groups"]), "seconds": seconds, "memory": memory,
            "reasons": sorted(frozen.items(), key=lambda x: -x[1])}


def cut(a, model, seed, keep):
    out = a.out / f"{model.stem}-{seed}-{keep}"
    ort = ["--runtime", f"ort={a.ort}"] if a.ort else []
    try:
        code, text, why, *_ = call(a, ["compile", model, "-o", out, "--random-plan", seed, "--keep", keep, *ort])
        if code not in (0, 5):
            return {"ok": False, "stage": "compile", "code": code, "why": why}
        said = json.loads(text)
        before, after = said["before"], said["after"]
        check = ["verify", model, out / "model.onnx", "--plan", out / "plan.yaml", *ort]
        samples = model.with_suffix(".npz")
        code = 3
        if samples.exists():
            code, text, why, *_ = call(a, [*check, "--data", samples, "--batch", 65536])
        if code == 3:
            code, text, why, *_ = call(a, check)
        if code not in (0, 5):
            return {"ok": False, "stage": "verify", "code": code, "why": why}
        r = json.loads(text)
        why = "" if r["equal"] else f"differs by {r['max_rel_error']}"
        return {"ok": r["equal"], "stage": "verify", "code": code, "why": why, "error": r["max_rel_error"], "effect": r["effect"],
                "params": [before["params"], after["params"]], "macs": [before["macs"], after["macs"]]}
    finally:
        if not a.save:
            shutil.rmtree(out, ignore_errors=True)


def share(part, whole):
    return 100 * part / whole if whole and part is not None else None


def show(value, form="{:.0f}"):
    return form.format(value) if value is not None else "–"


def row(name, seen, runs):
    if "stage" in seen:
        return f"| {name} | inspect: {seen['why']} |"
    passed = sum(r["ok"] for r in runs)
    effect = min((r["effect"] for r in runs if r.get("effect") is not None), default=None)
    worst = max((r["error"] or 0 for r in runs if r.get("error") is not None), default=None)
    per = seen["analysis_ms"] / 1e3 / (seen["slots"] / 1e6) if seen.get("slots") else None
    reasons = "; ".join(f"{r} ({share(n, seen['params']):.0f} %)" for r, n in seen["reasons"] if n)
    return (f"| {name} | {seen['params'] / 1e6:.2f} M | {show(share(seen['params_prunable'], seen['params']))} % "
            f"| {show(share(seen['macs_prunable'], seen['macs']))} % | {seen['groups']} "
            f"| {show(seen['slots'] and seen['slots'] / 1e3)} k | {show(seen['analysis_ms'])} ms | {show(per, '{:.2f}')} s "
            f"| {seen['memory']:.0f} MiB | {passed}/{len(runs)} | {show(worst, '{:.0e}')} | {show(effect, '{:.0e}')} | {reasons[:400]} |")


def main():
    p = argparse.ArgumentParser()
    p.add_argument("folder", type=pathlib.Path)
    p.add_argument("--ort")
    p.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    p.add_argument("--keep", type=float, nargs="+", default=[0.7])
    p.add_argument("--only", nargs="*")
    p.add_argument("--out", type=pathlib.Path, default=pathlib.Path("corpus-results"))
    p.add_argument("--bin", default="sparsec")
    p.add_argument("--timeout", type=float, default=300)
    p.add_argument("--jobs", type=int, default=1)
    p.add_argument("--save", action="store_true", help="keep the compiled models")
    p.add_argument("--skip-passed", action="store_true", help="what passed with another binary counts")
    a = p.parse_args()
    a.out.mkdir(parents=True, exist_ok=True)
    log = a.out / "results.jsonl"
    stamp = hashlib.sha256(pathlib.Path(shutil.which(a.bin) or a.bin).read_bytes()).hexdigest()[:12]
    done = {}
    for line in log.read_text().splitlines() if log.exists() else []:
        r = json.loads(line)
        if r["binary"] == stamp or (a.skip_passed and r["result"].get("ok")):
            done[tuple(r["key"])] = r["result"]

    def once(key, make):
        if key not in done:
            done[key] = make()
            with log.open("a") as f:
                f.write(json.dumps({"key": key, "binary": stamp, "result": done[key]}) + "\n")
        return done[key]

    def one(model):
        seen = once((model.stem, "inspect"), lambda: look(a, model))
        plans = [(s, k) for k in a.keep for s in a.seeds]
        runs = [once((model.stem, s, k), lambda s=s, k=k: cut(a, model, s, k)) for s, k in plans]
        return model.stem, seen, runs

    print("| model | parameters | can leave | of the MACs | groups | slots | analysis | per million slots | memory | equal "
          "| worst difference | least effect | frozen parameters by reason |")
    print("|---|---|---|---|---|---|---|---|---|---|---|---|---|")
    models = sorted(m for m in a.folder.glob("*.onnx") if not a.only or m.stem in a.only)
    results = []
    with ThreadPoolExecutor(a.jobs) as pool:
        for r in pool.map(one, models):
            results.append(r)
            print(row(*r), flush=True)
    good = [r for r in results if "stage" not in r[1] and all(x["ok"] for x in r[2])]
    of = lambda part, whole: [share(r[1][part], r[1][whole]) for r in results if r[1].get(part) is not None and r[1].get(whole)]
    middle = lambda values: f"{statistics.median(values):.1f} %" if values else "unknown"
    # The time of a small model says nothing of a large one.
    times = [r[1]["analysis_ms"] / 1e3 / (r[1]["slots"] / 1e6) for r in results if r[1].get("slots", 0) >= 100_000]
    idle = [r[0] for r in good if not any(x["effect"] for x in r[2])]
    print(f"\n{len(good)} of {len(results)} models are cut exactly by every plan, {len(idle)} of them because no cut changes an "
          f"output ({', '.join(idle)}); median share that can leave: "
          f"{middle(of('params_prunable', 'params'))} of the parameters, {middle(of('macs_prunable', 'macs'))} of the MACs; "
          f"analysis: {max(times, default=float('nan')):.2f} s per million slots at worst (of models with 100 k and more)")
    failures = {}
    for name, seen, runs in results:
        bad = [seen] if "stage" in seen else [r for r in runs if not r["ok"]]
        for r in bad[:1]:
            failures.setdefault(f"{r['stage']}: {r['why']}", []).append(name)
    for why, names in sorted(failures.items(), key=lambda x: -len(x[1])):
        print(f"- {', '.join(names)}: {why}")
    sys.exit(0 if len(good) == len(results) else 1)


main()

#!/usr/bin/env python3
"""Which share of the parameters leaves when every group keeps the same share of its units: sparsec on the ONNX files,
Torch-Pruning on the PyTorch originals, onnxsim from a table. Prints a Markdown table.

usage: bench/peers.py FOLDER --originals FOLDER_OF_SOURCES [--onnxsim TABLE.tsv] [--keep 0.7] [--only NAME …]
                      [--allow POLICY …] [--bin SPARSEC] [--out DIR] [--timeout 300]

FOLDER holds NAME.onnx. FOLDER_OF_SOURCES holds `make.py`, which fills `export.ENTRIES`: its `build` functions give the
module and its arguments. TABLE has lines of name, share removed and `runs` or what failed, at the same share. Needs torch
and torch-pruning. sparsec drops no branches here, so that channels are compared with channels. Torch-Pruning gets what its
documentation asks for: the whole model as `root`, a random importance (which units go does not matter here), parameters
outside layers left alone, and the layers that write the outputs ignored; a result counts if the pruned module runs and its
outputs have the shapes of before. Whether they are right is not asked: for sparsec, `bench/corpus.py` does.
"""
import argparse, importlib, json, os, pathlib, statistics, subprocess, sys, tempfile, warnings


def flatten(value):
    """All tensors of nested results, in order."""
    if hasattr(value, "shape"):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [t for v in value for t in flatten(v)] if isinstance(value, (list, tuple)) else []


def torch_pruning(sources, name, share):
    """Removes `share` of the units of every group of one original; prints the share of the parameters that left."""
    warnings.filterwarnings("ignore")
    sys.path.insert(0, sources)
    importlib.import_module("make")
    entries = importlib.import_module("export").ENTRIES
    import torch, torch_pruning as tp
    torch.manual_seed(0)
    if entries[name]["exporter"] == "direct":
        return {"why": "has no PyTorch original"}
    built = entries[name]["build"]()
    kwargs = (built[2] if len(built) > 2 else {}).get("kwargs", {})
    if not isinstance(built[0], torch.nn.Module) or isinstance(built[0], torch.jit.ScriptModule):
        return {"why": "has no PyTorch module"}
    args = built[1] if isinstance(built[1], tuple) else (built[1],)
    forward = lambda model, _: model(*args, **kwargs)

    def attempt(ignore):
        """The share that left if the last `ignore` layers that ran are left alone, or None if the outputs change."""
        torch.manual_seed(0)
        model = entries[name]["build"]()[0].eval()
        shapes = [tuple(t.shape) for t in flatten(forward(model, None))]
        order = []
        layers = [m for m in model.modules() if isinstance(m, (torch.nn.Linear, torch.nn.modules.conv._ConvNd))]
        hooks = [m.register_forward_hook(lambda m, *_: order.append(m)) for m in layers]
        forward(model, None)
        for h in hooks:
            h.remove()
        last = list(dict.fromkeys(reversed(order)))[:ignore]
        before = sum(p.numel() for p in model.parameters())
        pruner = tp.pruner.BasePruner(model, args, importance=tp.importance.RandomImportance(), pruning_ratio=share,
                                      ignored_layers=last, forward_fn=forward, output_transform=flatten)
        pruner.step()
        with torch.no_grad():
            same = [tuple(t.shape) for t in flatten(forward(model, None))] == shapes
        return 1 - sum(p.numel() for p in model.parameters()) / before if same else None

    for ignore in (1, 2, 4, 8):
        try:
            removed = attempt(ignore)
        except Exception as e:
            return {"why": f"{type(e).__name__}: {e}".splitlines()[0][:90]}
        if removed is not None:
            return {"removed": removed}
    return {"why": "outputs change their shapes"}


def ours(a, model, scratch):
    call = lambda *args: subprocess.run([a.bin, "-q", *map(str, args), "--json"], capture_output=True, text=True)
    out, plan = scratch / "out", scratch / "plan.yaml"
    allowed = [word for policy in a.allow for word in ("--allow", policy)]
    made = call("compile", model, "-o", out, "--random-plan", 1, "--keep", a.keep, *allowed)
    if made.returncode not in (0, 5):
        return {"why": made.stderr.splitlines()[0][:90]}
    text = (out / "plan.yaml").read_text()
    plan.write_text(text.partition("\nbranches:")[0] + "\n")
    done = call("apply", model, "--plan", plan, "-o", scratch / "cut.onnx")
    if done.returncode not in (0, 5):
        return {"why": done.stderr.splitlines()[0][:90]}
    said = json.loads(done.stdout)
    if not said["params_before"]:
        return {"why": "has no parameters"}
    return {"removed": 1 - said["params_after"] / said["params_before"]}


def main():
    p = argparse.ArgumentParser()
    p.add_argument("folder", type=pathlib.Path)
    p.add_argument("--originals", required=True)
    p.add_argument("--onnxsim", type=pathlib.Path)
    p.add_argument("--keep", type=float, default=0.7)
    p.add_argument("--only", nargs="*")
    p.add_argument("--allow", nargs="*", default=[], help="inexact cuts that sparsec may make, as the peers do")
    p.add_argument("--bin", default="sparsec")
    p.add_argument("--out", type=pathlib.Path, default=pathlib.Path("peer-results"))
    p.add_argument("--timeout", type=float, default=300)
    p.add_argument("--one", help=argparse.SUPPRESS)
    a = p.parse_args()
    if a.one:
        print(json.dumps(torch_pruning(a.originals, a.one, 1 - a.keep)))
        return
    a.out.mkdir(parents=True, exist_ok=True)
    log = a.out / "results.jsonl"
    done = {tuple(r["key"]): r["result"] for r in map(json.loads, log.read_text().splitlines() if log.exists() else [])}
    table = {}
    for line in a.onnxsim.read_text().splitlines() if a.onnxsim else []:
        name, removed, state = line.split("\t")[:3]
        table[name] = {"removed": float(removed)} if state == "runs" else {"why": state}

    def once(key, make):
        if key not in done:
            done[key] = make()
            with log.open("a") as f:
                f.write(json.dumps({"key": key, "result": done[key]}) + "\n")
        return done[key]

    def peer(name):
        command = [sys.executable, __file__, a.folder, "--originals", a.originals, "--keep", str(a.keep), "--one", name]
        try:
            run = subprocess.run(command, capture_output=True, text=True, timeout=a.timeout,
                                 env=os.environ | {"OMP_NUM_THREADS": "1"})
        except subprocess.TimeoutExpired:
            return {"why": f"no answer within {a.timeout:.0f} s"}
        return json.loads(run.stdout.splitlines()[-1]) if run.returncode == 0 else {"why": (run.stderr.splitlines() or ["?"])[-1][:90]}

    show = lambda r: "–" if r is None else f"{100 * r['removed']:.1f} %" if "removed" in r else r["why"].replace("|", "/")
    print("| model | sparsec | Torch-Pruning | onnxsim |\n|---|---|---|---|")
    rows = []
    for model in sorted(m for m in a.folder.glob("*.onnx") if not a.only or m.stem in a.only):
        with tempfile.TemporaryDirectory() as scratch:
            mine = once((model.stem, "sparsec"), lambda: ours(a, model, pathlib.Path(scratch)))
        rows.append((model.stem, mine, once((model.stem, "torch-pruning"), lambda: peer(model.stem)), table.get(model.stem)))
        print("| " + " | ".join([model.stem, *map(show, rows[-1][1:])]) + " |", flush=True)
    for i, peer_name in ((2, "Torch-Pruning"), (3, "onnxsim")):
        both = [(r[0], r[1]["removed"], r[i]["removed"]) for r in rows if r[i] and "removed" in r[i] and "removed" in r[1]]
        if not both:
            continue
        less = [f"{n} ({100 * m:.1f} against {100 * t:.1f} %)" for n, m, t in both if m < t - 0.005]
        failed = sum(1 for r in rows if r[i] and "why" in r[i])
        print(f"\n{peer_name}: {len(both)} results, {failed} without; median removed {100 * statistics.median(t for *_, t in both):.1f} %, "
              f"sparsec on the same {100 * statistics.median(m for _, m, _ in both):.1f} %; sparsec removes less on {len(less)}: {', '.join(less)}")


main()

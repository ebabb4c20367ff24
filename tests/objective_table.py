#!/usr/bin/env python3
"""Every objective on one network, one set of pictures and one budget of processor time: the table of docs/recipes.md.

    objective_table.py BUILD DATA REFERENCE --out DIR [--teacher FILE] [--minutes 27.5] [--seeds 3] [--jobs 2] [--only NAME,NAME]

DATA is a set of 28 x 28 or 32 x 32 gray pictures of ten classes (MNIST, Fashion-MNIST), REFERENCE what samples are compared with
(--features: by which network of models/features, or a file of lenet's weights).  The cost of a step of each objective is measured first, over
--cost-steps steps in one thread, and stands in DIR/costs.json; a run has as many steps as the budget has room for, with the learning
rate falling over the last 40 % of them.  Runs of one thread go side by side (--jobs).  What has ended is not run again, and what was
stopped goes on, so the command may be repeated.  Prints a table, and writes it to DIR/table.md with a figure, DIR/curves.svg."""
import argparse
import concurrent.futures
import json
import os
import resource
import statistics
import subprocess
import sys

# Of each: the preset, what it begins with, the share of the budget, the sampler of two steps, options besides.
TWO = ["multistep", "--sigmas", "80,0.821"]
TRIG = ["multistep", "--sigmas", "80,0.982"]  # t = 1.1
FLOW = ["flowmap", "--steps", "2"]
OBJECTIVES = {
    "sct": ("digits-sct-30min", "--init", 1, TRIG, []),
    "scd": ("digits-scd-30min", "--teacher", 1, TRIG, []),
    "dscd": ("digits-dscd-30min", "--teacher", 1, TRIG, []),
    "ect": ("digits-ect-30min", "--init", 1, TWO, []),
    "tcm": ("digits-tcm-30min", "--init", 0.5, ["multistep", "--sigmas", "80,1"], []),
    "tcm2": ("digits-tcm2-30min", "--teacher tcm", 0.5, ["multistep", "--sigmas", "80,1"], []),
    "cmt": ("digits-cmt-30min", "--teacher", 0.5, TWO, []),
    "cmt-ect": ("digits-ect-30min", "--init cmt", 0.5, TWO, ["ect_stages=1", "ect_first_stage=7"]),
    "ccd": ("digits-ccd-30min", "--teacher", 1, TWO, []),
    "cct": ("digits-cct-30min", "--init", 1, TWO, []),
    "pd": ("digits-pd-30min", "--teacher", 1, ["progdist", "--steps", "2"], []),
    "cd": ("digits-cd-30min", "--teacher", 1, TWO, []),
    "ict": ("digits-ict-30min", "", 1, TWO, []),
    "ct": ("digits-ct-30min", "", 1, TWO, []),
    "meanflow": ("digits-meanflow-30min", "", 1, FLOW, []),
    "imeanflow": ("digits-imeanflow-30min", "", 1, FLOW, []),
    "soflow": ("digits-soflow-30min", "", 1, ["multistep", "--steps", "2"], []),
}
# Progressive distillation ends with a network of one step; the one of two steps is there after three quarters of its run, and
# its rate falls in every stage instead of at the end of the run.
ONE = {"pd": ["progdist", "--steps", "1"]}
TWO_AT = {"pd": 0.75}
SHARES = (0.1, 0.25, 0.5, 1)  # of a run, at which the curve has a point

p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
p.add_argument("build")
p.add_argument("data")
p.add_argument("reference")
p.add_argument("--out", required=True)
p.add_argument("--teacher", default="tests/data/models/digits_teacher.safetensors")
p.add_argument("--features", default="lenet")
p.add_argument("--minutes", type=float, default=27.5)
p.add_argument("--seeds", type=int, default=3)
p.add_argument("--jobs", type=int, default=2)
p.add_argument("--samples", type=int, default=10000)
p.add_argument("--cost-steps", type=int, default=30)
p.add_argument("--only", default="", help="with commas; those that they begin with have to be among them")
o = p.parse_args()
names = [n for n in o.only.split(",") if n] or list(OBJECTIVES)
for name in names:
    if name not in OBJECTIVES:
        sys.exit("objective_table: no objective %s; there are %s" % (name, ", ".join(OBJECTIVES)))
os.makedirs(o.out, exist_ok=True)
os.environ["OMP_NUM_THREADS"] = "1"  # of cm-eval, which has no option for it
costs_path = os.path.join(o.out, "costs.json")


def spent(command):
    """Runs it; processor seconds, and its output."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit("%s\n%s%s" % (" ".join(command), done.stdout, done.stderr))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout


def read(path):
    """The JSON of a file; None: there is none."""
    if not os.path.exists(path):
        return None
    with open(path) as f:
        return json.load(f)


def directory(name, seed):
    return os.path.join(o.out, "%s-s%d" % (name, seed))


def command(name, seed, steps, out, before=None):
    """before: the model of the objective that it begins with."""
    preset, begins, _, _, more = OBJECTIVES[name]
    words = [o.build + "/bin/cm-train", "--data", o.data, "--preset", preset, "--seed", str(seed), "--threads", "1", "--steps", str(steps),
             "--sample-every", "0", "--no-estimate", "--keep", "0", "-q", "--out", out,
             "--checkpoint-every", str(max(1, steps // 20))]
    if begins:
        words += [begins.split()[0], before or (directory(begins.split()[1], seed) + "/model.safetensors" if " " in begins else o.teacher)]
    return words + [w for m in more for w in ("--set", m)]


def measure():
    """Processor seconds of a step and the peak memory of each objective, one after the other."""
    costs = read(costs_path) or {}
    for name in names:
        out, times = os.path.join(o.out, "cost-" + name), []
        if name in costs:
            continue
        begins = OBJECTIVES[name][1].split()[1:]  # of a run that long
        before = os.path.join(o.out, "cost-%s/model.safetensors" % begins[0]) if begins else None
        for steps in (2, 2 + o.cost_steps):
            subprocess.run(["rm", "-rf", out])
            times.append(spent(command(name, 0, steps, out, before))[0])
        with open(out + "/log.jsonl") as log:
            peak = max(json.loads(line)["peak_rss"] for line in log)
        costs[name] = {"seconds": (times[1] - times[0]) / o.cost_steps, "peak_bytes": peak}
        with open(costs_path, "w") as f:
            json.dump(costs, f, indent=1)
    return costs


def evaluate(model, sampler, samples):
    net = "lenet" if o.features.endswith(".safetensors") else o.features
    words = [o.build + "/bin/cm-eval", "--metric", "fd-%s,right-%s" % (net, net), "--json", "-q", "--samples", str(samples)]
    words += ["--features", o.features] if net != o.features else []
    found = json.loads(spent(words + ["--method"] + sampler + [model, o.reference])[1])
    return {"distance": found["fd-" + net], "right": found["right-" + net] / samples}


def checkpoint(out, share, steps):
    """The average's file of the first checkpoint at or after that share of the run."""
    there = sorted(d for d in os.listdir(out + "/checkpoints") if d.startswith("step-"))
    found = next((d for d in there if int(d[5:]) >= share * steps), there[-1])
    files = sorted(f for f in os.listdir(os.path.join(out, "checkpoints", found)) if f.startswith("ema-"))
    return int(found[5:]), os.path.join(out, "checkpoints", found, files[0])


def run(name, seed, costs):
    """One objective and seed, with its evaluations."""
    out = directory(name, seed)
    if os.path.exists(out + ".json"):
        return read(out + ".json")
    steps = max(40, int(60 * o.minutes * OBJECTIVES[name][2] / costs[name]["seconds"]) // 40 * 40)  # shares of it are whole
    resumed = ["--resume"] if os.path.exists(out + "/config.json") else []
    spent(command(name, seed, steps, out) + resumed)
    last, one = out + "/model.safetensors", ONE.get(name, ["onestep"])
    two = checkpoint(out, TWO_AT[name], steps)[1] if name in TWO_AT else last
    result = {"steps": steps, "one": evaluate(last, one, o.samples), "two": evaluate(two, OBJECTIVES[name][3], o.samples), "curve": []}
    models = [checkpoint(out, share, steps) for share in SHARES[:-1]] + [(steps, last)]
    for step, model in models if seed == 0 else ():
        result["curve"].append([step / steps, evaluate(model, one, min(o.samples, 2000))["distance"]])
    with open(out + ".json.part", "w") as f:
        json.dump(result, f, indent=1)
    os.rename(out + ".json.part", out + ".json")
    print("%s, seed %d: %.1f and %.1f" % (name, seed, result["one"]["distance"], result["two"]["distance"]), flush=True)
    return result


def chain(name, seed, costs):
    """What begins with another one comes after it, in one job."""
    done = {name: run(name, seed, costs)}
    for other in names:
        if OBJECTIVES[other][1].split()[1:] == [name]:
            done[other] = run(other, seed, costs)
    return done


def spread(values):
    return "%.1f" % values[0] if len(values) == 1 else "%.1f (%.1f to %.1f)" % (statistics.mean(values), min(values), max(values))


def table(costs, results):
    lines = ["| objective | begins with | steps | seconds a step | peak MB | one step: distance, as asked | two steps: distance, as asked |",
             "|---|---|---|---|---|---|---|"]
    for name in sorted(results, key=lambda n: statistics.mean(r["one"]["distance"] for r in results[n])):
        begins, of_all = OBJECTIVES[name][1], results[name]
        cells = ["`%s`" % name, "nothing" if not begins else "`%s`" % begins.split()[1] if " " in begins else "the teacher", str(of_all[0]["steps"]),
                 "%.3f" % costs[name]["seconds"], "%.0f" % (costs[name]["peak_bytes"] / 1e6)]
        cells += ["%s, %.1f %%" % (spread([r[k]["distance"] for r in of_all]), 100 * statistics.mean(r[k]["right"] for r in of_all))
                  for k in ("one", "two")]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def figure(results):
    """One-step distance over the share of the budget, both logarithmic."""
    import math
    curves = {n: r[0]["curve"] for n, r in results.items() if r[0]["curve"]}
    top = max(d for c in curves.values() for _, d in c)
    low = min(d for c in curves.values() for _, d in c)
    x = lambda share: 60 + 560 * (1 + math.log10(max(share, 0.1)))
    y = lambda d: 380 - 340 * math.log(d / low) / math.log(top / low) if top > low else 200
    parts = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 430" font-family="sans-serif" font-size="12">',
             '<rect width="760" height="430" fill="white"/>']
    for d in (v for e in range(5) for v in (10 ** e, 2 * 10 ** e, 5 * 10 ** e) if low <= v <= top):
        parts.append('<path d="M60 %.1f H620" stroke="#ddd"/><text x="52" y="%.1f" text-anchor="end">%d</text>' % (y(d), y(d) + 4, d))
    for share in SHARES:
        parts.append('<text x="%.1f" y="402" text-anchor="middle">%d %%</text>' % (x(share), 100 * share))
    at = 398.0  # names stand from the lowest curve up, none upon another
    for i, (name, curve) in enumerate(sorted(curves.items(), key=lambda item: item[1][-1][1])):
        colour = "hsl(%d, 70%%, %d%%)" % (i * 360 // len(curves), 35 + 15 * (i % 2))
        points = " ".join("%.1f,%.1f" % (x(s), y(d)) for s, d in curve)
        at = min(at - 14, y(curve[-1][1]) + 4)
        parts.append('<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/><text x="626" y="%.1f" fill="%s">%s %.1f</text>'
                     % (points, colour, at, colour, name, curve[-1][1]))
    parts.append('<text x="340" y="422" text-anchor="middle">share of the budget; one-step distance, seed 0</text></svg>')
    return "\n".join(parts) + "\n"


costs = measure()
first = [n for n in names if " " not in OBJECTIVES[n][1]]
results = {}
with concurrent.futures.ThreadPoolExecutor(o.jobs) as pool:
    for done in pool.map(lambda job: chain(*job, costs), [(n, s) for s in range(o.seeds) for n in first]):
        for name, result in done.items():
            results.setdefault(name, []).append(result)
text = table(costs, results)
with open(os.path.join(o.out, "table.md"), "w") as f:
    f.write(text)
with open(os.path.join(o.out, "curves.svg"), "w") as f:
    f.write(figure(results))
print(text, end="")

"""python3 -m consistency.report RUN: curves and samples of a cm-train run as one self-contained page, RUN/report.html."""

import base64
import html
import json
import math
import os
import re
import shutil
import statistics
import sys
from typing import Callable, Any, Dict, Iterable, List, Optional, Sequence, Tuple

WIDTH, HEIGHT, LEFT, BOTTOM = 860, 240, 70, 26
Row = Dict[str, Any]

# --- what stands in a run ------------------------------------------------------------------------


def printable(path: str) -> str:
    """A file's name as text, whatever its bytes are."""
    return os.fsencode(path).decode("utf-8", "replace")


def number(row: Row, key: str) -> float:
    """A value of the log; NaN for null, which stands for what is not finite, and for what is no number."""
    v = row.get(key)
    if isinstance(v, bool) or not isinstance(v, (int, float)):
        return math.nan
    try:
        return float(v)
    except OverflowError:
        return math.inf


def is_row(row: Any) -> bool:
    step = row.get("step") if isinstance(row, dict) else None
    return isinstance(step, int) and not isinstance(step, bool) and 0 <= step < 2**63


def read_log(run: str) -> List[Row]:
    """The lines of the log; ends the program with a sentence where there is none."""
    rows = []
    try:
        with open(os.path.join(run, "log.jsonl"), encoding="utf-8", errors="replace") as f:
            for line_number, line in enumerate(f, 1):
                try:
                    row = json.loads(line)
                except (ValueError, RecursionError):
                    row = None
                if is_row(row):
                    rows.append(row)
                else:
                    print("log.jsonl, line %d, is damaged and left out" % line_number, file=sys.stderr)
    except OSError as error:
        raise SystemExit("'%s' is no run directory of cm-train: log.jsonl: %s" % (printable(run), error.strerror)) from None
    if not rows:
        raise SystemExit("'%s' has no step in its log.jsonl yet" % printable(run))
    return rows


def read_config(run: str) -> str:
    try:
        with open(os.path.join(run, "config.json"), encoding="utf-8", errors="replace") as f:
            return json.dumps(json.load(f), indent=1)
    except OSError as error:
        return "config.json cannot be read: %s" % error.strerror
    except (ValueError, RecursionError):
        return "config.json is damaged"


def read_samples(run: str) -> List[Tuple[int, bytes]]:
    """Step and PNG of each page of samples, newest first; other files in the folder are not looked at."""
    folder, pages = os.path.join(run, "samples"), []
    for name in os.listdir(folder) if os.path.isdir(folder) else []:
        match = re.fullmatch(r"step-(\d+)\.png", name)
        if not match:
            continue
        try:
            with open(os.path.join(folder, name), "rb") as f:
                data = f.read()
        except OSError:
            data = b""
        if data.startswith(b"\x89PNG"):
            pages.append((int(match.group(1)), data))
        else:
            print("samples/%s is no picture and left out" % printable(name), file=sys.stderr)
    return sorted(pages, reverse=True)


# --- curves --------------------------------------------------------------------------------------------


def smooth(values: Sequence[float], width: int) -> List[float]:
    """Means of the finite values of a moving window, as long as the values; NaN where there is none."""
    result, total, count = [], 0.0, 0
    for i, v in enumerate(values):
        old = values[i - width] if i >= width else math.nan
        if math.isfinite(v):
            total, count = total + v, count + 1
        if math.isfinite(old):
            total, count = total - old, count - 1
        if i % width == 0 or math.isfinite(old) and abs(old) > 1e3 * abs(total):  # before rounding adds up
            total = math.fsum(w for w in values[max(0, i - width + 1):i + 1] if math.isfinite(w))
        result.append(total / count if count else math.nan)
    return result


def linear_ticks(low: float, high: float, whole: bool = False) -> List[float]:
    """Round numbers, at most six."""
    step = 10.0 ** math.floor(math.log10((high - low) / 3))
    for m in (1, 2, 5, 10):
        if (high - low) / (m * step) <= 5:
            step *= m
            break
    step = max(step, 1.0) if whole else step
    return [k * step for k in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def log_ticks(low: float, high: float) -> List[float]:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    for digits in ((1, 2, 5), (1, 3), (1,)):
        found = [m * 10.0 ** e for e in range(first, last + 1) for m in digits if low <= m * 10.0 ** e <= high]
        if len(found) <= 7:
            break
    found = found[::len(found) // 8 + 1]
    return found if len(found) > 1 else linear_ticks(low, high)


def label(value: float) -> str:
    """0.001, not 1.00e-03; the sums of a step's multiples are rounded."""
    text = "%.6g" % value
    return "%.10g" % float(text) if abs(value) < 1e6 else text


def curve(title: str, steps: Sequence[int], series: Sequence[Sequence[float]], log: bool = False) -> str:
    """An SVG of one or two lines over the steps; the last is drawn strongest."""
    pairs = [[(s, v) for s, v in zip(steps, values) if math.isfinite(v) and (v > 0 or not log)] for values in series]
    numbers = [v for p in pairs for _, v in p]
    if not numbers:
        return ""
    low, high = min(numbers), max(numbers)
    log = log and high < 1e300
    if high - low <= 1e-12 * abs(high):  # a constant says its value
        marks, (low, high) = [high], (high / 2, high * 2) if high > 0 else (high * 2 - 1, 1.0)
    else:
        marks = log_ticks(low, high) if log else linear_ticks(low, high)
    scale: Callable[[float], float] = float
    if log:
        scale = math.log10
    x0, x1 = min(steps), max(max(steps), min(steps) + 1)

    def at(s: float, v: float) -> Tuple[float, float]:
        x = LEFT + (s - x0) / (x1 - x0) * (WIDTH - LEFT - 10)
        y = 10 + (scale(high) - scale(v)) / (scale(high) - scale(low)) * (HEIGHT - BOTTOM - 10)
        return x, y

    out = ['<h2>%s</h2><svg viewBox="0 0 %d %d" width="%d" height="%d">' % (html.escape(title), WIDTH, HEIGHT, WIDTH, HEIGHT)]
    for v in marks:
        y = at(x0, v)[1]
        out.append('<line x1="%d" x2="%d" y1="%.1f" y2="%.1f" class="grid"/><text x="%d" y="%.1f" text-anchor="end">%s</text>'
                   % (LEFT, WIDTH - 10, y, y, LEFT - 6, y + 4, label(v)))
    for t in linear_ticks(x0, x1, True):
        out.append('<text x="%.1f" y="%d" text-anchor="middle">%d</text>' % (at(t, high)[0], HEIGHT - 6, t))
    for i, p in enumerate(pairs):
        thin = len(p) // 2000 + 1
        points = " ".join("%.1f,%.1f" % at(s, v) for s, v in p[::thin])
        out.append('<polyline class="%s" points="%s"/>' % ("main" if i == len(pairs) - 1 else "pale", points))
    return "".join(out) + "</svg>"


# --- the page ---------------------------------------------------------------------------------------------


def diverged(rows: Sequence[Row]) -> Optional[int]:
    """The first step whose loss or gradient is not finite."""
    for row in rows:
        if not (math.isfinite(number(row, "loss")) and math.isfinite(number(row, "grad_norm"))):
            return int(row["step"])
    return None


def facts(rows: Sequence[Row], loss: Sequence[float]) -> str:
    last, rates = rows[-1], [v for v in (number(r, "img_per_s") for r in rows) if math.isfinite(v)]
    text = "step %d, %.0f images (%.3g epochs), loss %.5g, %.4g images/s (median), peak memory %.0f MiB" % (
        last["step"], number(last, "images"), number(last, "epoch"), loss[-1],
        statistics.median(rates) if rates else math.nan, number(last, "peak_rss") / 2**20)
    broken = diverged(rows)
    return text if broken is None else text + ". At step %d the loss or the gradient was not finite." % broken


def hours(rows: Sequence[Row]) -> float:
    """How long the run has been at work.  Where it stood still there is a gap between two lines that is ten times as long
    as the usual one and more than a minute; it does not count, nor do the steps before the first line."""
    clocks = [v for v in (number(row, "wall") for row in rows) if math.isfinite(v)]
    gaps = [max(0.0, b - a) for a, b in zip(clocks, clocks[1:])]
    most = max(60.0, 10 * statistics.median(gaps)) if gaps else 0.0
    return math.fsum(gap for gap in gaps if gap <= most) / 3600


def model_of(run: str) -> str:
    """Which file to sample from, as cm-sample RUN finds it."""
    for name in ("model.safetensors", "best.safetensors"):
        if os.path.isfile(os.path.join(run, name)):
            return "the model is %s" % name
    return "there is no model.safetensors yet, and the newest checkpoint is taken"


def duration(hours: float) -> str:
    return "%.1f hours" % hours if hours >= 1 else "%.0f minutes" % (60 * hours)


def introduction(run: str, rows: Sequence[Row]) -> str:
    return "The run has been at work for %s. Sample from it with <code>cm-sample %s</code>: %s." % (
        duration(hours(rows)), html.escape(printable(run)), model_of(run))


def is_evaluation(row: Row) -> bool:
    return "metric_s" in row


def metric_curves(rows: Sequence[Row]) -> List[str]:
    """A curve of each metric that was evaluated, with the least value."""
    parts = []
    names = [key for row in rows for key in row if key == "fid" or key.startswith("fd-")]
    for name in sorted(set(names)):
        found = [(int(row["step"]), number(row, name)) for row in rows if name in row]
        finite = [(value, step) for step, value in found if math.isfinite(value)]
        title = name if not finite else "%s, least %.4g at step %d" % (name, *min(finite))
        parts.append(curve(title, [step for step, _ in found], [[value for _, value in found]], True))
    return parts


def page(run: str) -> str:
    every = read_log(run)
    rows = [row for row in every if not is_evaluation(row)]
    if not rows:
        raise SystemExit("'%s' has no step in its log.jsonl yet" % printable(run))
    steps = [int(r["step"]) for r in rows]
    width = max(1, len(rows) // 50)

    def column(key: str) -> List[float]:
        return [number(r, key) for r in rows]

    loss, norm = column("loss"), column("grad_norm")
    parts = [curve("loss (pale: each step, dark: mean over %d)" % width, steps, [loss, smooth(loss, width)], True),
             curve("gradient norm", steps, [norm, smooth(norm, width)], True),
             curve("learning rate", steps, [column("lr")])]
    for key, title in (("scales", "N(k)"), ("mu", "target's rate mu(k)"), ("stage", "ECT stage")):
        if any(v > 0 for v in column(key)):
            parts.append(curve(title, steps, [column(key)]))
    parts += metric_curves([row for row in every if is_evaluation(row)])
    parts.append(curve("images a second, of each step", steps, [column("img_per_s")]))
    images = "".join('<figure><img src="data:image/png;base64,%s"><figcaption>step %d</figcaption></figure>'
                     % (base64.b64encode(data).decode(), step) for step, data in read_samples(run))
    return """<!doctype html><html lang="en"><meta charset="utf-8"><title>%s</title><style>
body{font:15px sans-serif;margin:2em auto;max-width:900px;color:#222}h2{font-size:1em;margin:1.5em 0 .3em}
svg text{font-size:11px;fill:#555}.grid{stroke:#ddd}polyline{fill:none;stroke-width:1.5}.main{stroke:#1f4e9c}.pale{stroke:#b9cbe8}
figure{display:inline-block;margin:0 1em 1em 0}figcaption{font-size:12px;color:#555}img{image-rendering:pixelated;max-width:100%%}
pre{background:#f5f5f5;padding:1em;overflow:auto;font-size:12px}</style>
<h1>%s</h1><p>%s</p><p>%s</p>%s<h2>samples, same seeds, newest first</h2>%s<h2>configuration</h2><pre>%s</pre></html>
""" % (html.escape(printable(run)), html.escape(printable(os.path.basename(os.path.abspath(run)))),
       introduction(run, rows), facts(rows, smooth(loss, width)), "".join(parts), images, html.escape(read_config(run)))


def write_whole(path: str, parts: Iterable[bytes]) -> None:
    """Writes parts to path, whole or not at all, and prints the name: a link stays and what it leads to is written,
    permissions of a file that is replaced are kept, what is no regular file is refused.  Ends the program with a sentence
    where it fails."""
    target = os.path.realpath(path)
    if os.path.lexists(target) and not os.path.isfile(target):
        raise SystemExit("cannot write '%s': it is not a regular file; it was left as it is" % printable(target))
    temporary = "%s.tmp-%d" % (target, os.getpid())
    try:
        with open(temporary, "xb") as f:
            f.writelines(parts)
        if os.path.exists(target):
            shutil.copymode(target, temporary)
        os.replace(temporary, target)
    except OSError as error:
        raise SystemExit("cannot write '%s': %s" % (printable(target), error.strerror)) from None
    finally:
        if os.path.exists(temporary):
            os.unlink(temporary)
    print(printable(path))


def run_of_command(doc: Optional[str]) -> str:
    if len(sys.argv) == 2 and sys.argv[1] in ("-h", "--help"):
        print(doc)
        raise SystemExit(0)
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        raise SystemExit(doc)
    return sys.argv[1]


def stages_of(run: str) -> List[str]:
    """The runs that a plan (cm-train --preset auto) is made of; of a run none."""
    if not os.path.isfile(os.path.join(run, "plan.json")):
        return []
    below = os.path.join(run, "stages")
    names = sorted(os.listdir(below)) if os.path.isdir(below) else []
    return [os.path.join(below, name) for name in names if os.path.isfile(os.path.join(below, name, "log.jsonl"))]


def main() -> None:
    run = run_of_command(__doc__)
    if os.path.isfile(os.path.join(run, "plan.json")):
        raise SystemExit("'%s' is a plan of several runs, which has a report.html of its own; of its stages there can be others: %s" %
                         (printable(run), ", ".join(map(printable, stages_of(run))) or "none has a log yet"))
    write_whole(os.path.join(run, "report.html"), [page(run).encode("utf-8", "replace")])


if __name__ == "__main__":
    main()

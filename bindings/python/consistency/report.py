"""python3 -m consistency.report RUN: curves and samples of a cm-train run as one self-contained page, RUN/report.html."""

import base64
import glob
import html
import json
import math
import os
import re
import shutil
import sys

WIDTH, HEIGHT, LEFT, BOTTOM = 860, 240, 70, 26


def read_log(run):
    rows = []
    with open(os.path.join(run, "log.jsonl")) as f:
        for number, line in enumerate(f, 1):
            try:
                rows.append(json.loads(line))
            except ValueError:
                print("log.jsonl, line %d, is damaged and left out" % number, file=sys.stderr)
    return rows


def smooth(values, width):
    """Means over a moving window, as long as the values."""
    result, total = [], 0.0
    for i, v in enumerate(values):
        total += v
        if i >= width:
            total -= values[i - width]
        result.append(total / min(i + 1, width))
    return result


def ticks(low, high, log):
    if log:
        first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
        return [m * 10.0 ** e for e in range(first, last + 1) for m in (1, 2, 5) if low <= m * 10.0 ** e <= high]
    step = 10 ** math.floor(math.log10((high - low) / 3))
    for m in (1, 2, 5, 10):
        if (high - low) / (m * step) <= 5:
            step *= m
            break
    return [k * step for k in range(math.ceil(low / step), math.floor(high / step) + 1)]


def curve(title, steps, series, log=False):
    """An SVG of one or two lines over the steps; the last is drawn strongest."""
    pairs = [[(s, v) for s, v in zip(steps, values) if math.isfinite(v) and (v > 0 or not log)] for values in series]
    numbers = [v for p in pairs for _, v in p]
    if not numbers:
        return ""
    low, high = min(numbers), max(numbers)
    if low == high:
        low, high = (low / 2, high * 2) if log else (low - 1, high + 1)
    scale = math.log10 if log else (lambda v: v)
    x0, x1 = steps[0], max(steps[-1], steps[0] + 1)

    def at(s, v):
        x = LEFT + (s - x0) / (x1 - x0) * (WIDTH - LEFT - 10)
        y = 10 + (scale(high) - scale(v)) / (scale(high) - scale(low)) * (HEIGHT - BOTTOM - 10)
        return x, y

    out = ['<h2>%s</h2><svg viewBox="0 0 %d %d" width="%d" height="%d">' % (html.escape(title), WIDTH, HEIGHT, WIDTH, HEIGHT)]
    for v in ticks(low, high, log):
        y = at(x0, v)[1]
        out.append('<line x1="%d" x2="%d" y1="%.1f" y2="%.1f" class="grid"/><text x="%d" y="%.1f" text-anchor="end">%.4g</text>'
                   % (LEFT, WIDTH - 10, y, y, LEFT - 6, y + 4, v))
    for s in ticks(x0, x1, False):
        out.append('<text x="%.1f" y="%d" text-anchor="middle">%d</text>' % (at(s, high)[0], HEIGHT - 6, s))
    for i, p in enumerate(pairs):
        thin = len(p) // 2000 + 1
        points = " ".join("%.1f,%.1f" % at(s, v) for s, v in p[::thin])
        out.append('<polyline class="%s" points="%s"/>' % ("main" if i == len(pairs) - 1 else "pale", points))
    return "".join(out) + "</svg>"


def picture(path):
    with open(path, "rb") as f:
        data = base64.b64encode(f.read()).decode()
    step = int(re.search(r"(\d+)", os.path.basename(path)).group(1))
    return '<figure><img src="data:image/png;base64,%s"><figcaption>step %d</figcaption></figure>' % (data, step)


def page(run):
    rows = read_log(run)
    if not rows:
        raise SystemExit("%s/log.jsonl is empty" % run)
    config = json.load(open(os.path.join(run, "config.json")))
    steps = [r["step"] for r in rows]
    width = max(1, len(rows) // 50)
    loss, norm = [r["loss"] for r in rows], [r["grad_norm"] for r in rows]
    last = rows[-1]
    parts = [curve("loss (pale: each step, dark: mean over %d)" % width, steps, [loss, smooth(loss, width)], True),
             curve("gradient norm", steps, [norm, smooth(norm, width)], True),
             curve("learning rate", steps, [[r["lr"] for r in rows]])]
    for key, title in (("scales", "N(k)"), ("mu", "target's rate mu(k)"), ("stage", "ECT stage")):
        if any(r.get(key) for r in rows):
            parts.append(curve(title, steps, [[r[key] for r in rows]]))
    parts.append(curve("images a second", steps, [[r["img_per_s"] for r in rows]]))
    images = "".join(picture(p) for p in reversed(sorted(glob.glob(os.path.join(run, "samples", "*.png")))))
    facts = "step %d, %d images (%.3g epochs), loss %.5g, %.4g images/s, peak memory %.0f MiB" % (
        last["step"], last["images"], last["epoch"], smooth(loss, width)[-1], last["img_per_s"], last["peak_rss"] / 2**20)
    return """<!doctype html><html lang="en"><meta charset="utf-8"><title>%s</title><style>
body{font:15px sans-serif;margin:2em auto;max-width:900px;color:#222}h2{font-size:1em;margin:1.5em 0 .3em}
svg text{font-size:11px;fill:#555}.grid{stroke:#ddd}polyline{fill:none;stroke-width:1.5}.main{stroke:#1f4e9c}.pale{stroke:#b9cbe8}
figure{display:inline-block;margin:0 1em 1em 0}figcaption{font-size:12px;color:#555}img{image-rendering:pixelated;max-width:100%%}
pre{background:#f5f5f5;padding:1em;overflow:auto;font-size:12px}</style>
<h1>%s</h1><p>%s</p>%s<h2>samples, same seeds, newest first</h2>%s<h2>configuration</h2><pre>%s</pre></html>
""" % (html.escape(run), html.escape(os.path.basename(os.path.abspath(run))), facts, "".join(parts), images,
       html.escape(json.dumps(config, indent=1)))


def write_whole(path, parts):
    """Writes parts (bytes) to path, whole or not at all: a link stays and what it leads to is written, permissions of a
    file that is replaced are kept, what is no regular file is refused."""
    path = os.path.realpath(path)
    if os.path.lexists(path) and not os.path.isfile(path):
        raise SystemExit("cannot write '%s': it is not a regular file; it was left as it is" % path)
    temporary = "%s.tmp-%d" % (path, os.getpid())
    try:
        with open(temporary, "xb") as f:
            f.writelines(parts)
        if os.path.exists(path):
            shutil.copymode(path, temporary)
        os.replace(temporary, path)
    finally:
        if os.path.exists(temporary):
            os.unlink(temporary)


def main():
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        raise SystemExit(__doc__)
    path = os.path.join(sys.argv[1], "report.html")
    text = page(sys.argv[1])
    write_whole(path, [text.encode("utf-8")])
    print(path)


if __name__ == "__main__":
    main()

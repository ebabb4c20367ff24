#!/usr/bin/env python3
"""cm-train --preset auto: auto_plan.py BUILD [--kills N] [--budget SECONDS]

  plan       --print-plan says what would be done and writes nothing; options without effect are refused
  kills      a plan of fixed steps, killed -9 N times at random moments and resumed, leaves the models of one that was never
             stopped, byte for byte
  budget     a plan that the clock decides ends within its budget and 5 %, killed once on the way
  signals    Ctrl-C ends with 130, SIGTERM with 75, and both can be resumed
"""
import argparse, glob, hashlib, json, os, random, re, shutil, signal, subprocess, sys, tempfile, time

import plain_png

p = argparse.ArgumentParser()
p.add_argument("build")
p.add_argument("--kills", type=int, default=3)
p.add_argument("--budget", type=float, default=0, help="0: that part is left out")
o = p.parse_args()
top = tempfile.mkdtemp(prefix="cm-auto-")
train, sample = o.build + "/bin/cm-train", o.build + "/bin/cm-sample"
env = dict(os.environ, OMP_NUM_THREADS="1", OMP_WAIT_POLICY="passive")
random.seed(29)
failures = []


def fail(text):
    failures.append(text)
    print("FAIL", text, flush=True)


def png(path, size, colour):
    """A disk of a colour on black."""
    x, y, r = random.uniform(5, size - 5), random.uniform(5, size - 5), random.uniform(2, 5)
    lines = [b"".join(bytes(colour) if (i - y) ** 2 + (j - x) ** 2 < r * r else b"\0\0\0" for j in range(size)) for i in range(size)]
    with open(path, "wb") as f:
        f.write(plain_png.encode(lines, 3))


data = top + "/pictures"
for name, colour in (("red", (250, 60, 40)), ("blue", (40, 60, 250))):
    os.makedirs(data + "/" + name)
    for i in range(130):
        png("%s/%s/%d.png" % (data, name, i), 16, colour)


def run(*more, code=0, word=""):
    r = subprocess.run([train, *more], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, stdin=subprocess.DEVNULL)
    if r.returncode != code or word not in r.stdout or "continuing with other" in r.stdout:
        fail("exit %d, expected %d and '%s': cm-train %s\n%s" % (r.returncode, code, word, " ".join(more), r.stdout))
    return r.stdout


def digests(out):
    files = glob.glob(out + "/stages/*/model.safetensors") + [out + "/model.safetensors"]
    return {os.path.relpath(f, out): hashlib.sha256(open(f, "rb").read()).hexdigest() for f in files}


def events(out):
    """The lines of the log, each of them whole."""
    return list(map(json.loads, open(out + "/log.jsonl")))


auto = ["--preset", "auto", "--data", data, "--threads", "1"]
small = ["--batch", "16", "--set", "precision=f32"]
fixed = [*auto, *small, "--budget", "60s", "--guidance", "2", "--checkpoint-seconds", "0", "--checkpoint-every", "2", "--sample-every", "0",
         "--shares", "45,15,40", "--set", "teacher.steps=14", "--set", "mid.steps=4", "--set", "tune.steps=8", "--set", "tune.lr=0.0003"]

# --- the plan ---------------------------------------------------------------------------------------------------------------

text = run(*auto, *small, "--budget", "30s", "--shares", "45,15,40", "--print-plan", word="260 pictures (folder), in colour, 2 classes from folder names")
for word in ("teacher    edm", "mid        cmt", "tune       sct", "augment=0.12", "held out", "16 x 16", "batch      16 (as it was given)"):
    if word not in text:
        fail("no '%s' in the plan:\n%s" % (word, text))
run(*auto, *small, "--budget", "30s", "--objective", "ect", "--print-plan", word="tune       ect ")
run(*auto, "--budget", "30s", "--objective", "cd", code=2, word="with --preset auto it is sct, ect or scd")
text = run(*auto, *small, "--budget", "30s", "--guidance", "3", "--print-plan", word="tune       scd ")
for word in (" label_dropout=0.1", " guidance=3 "):
    if word not in text:
        fail("no '%s' in the plan:\n%s" % (word, text))
run(*auto, *small, "--budget", "30s", "--guidance", "1", "--print-plan", word="tune       sct ")
run(*auto, *small, "--budget", "30s", "--labels", "none", "--guidance", "2", "--print-plan", code=2, word="--guidance has no effect: the set has no classes")
run(*auto, *small, "--budget", "30s", "--objective", "ect", "--guidance", "2", "--print-plan", code=2, word="--guidance has no effect: the tuning learns it by the objective scd alone")
run(*auto, *small, "--budget", "30s", "--objective", "scd", "--shares", "0,0,1", "--print-plan", code=2, word="its first stage needs a teacher")
run(*auto, *small, "--budget", "30s", "--guidance", "0.5", "--print-plan", code=2, word="'0.5' is not a number in 1..1000")
run(*auto, *small, "--budget", "30s", "--network", "large", "--print-plan", word="'large'")
run(*auto, *small, "--budget", "30s", "--network", "huge", "--print-plan", code=2, word="'huge' is none of tiny, small, middle, large, largest")
run("--preset", "auto", "--data", os.path.join(os.path.dirname(os.path.abspath(__file__)), "data/pictures"), "--budget", "30s", "--batch", "8", "--print-plan", word="size       16 x 16")
text = run(*auto, *small, "--budget", "30s", "--held-out", "30", "--gray", "--print-plan", word="260 pictures (folder), gray, 2 classes")
held = int((re.search(r"held out +([0-9]+) pictures", text) or [0, "0"])[1])
if not 55 < held < 101:  # of 78, six deviations either way
    fail("%d of 260 pictures are held out where three tenths were asked for" % held)
run(*auto, *small, "--budget", "30s", "--held-out", "0", "--print-plan", word="held out   none, as it was given")
run(*auto, "--budget", "30s", "--held-out", "51", "--print-plan", code=2, word="not a number in 0..50")
run(*auto, "--budget", "30s", "--gray", "--network", '{"network": {"type": "songunet", "img_resolution": 16, "in_channels": 1, "out_channels": 1, "model_channels": 8, '
    '"channel_mult": [1]}, "precond": {"type": "edm", "sigma_data": 0.5}, "image": {"channels": 1, "height": 16, "width": 16}}',
    "--print-plan", code=2, word="--gray has no effect beside a network's text")
run(*auto, *small, "--budget", "30s", "--set", "tune.guidance=2", "--print-plan", code=2, word="--set guidance: give --guidance 2")
run(*auto, *small, "--budget", "30s", "--guidance", "2", "--set", "label_dropout=0", "--print-plan", code=2, word="a teacher that guides has to learn without labels too")
run("--data", data, "--guidance", "2", "--out", top + "/x", code=2, word="--guidance has no effect without --preset auto")
run("--data", data, "--gray", "--out", top + "/x", code=2, word="--gray has no effect without --preset auto")
run(*auto, "--print-plan", code=2, word="--preset auto needs --data and --budget")
run(*auto, "--budget", "3", code=2, word="is no time between 5s and 30d")
run(*auto, "--budget", "30s", "--steps", "5", code=2, word="--set teacher.steps=N is for one stage")
run(*auto, "--budget", "30s", "--shares", "0,1,1", code=2, word="mid-training needs a teacher")
run(*auto, "--budget", "30s", "--out", top + "/x", "--set", "mu=0.5", code=2, word="no stage of the plan reads it")
run(*auto, "--budget", "30s", "--out", top + "/x", "--set", "teacher.ect_q=4", code=2, word="no such stage of the plan reads it")
run(*auto, "--budget", "30s", "--out", top + "/x", "--set", "mid.lr=1", code=2, word="that stage is left out")
run(*auto, "--budget", "30s", "--out", top + "/x", "--set", "tutor.lr=1", code=2, word="the stages are teacher, mid and tune")
run(*auto, "--budget", "30s", "--out", data + "/red/x", code=1, word="inside the folder of its pictures")
run("--data", data, "--budget", "30s", "--out", top + "/x", code=2, word="--budget has no effect without --preset auto")
if os.path.exists(top + "/x"):
    fail("a plan that was refused has made its directory")

# --- kills -------------------------------------------------------------------------------------------------------------------

began = time.time()
run(*fixed, "--out", top + "/whole", word="the model is")
took = time.time() - began
whole = digests(top + "/whole")
if len(whole) != 4 or whole["model.safetensors"] != whole["stages/3-tune/model.safetensors"]:
    fail("the models of a plan: %s" % whole)
pages = sorted(map(os.path.basename, glob.glob(top + "/whole/samples/*.png")))
if pages != ["1-teacher.png", "2-mid.png", "3-tune-two-steps.png", "3-tune.png", "nearest.png"]:
    fail("pages: %s" % pages)
report = open(top + "/whole/report.html").read()
if report.count("data:image/png") != 5 or "The plan is finished" not in report or "held out</span>" not in report:
    fail("the report lacks something")
looks = [e for e in events(top + "/whole") if e["event"] == "look"]
if len(looks) < 15 or not all(0 < e["held_out"] < 100 and 0 < e["training"] < 100 for e in looks):
    fail("looks at what is held out: %s" % looks)
choices = [e for e in events(top + "/whole") if e["event"] == "averages"]
if [e["by"] for e in choices] != ["held-out loss", "distance to the teacher", "distance to the teacher"]:
    fail("choices among averages: %s" % choices)
for e, stage in zip(choices, ("1-teacher", "2-mid", "3-tune")):
    folder = top + "/whole/stages/" + stage
    newest = "%s/checkpoints/%s/%s" % (folder, open(folder + "/checkpoints/LATEST").read().strip(), e["best"])
    if len(e["scores"]) != 3 or e["scores"][e["best"]] > min(e["scores"].values()) or e["best"] not in report:
        fail("the choice of %s" % e)
    if open(newest, "rb").read() != open(folder + "/model.safetensors", "rb").read():
        fail("%s is not the average that was chosen" % folder)
# A network that always takes a label is not asked without one.
adm = {"network": {"type": "adm", "image_size": 16, "in_channels": 3, "out_channels": 3, "model_channels": 32, "num_res_blocks": 1, "channel_mult": [1], "num_head_channels": 16,
       "attention_resolutions": [], "num_classes": 2, "use_scale_shift_norm": True, "resblock_updown": True}, "precond": {"type": "edm"}}
run(*auto, *small, "--budget", "60s", "--sample-every", "0", "--network", json.dumps(adm), "--set", "teacher.steps=3", "--set", "tune.steps=3", "--out", top + "/adm", word="the model is")
# The first one is made of the weights of the beginning, which know nothing; it is not taken.
run(*auto, *small, "--budget", "60s", "--sample-every", "0", "--set", "teacher.steps=14", "--set", "tune.steps=2",
    "--set", "teacher.ema=halflife:1000000000,halflife:16", "--out", top + "/poor", word="the model is")
choices = [e for e in events(top + "/poor") if e["event"] == "averages"]
if choices[0]["best"] != "ema-halflife-16.safetensors" or len(choices[0]["scores"]) != 2:
    fail("a poor average was taken: %s" % choices)
# Steps that the clock decides are revised on the way, and half-lives follow them; but for a revision to the step at hand,
# with which the stage ends as it is.
run(*auto, *small, "--budget", "8s", "--set", "tune.ema=halflife:50%,halflife:7%:0.1", "--out", top + "/revised", word="the model is")
log = events(top + "/revised")
for stage, shares in (("teacher", (4, 1, 10)), ("tune", (50, 7))):
    lines = {e["event"]: e for e in log if e.get("stage") == stage}  # the last one of each kind
    last = lines["ended"]["steps"], lines.get("revised", {}).get("before", 0)
    named = [sorted("ema-halflife-%.10g.safetensors" % (share / 100 * (steps * 16)) for share in shares) for steps in last]
    if sorted(lines["averages"]["scores"]) not in named:
        fail("the averages of the %s, whose last steps are %s: %s" % (stage, last, lines["averages"]))
run(*auto, *small, "--budget", "60s", "--sample-every", "0", "--set", "teacher.steps=2", "--set", "tune.steps=2", "--class-names", "azure,scarlet",
    "--out", top + "/named", word="the model is")
run(*auto, "--budget", "30s", "--class-names", "x" * 4096, "--print-plan", code=2, word="--class-names has 4096 characters, of which a plan takes 4095")
plan = json.load(open(top + "/named/plan.json"))
for member, bad in (("held_share", -0.1), ("held_share", 0.6), ("held_share", "0.2"), ("class_names", ["azure", "scarlet"]), ("class_names", 5)):
    os.makedirs(top + "/damaged", exist_ok=True)
    with open(top + "/damaged/plan.json", "w") as f:
        json.dump({**plan, "data": {**plan["data"], member: bad}}, f)
    run("--resume", "--out", top + "/damaged", code=1, word="damaged/plan.json is damaged: " + member)
said = subprocess.run([o.build + "/bin/cm-info", top + "/named/model.safetensors"], env=env, capture_output=True, text=True).stdout
if "0 azure, 1 scarlet" not in said:
    fail("the names that were given are not in the model:\n%s" % said)
r = subprocess.run([sample, top + "/whole", "--labels", "blue", "-n", "2", "-o", top + "/blue.png"], env=env, capture_output=True, text=True)
if r.returncode or "model.safetensors is used" not in r.stderr + r.stdout:
    fail("cm-sample of a plan: %s%s" % (r.stdout, r.stderr))
run("--out", top + "/whole", "--resume", word="is finished")
text = run("--doctor", top + "/whole", code=3, word="the run has ended after 224 of the")  # 14 steps of 16
for word in ("stages/1-teacher\nedm, step 14 of 14", "stages/2-mid\ncmt, step 4 of 4", "stages/3-tune\nscd, step 8 of 8", "finished"):
    if word not in text:
        fail("no '%s' in what the doctor says:\n%s" % (word, text))
run("--out", top + "/whole", "--resume", "--batch", "8", code=2, word="plan.json says it")
run(*fixed, "--out", top + "/whole", code=1, word="is not empty")


def killed(out, command, after):
    """Whether it was killed before it ended."""
    process = subprocess.Popen([train, *command, "--out", out, "-q"], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        _, said = process.communicate(timeout=after)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return True
    if process.returncode:
        fail("a plan that is resumed ends with %d: %s" % (process.returncode, said))
    return False


done = 0
for trial in range(1 if o.kills <= 5 else o.kills // 5):
    out, left = "%s/killed%d" % (top, trial), 5 if o.kills > 5 else o.kills
    while left and killed(out, ["--resume"] if os.path.exists(out + "/plan.json") else fixed, random.uniform(0.05, 0.6) * took):
        done, left = done + 1, left - 1
    resumed = os.path.exists(out + "/plan.json")
    run(*(["--resume"] if resumed else fixed), "--out", out, word="the ")
    if digests(out) != whole:
        fail("after kills the models are others: %s, not %s" % (digests(out), whole))
    if [e for e in events(out) if e["event"] == "finished"] == [] or glob.glob(out + "/*.tmp-*"):
        fail("after kills something is missing or left")

# --- signals ------------------------------------------------------------------------------------------------------------------

out = top + "/stopped"
for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 75)):
    process = subprocess.Popen([train, *(["--resume"] if os.path.exists(out) else fixed), "--out", out], env=env,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))  # who ignores it passes that on
    said, deadline = "", time.time() + 60
    while not said.split("\n")[-2:][0].startswith("in all") and process.poll() is None:  # the plan: it listens to signals
        said += process.stdout.readline()
    while process.poll() is None and not glob.glob(out + "/stages/1-teacher/checkpoints/step-*") and time.time() < deadline:
        time.sleep(0.01)
    process.send_signal(number)
    said += process.communicate()[0]
    r = subprocess.run([sample, out, "--steps", "2", "-n", "1", "-o", top + "/early.png", "--force"], env=env, capture_output=True, text=True)
    if r.returncode or not re.search(r"stopped/(stages/1-teacher/.*|model).safetensors is used", r.stderr + r.stdout):
        fail("cm-sample of a plan that is not finished: %s%s" % (r.stdout, r.stderr))
    if process.returncode != code:
        fail("signal %d ends with %s: %s" % (number, process.returncode, said))
run("--resume", "--out", out, word="the model is")
if digests(out) != whole:
    fail("after signals the models are others")

# --- the budget ---------------------------------------------------------------------------------------------------------------

if o.budget:
    out, began = top + "/timed", time.time()
    if not killed(out, [*auto, "--budget", "%gs" % o.budget], 0.4 * o.budget):
        fail("a plan of %g s ends before two fifths of it" % o.budget)
    run("--resume", "--out", out, word="the model is")
    took = time.time() - began
    ended = [e for e in events(out) if e["event"] == "finished"][0]["spent_s"]
    print("a budget of %g s: %.1f s by the clock, %.1f s by the plan" % (o.budget, took, ended))
    if not 0.7 * o.budget < took < 1.05 * o.budget + 1:
        fail("a plan of %g s took %.1f s" % (o.budget, took))

shutil.rmtree(top)
print("auto_plan.py: %d kills, %d failures" % (done, len(failures)))
sys.exit(1 if failures else 0)

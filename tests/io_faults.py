#!/usr/bin/env python3
"""System calls fail within everything that the library does: io_faults.py BUILD [--sample N] [--seed S]

Each operation of tests/support/operations_*.c runs in a process of its own under tests/shim.c, which makes the n-th call of
one kind fail with one reason, for every n that there is (--sample: N such faults by chance, of six operations).  It ends with an IO
error that names a file and the reason, or well where the failure does no harm; no descriptor stays open; what it writes is whole or not there, and nothing lies
beside.  An interrupted call is made again, and reads and writes that take half are continued.  Besides, the disk is
full: by a limit on the size of files, and where a small file system can be mounted by that.
"""
import argparse, concurrent.futures, hashlib, os, random, re, resource, shutil, signal, subprocess, sys, tempfile, threading

p = argparse.ArgumentParser()
p.add_argument("build")
p.add_argument("--sample", type=int, default=0)
p.add_argument("--seed", type=int, default=1)
p.add_argument("--only", default="")
o = p.parse_args()
program, shim = o.build + "/tests/operation_program", os.path.abspath(o.build + "/tests/shim.so")
top = tempfile.mkdtemp(prefix="cm-io-")
EINTR, EIO, EMFILE, ENOSPC, EDQUOT = 4, 5, 24, 28, 122
# Calls, and the reasons that the system gives for them.
KINDS = {"open": [EIO, EMFILE, ENOSPC, EDQUOT], "read": [EIO], "map": [EIO, EMFILE], "stat": [EIO], "list": [EIO, EMFILE],
         "write": [EIO, ENOSPC, EDQUOT], "fsync": [EIO, ENOSPC, EDQUOT], "close": [EIO, EDQUOT], "rename": [EIO, ENOSPC],
         "exchange": [EIO], "mkdir": [EIO, ENOSPC], "chmod": [EIO], "remove": [EIO]}
# Of these some do no harm: what was read has been read, the data of a folder that cannot be flushed are safe, what is looked
# for may be absent, what cannot be removed stays.  A failure of any other call has to be told.
HARMLESS = {"open", "stat", "fsync", "close", "remove"}
# What the same operation writes with the same bytes each time.
SAME = re.compile(r"\.(safetensors|pt|png|jpg|npz|json)$")
failures, lock = [], threading.Lock()


def fail(text):
    with lock:
        failures.append(text)
        print("FAIL", text, flush=True)


def run(number, call="none", n=0, error=0, more=None, **settings):
    """Exit code, calls seen, message, and the files that were written, by name."""
    folder = tempfile.mkdtemp(dir=top)
    env = dict(os.environ, SHIM_DIR=top, SHIM_CALL=call, SHIM_N=str(n), SHIM_ERRNO=str(error), LD_PRELOAD=shim)
    read, write = os.pipe()
    pid = subprocess.Popen(["bash", "-c", 'exec 9>&%d; exec "$@"' % write, "-", program, top + "/in", folder, str(number)], env=env,
                           stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, pass_fds=[write], preexec_fn=more)
    os.close(write)
    try:
        said = pid.communicate(timeout=300)[1]
    except subprocess.TimeoutExpired:
        pid.kill()
        said = "goes on for ever: " + pid.communicate()[1]
    calls = os.read(read, 32)
    os.close(read)
    files = {}
    for at, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(at, name)
            files[os.path.relpath(path, folder)] = hashlib.sha256(open(path, "rb").read()).hexdigest()
    shutil.rmtree(folder, ignore_errors=True)
    return pid.returncode, int(calls or 0), said.strip(), files


def judge(name, what, result, good, interrupted=False, removes=False, reason=0):
    code, _, said, files = result
    where = "%s, %s" % (name, what)
    if "left open" in said:
        fail("%s: %s" % (where, said))
    elif code == 3:
        if top not in said and "'" not in said:
            fail("%s: no file is named: %s" % (where, said))
        if reason and os.strerror(reason) not in said:
            fail("%s: not the reason, %s: %s" % (where, os.strerror(reason), said))
    elif code != 0:
        fail("%s: exit %d: %s" % (where, code, said))
    if interrupted and code != 0:
        fail("%s: exit %d: %s" % (where, code, said))
    for file, digest in files.items():
        if ".tmp" in file and not removes:
            fail("%s: %s is left behind" % (where, file))
        elif SAME.search(file) and file in good and digest != good[file] and not file.startswith(("run/", "directory/")):
            fail("%s: %s is neither whole nor absent" % (where, file))


def one(task):
    number, name, call, n, error, good = task
    result = run(number, call, n, error)
    judge(name, "%s %d errno %d" % (call, n, error), result, good, error == EINTR, call == "remove", error)
    if result[0] == 0 and error != EINTR and call not in HARMLESS:
        fail("%s, %s %d errno %d: it is not told" % (name, call, n, error))
    return result[0] != 0


def tasks_of(number, name):
    """Every fault of an operation."""
    code, _, said, good = run(number)
    if code != 0:
        fail("%s without faults: exit %d: %s" % (name, code, said))
        return []
    tasks = []
    for call, errors in KINDS.items():
        calls = run(number, call, 0)[1]
        tasks += [(number, name, call, n, error, good) for n in range(1, calls + 1) for error in errors]
        if call in ("open", "write", "read", "fsync"):
            tasks += [(number, name, call, n, EINTR, good) for n in range(1, min(calls, 3) + 1)]
    for kind in ("short", "shortread"):
        judge(name, kind + " calls", run(number, kind), good, True)
    return tasks


def small_files(size):
    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    return limit


def full(number, name):
    good = run(number)[3]
    told = 0
    for size in (0, 100, 1000, 5000, 20000):
        result = run(number, more=small_files(size))
        judge(name, "files of at most %d bytes" % size, result, good)
        told += result[0] == 3
    return told


def full_disk(names):
    """A file system of 256 KiB in which each operation works, with less and less room left."""
    disk = top + "/disk"
    os.mkdir(disk)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", disk], capture_output=True).returncode != 0:
        return None
    told = 0
    try:
        for number, name in enumerate(names):
            for room in (0, 4096, 16384, 65536):
                out = disk + "/out"
                os.mkdir(out)
                with open(disk + "/filler", "wb") as f:
                    try:
                        f.write(bytes(256 * 1024 - room - 8192))
                    except OSError:
                        pass
                r = subprocess.run([program, top + "/in", out, str(number)], capture_output=True, text=True, timeout=300)
                if r.returncode not in (0, 3):
                    fail("%s with %d bytes left on the disk: exit %d: %s" % (name, room, r.returncode, r.stderr))
                told += r.returncode == 3
                left = [f for _, _, fs in os.walk(out) for f in fs if ".tmp" in f]
                if left:
                    fail("%s with %d bytes left on the disk leaves %s" % (name, room, left))
                shutil.rmtree(out)
    finally:
        subprocess.run(["umount", disk], check=True)
    return told


def main():
    random.seed(o.seed)
    os.mkdir(top + "/in")
    subprocess.run([program, top + "/in", top, "prepare"], check=True)
    names = subprocess.run([program], check=True, capture_output=True, text=True).stdout.splitlines()
    numbers = [i for i, name in enumerate(names) if o.only in name]
    if o.sample:  # counting the calls of one takes a second
        numbers = random.sample(numbers, min(len(numbers), 6))
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        tasks = sum(pool.map(lambda i: tasks_of(i, names[i]), numbers), [])
        every = len(tasks)
        if o.sample:
            tasks = random.sample(tasks, min(o.sample, len(tasks)))
        told = sum(pool.map(one, tasks))
        chosen = numbers[:2] if o.sample else numbers
        limited = sum(pool.map(lambda i: full(i, names[i]), chosen))
    disk = None if o.sample else full_disk(names)
    if (not o.only and every < (20 if o.sample else 1000)) or told < len(tasks) // 3:
        fail("only %d of %d faults were felt" % (told, len(tasks)))
    print("io faults: %d operations, %d of %d faults tried, %d told as errors; %d told of files too large%s; %d failures" %
          (len(numbers), len(tasks), every, told, limited,
           "" if disk is None else ", %d of a full disk" % disk, len(failures)))
    if disk is None and not o.sample:
        print("no file system could be mounted")


try:
    main()
finally:
    shutil.rmtree(top, ignore_errors=True)
sys.exit(bool(failures))

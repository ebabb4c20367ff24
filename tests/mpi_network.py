#!/usr/bin/env python3
"""mpi_network.py BUILD [--only ROW]: cm-train on two machines that a network connects, which is slow, loses packets or is cut.

The machines are network namespaces with host names of their own; a packet goes from one to the other through this process,
which delays it or drops it.  It needs root, /dev/net/tun and Open MPI; where one is absent, it says so
and ends well.  Rows: plain, delay (200 ms), loss (1 %), cut.  --rate MBIT --command ...: a
command on both, over a wire of that rate, for measurements."""
import argparse
import collections
import fcntl
import os
import random
import select
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import time

p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
p.add_argument("build")
p.add_argument("--only", default="")
p.add_argument("--rate", type=float, default=0, metavar="MBIT")
p.add_argument("--ranks", type=int, default=2, help="of --command, dealt to the machines in turn")
p.add_argument("--command", nargs=argparse.REMAINDER, help="run this, and stop")
o = p.parse_args()
BUILD = os.path.abspath(o.build)
NAMES, ADDRESSES = ["cm-a-%d" % os.getpid(), "cm-b-%d" % os.getpid()], ["10.97.0.1", "10.97.0.2"]


def skip(why):
    line = "mpi_network: not run, %s" % why
    print(line)
    if os.environ.get("CHECK_SKIPS"):
        with open(os.environ["CHECK_SKIPS"], "a") as f:
            f.write(line + "\n")
    sys.exit(0)


def run(*command, **more):
    return subprocess.run(command, check=True, capture_output=True, text=True, **more)


class Link:
    """Two tun devices, and what becomes of the packets between them."""

    def __init__(self, delay=0.0, loss=0.0):
        self.delay, self.loss, self.cut, self.ends = delay, loss, False, False
        self.carried = self.dropped = 0
        self.chance = random.Random(1)
        self.files = []
        for name, address, other in zip(NAMES, ADDRESSES, ADDRESSES[::-1]):
            run("ip", "netns", "add", name)
            f = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
            device = name.replace("cm-", "t")[:15]
            fcntl.ioctl(f, 0x400454CA, struct.pack("16sH22x", device.encode(), 0x1001))  # TUNSETIFF, IFF_TUN | IFF_NO_PI
            run("ip", "link", "set", device, "netns", name)
            for command in (["addr", "add", address, "peer", other, "dev", device],
                            ["link", "set", device, "mtu", "1500", "txqueuelen", "20000", "up"], ["link", "set", "lo", "up"]):
                run("ip", "netns", "exec", name, "ip", *command)
            self.files.append(f)
        self.thread = threading.Thread(target=self.carry)
        self.thread.start()

    def __str__(self):
        return "%d packets carried, %d dropped" % (self.carried, self.dropped)

    def take(self, side, queue):
        """What has come from one side, with the time at which it arrives at the other one."""
        for _ in range(64):
            try:
                packet = os.read(self.files[side], 65536)
            except BlockingIOError:
                return
            if self.cut or self.chance.random() < self.loss:
                self.dropped += 1
                continue
            queue.append((time.monotonic() + self.delay, packet))

    def carry(self):
        queues = [collections.deque(), collections.deque()]
        while not self.ends:
            now = time.monotonic()
            next_one = min([q[0][0] for q in queues if q] + [now + 0.05])
            wait = next_one - now
            select.select(self.files, [], [], wait if wait > 0 else 0)
            for side in (0, 1):
                self.take(side, queues[side])
            now = time.monotonic()
            for side, queue in enumerate(queues):
                while queue and queue[0][0] <= now:
                    try:
                        os.write(self.files[1 - side], queue[0][1])
                        self.carried += 1
                    except (BlockingIOError, OSError):
                        self.dropped += 1
                    queue.popleft()

    def close(self):
        self.ends = True
        self.thread.join()
        for f in self.files:
            os.close(f)
        for name in NAMES:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)


class Wire:
    """A pair of veth devices, whose rate the kernel keeps (tc's tbf): fast, and nothing is lost."""

    def __init__(self, rate):
        ends = [name.replace("cm-", "v")[:15] for name in NAMES]
        run("ip", "link", "add", ends[0], "type", "veth", "peer", "name", ends[1])
        for name, address, end in zip(NAMES, ADDRESSES, ends):
            run("ip", "netns", "add", name)
            run("ip", "link", "set", end, "netns", name)
            inside = ["ip", "netns", "exec", name]
            for command in (["addr", "add", address + "/24", "dev", end], ["link", "set", end, "up"], ["link", "set", "lo", "up"]):
                run(*inside, "ip", *command)
            if rate:
                run(*inside, "tc", "qdisc", "add", "dev", end, "root", "tbf", "rate", "%gmbit" % rate, "burst", "512kb", "latency", "50ms")
        self.counted = ["ip", "netns", "exec", NAMES[0], "cat", "/sys/class/net/%s/statistics/tx_bytes" % ends[0]]

    def sent(self):
        """Bytes of the first machine."""
        return int(run(*self.counted).stdout)

    def close(self):
        for name in NAMES:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)


def begin(folder, command, output, count=2):
    """mpirun on the first machine, with one rank on each; the second one's daemon is started as ssh would do it."""
    agent = folder + "/agent"
    with open(agent, "w") as f:
        f.write("#!/bin/sh\nname=%s\n[ \"$1\" = %s ] || name=%s\nshift\n"
                "exec ip netns exec $name unshare --uts sh -c 'hostname '$name'; exec sh -c \"$0\"' \"$*\"\n"
                % (NAMES[0], ADDRESSES[0], NAMES[1]))
    os.chmod(agent, 0o755)
    mpirun = ["mpirun", "--allow-run-as-root", "--mca", "plm_rsh_agent", agent, "--mca", "btl", "tcp,self", "--mca", "pml", "ob1",
              "--mca", "btl_tcp_if_include", "10.97.0.0/24", "--mca", "oob_tcp_if_include", "10.97.0.0/24", "--bind-to", "none",
              "-x", "LD_LIBRARY_PATH", "-H", ",".join("%s:%d" % (a, (count + 1) // 2) for a in ADDRESSES), "--map-by", "node", "-n", str(count)]
    inside = "hostname %s; exec \"$@\"" % NAMES[0]
    return subprocess.Popen(["ip", "netns", "exec", NAMES[0], "unshare", "--uts", "sh", "-c", inside, "sh"] + mpirun + command,
                            stdout=output, stderr=subprocess.STDOUT, start_new_session=True)


def ranks(folder):
    """The processes of cm-train that write there."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/cmdline" % pid, "rb") as f:
                words = f.read().split(b"\0")
        except OSError:
            continue
        if words[0].endswith(b"cm-train") and any(w.startswith(folder.encode()) for w in words):
            found.append(int(pid))
    return found


def ended(child, folder, seconds):
    """Whether every rank has ended by itself; what is left is killed."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and ranks(folder):
        time.sleep(0.1)
    left = ranks(folder)
    for pid in left:
        os.kill(pid, 9)
    try:
        child.wait(10)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, 9)  # mpirun waits for its daemon behind the cut
        child.wait()
    return not left


def latest(out):
    try:
        with open(out + "/checkpoints/LATEST") as f:
            return int(f.read().split("-")[1])
    except OSError:
        return -1


def digest(out):
    folder = "%s/checkpoints/step-%09d/" % (out, latest(out))
    return [open(folder + name, "rb").read() for name in ("model.safetensors", "optimizer.safetensors")]


if os.getuid() != 0:
    skip("namespaces need root")
for tool in ("ip", "unshare", "mpirun"):
    if not shutil.which(tool):
        skip("there is no %s" % tool)
if "Open MPI" not in subprocess.run(["mpirun", "--version"], capture_output=True, text=True).stdout:
    skip("it is written for Open MPI's mpirun")
if not os.path.exists(BUILD + "/lib/libconsistency-mpi.so"):
    skip("there is no plugin: mpi-default-dev is absent")
if not os.path.exists("/dev/net/tun") or subprocess.run(["ip", "netns", "add", NAMES[0]], capture_output=True).returncode:
    skip("this system gives no namespaces or no /dev/net/tun")
run("ip", "netns", "del", NAMES[0])

failures, rows = [], 0
with tempfile.TemporaryDirectory(prefix="cm-net-") as folder:
    if o.command:
        wire = Wire(o.rate)
        code = begin(folder, o.command, None, o.ranks).wait()
        print("mpi_network: %d bytes sent" % wire.sent())
        wire.close()
        sys.exit(code)
    os.mkdir(folder + "/set")
    chance = random.Random(1)
    with open(folder + "/set/train-images-idx3-ubyte", "wb") as f:
        f.write(struct.pack(">IIII", 2051, 64, 28, 28) + bytes(chance.randrange(256) for _ in range(64 * 784)))
    with open(folder + "/set/train-labels-idx1-ubyte", "wb") as f:
        f.write(struct.pack(">II", 2049, 64) + bytes(i % 10 for i in range(64)))
    with open(folder + "/network.json", "w") as f:
        f.write('{"network": {"type": "songunet", "img_resolution": 32, "img_channels": 1, "label_dim": 10, "model_channels": 8, '
                '"channel_mult": [1, 2], "num_blocks": 1, "attn_resolutions": [16]}, "precond": {"type": "edm"}, '
                '"image": {"channels": 1, "height": 32, "width": 32, "labels": 10}}')
    train = [BUILD + "/bin/cm-train", "--data", folder + "/set", "--network", folder + "/network.json", "--batch", "16", "--set", "micro_shards=4",
             "--sample-every", "0", "--no-estimate", "-q", "--threads", "1"]
    run(*train, "--steps", "8", "--out", folder + "/one")
    for row, link_of in (("plain", {}), ("delay", {"delay": 0.1}), ("loss", {"loss": 0.01}), ("cut", {})):
        if o.only not in row:
            continue
        out, words = "%s/%s" % (folder, row), folder + "/" + row + ".txt"
        link = Link(**link_of)
        began = time.monotonic()
        with open(words, "w") as f:
            more = ["--steps", "8"] if row != "cut" else ["--steps", "100000", "--checkpoint-every", "3", "--mpi-timeout", "5"]
            child = begin(folder, train + more + ["--out", out], f)
        if row == "cut":
            while latest(out) < 3 and child.poll() is None and time.monotonic() < began + 60:
                time.sleep(0.1)
            link.cut, began = True, time.monotonic()
            well = ended(child, folder, 10)
            with open(words) as f:
                said = f.read()
            link.close()
            if not well:
                failures.append("cut: a rank lives on 10 s after the cut: " + said[-600:])
            if "is missing (last heard of" not in said:
                failures.append("cut: nobody names the rank that is missing: " + said[-600:])
            again = subprocess.run(train + ["--resume", "--out", out, "--steps", str(latest(out) + 1), "--allow-changes"], capture_output=True, text=True)
            if again.returncode:
                failures.append("cut: the checkpoint does not go on: " + again.stderr[-300:])
        else:
            try:
                code = child.wait(180)
            except subprocess.TimeoutExpired:
                code = "none within 180 s"
                ended(child, folder, 0)
            link.close()
            with open(words) as f:
                said = f.read()
            if code != 0:
                failures.append("%s: exit code %s: %s" % (row, code, said[-600:]))
            elif digest(out) != digest(folder + "/one"):
                failures.append("%s: other bytes than one process" % row)
        rows += 1
        print("mpi_network: %-5s %6.1f s, %s" % (row, time.monotonic() - began, link))
for failure in failures:
    print("FAIL mpi_network: " + failure)
print("mpi_network: %d rows" % rows)
sys.exit(bool(failures))

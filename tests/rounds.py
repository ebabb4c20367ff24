"""rounds.py - programs that measure in turn: each does its work once for a line of input and prints a line of JSON."""
import json
import os
import subprocess
import sys
import time


class Server:
    def __init__(self, name, command):
        environment = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"}
        self.name, self.results = name, []
        self.process = subprocess.Popen(command, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def call(self, keep=True):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            sys.exit("%s: %s failed" % (os.path.basename(sys.argv[0]), self.name))
        result = json.loads(line)
        self.results += [result] if keep else []
        time.sleep(0.05)  # until the threads of PyTorch no longer wait in a loop
        return result

    def all(self, key):
        return [r[key] for r in self.results]

    def least(self, key):
        return min(self.all(key))

    def close(self):
        self.process.stdin.close()
        self.process.wait()

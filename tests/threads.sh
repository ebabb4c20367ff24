#!/bin/bash
# threads.sh BUILD - the cases of threads_program, each in a process of its own, and
# children that Python's multiprocessing forks.
build=$1
cases="one several refused limited space hosts idle signals training hosted forks within"
status=0
for c in $cases; do
    OMP_NUM_THREADS=16 timeout 1800 "$build/tests/threads_program" "$c" || { echo "FAIL threads_program $c"; status=1; }
done
CONSISTENCY_BUILD=$build PYTHONPATH=bindings/python timeout 1800 "${PYTHON:-python3}" - <<'P' || { echo "FAIL forks of Python"; status=1; }
import hashlib, multiprocessing, sys
import consistency as cm

MODEL = "tests/data/models/digits_consistency.safetensors"

def digest(_=None):
    model = cm.Model.load(MODEL)
    with cm.Sampler(model, batch=8, threads=2) as sampler:
        images = sampler.sample(8, seed=3)
        return hashlib.sha256(bytes(getattr(images, "data", images))).hexdigest()

context = multiprocessing.get_context("fork")
with context.Pool(2) as pool:       # before anything was computed
    before = set(pool.map(digest, range(4)))
mine = digest()
with context.Pool(2) as pool:       # and after
    after = set(pool.map(digest, range(4)))
sys.exit(not (before == after == {mine}))
P
[ $status = 0 ] && echo "threads: $(echo $cases | wc -w) cases, and Python's forks"
exit $status

#!/usr/bin/env python3
"""Every function of the headers is called by a row of tests/support/operations_*.c, so that tests which make something
fail within each operation reach it, or stands here with the reason why no row can show anything."""
import glob
import os
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import header_parser  # noqa: E402

EXEMPT = {
    r"cm_\w+_init": "fills in the caller's struct",
    r"cm_version|cm_version_number|cm_build_info|cm_status_name|cm_abi_sizeof|cm_choice_about|cm_train_preset_(about|source)":
        "gives a constant",
    r"cm_name_hint": "writes into the caller's text, of a list of the caller's",
    r"cm_(dataset|run|sampler|trainer)_cancel|cm_run_stop": "sets a flag, from any thread",
}
interface = header_parser.read(sorted(glob.glob(HERE + "/../include/consistency/*.h")))
rows = "".join(re.sub(r"/\*.*?\*/", "", open(f).read(), flags=re.S)
               for f in sorted(glob.glob(HERE + "/support/operations*.c")) + [HERE + "/support/tiny_trainer.h"])
called = {name for name in interface.functions if re.search(r"\b%s\(" % name, rows)}
failures = []
for name in sorted(interface.functions):
    why = [w for pattern, w in EXEMPT.items() if re.fullmatch(pattern, name)]
    if name in called and why:
        failures.append("%s is called by a row, and stands among those that need none (%s)" % (name, why[0]))
    if name not in called and not why:
        failures.append("%s is called by no row of tests/support/operations_*.c" % name)
for pattern in EXEMPT:
    if not any(re.fullmatch(pattern, name) for name in interface.functions):
        failures.append("no function is called %s any more" % pattern)
print("\n".join("FAIL " + f for f in failures) or
      "operations: %d of %d functions are called by rows, %d need none" %
      (len(called), len(interface.functions), len(interface.functions) - len(called)))
sys.exit(bool(failures))

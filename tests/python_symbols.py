#!/usr/bin/env python3
"""Header, version script, library and Python binding name the same functions with the same number of arguments,
and the same structs with the same fields.  Usage: python_symbols.py LIBRARY.so"""
import glob, re, subprocess, sys

sys.path.insert(0, "bindings/python")
text = "".join(re.sub(r"/\*.*?\*/", "", open(p).read(), flags=re.S) for p in sorted(glob.glob("include/consistency/*.h")))

functions = {}
for match in re.finditer(r"CM_API\s+([^;]*?)\b(cm_\w+)\s*\(([^;]*?)\)\s*;", text, re.S):
    arguments = match.group(3).strip()
    functions[match.group(2)] = 0 if arguments == "void" else arguments.count(",") + 1
mapped = set(re.findall(r"^\s+(cm_\w+);", open("lib/libconsistency.map").read(), re.M))
exported = set()
for line in subprocess.check_output(["nm", "-D", "--defined-only", sys.argv[1]], text=True).splitlines():
    name = line.split()[-1].split("@")[0]
    if name != "CONSISTENCY_0.1":
        exported.add(name)

failures = []
def same(what, a, b):
    for name in sorted(set(a) ^ set(b)):
        failures.append("%s: %s is only in %s" % (what, name, "the first" if name in a else "the second"))
same("header and version script", functions, mapped)
same("header and nm -D", functions, exported)

from consistency import _lib
same("header and Python prototypes", functions, _lib.PROTOTYPES)
for name, count in functions.items():
    if name in _lib.PROTOTYPES and len(_lib.PROTOTYPES[name][1]) != count:
        failures.append("%s takes %d arguments, Python says %d" % (name, count, len(_lib.PROTOTYPES[name][1])))

structs = {}
for match in re.finditer(r"typedef struct (cm_\w+) \{(.*?)\n\} \1;", text, re.S):
    fields = []
    for declaration in match.group(2).split(";"):
        declaration = declaration.strip()
        pointer = re.search(r"\(\*(\w+)\)", declaration)
        if pointer:
            fields.append(pointer.group(1))
        elif declaration:
            fields += [re.search(r"(\w+)(\[\w+\])?$", part.strip()).group(1) for part in declaration.split(",")]
    structs[match.group(1)] = fields
same("header structs and Python structs", structs, {s._c_name for s in _lib.STRUCTS})
for s in _lib.STRUCTS:
    if [f[0] for f in s._fields_] != structs.get(s._c_name):
        failures.append("%s: fields differ: %s" % (s._c_name, structs.get(s._c_name)))

# Lists of cm_choice_name beside the enumerations of the headers: entry i is called as member i is.
ENUMS = {"methods": ("cm_method", "CM_METHOD_"), "edm_discretizations": ("cm_edm_discretization", "CM_EDM_STEPS_"),
         "edm_schedules": ("cm_edm_schedule", "CM_EDM_SCHEDULE_"), "edm_scalings": ("cm_edm_scaling", "CM_EDM_SCALING_"),
         "edm_solvers": ("cm_edm_solver", "CM_EDM_SOLVER_"), "dpmpp_forms": ("cm_dpmpp_form", "CM_DPMPP_"),
         "dpmpp_ends": ("cm_dpmpp_end", "CM_DPMPP_"), "noise_sources": ("cm_noise_source", "CM_NOISE_"),
         "model_formats": ("cm_model_format", "CM_MODEL_"), "precisions": ("cm_precision", "CM_PRECISION_"), "memories": ("cm_memory", "CM_MEMORY_"),
         "objectives": ("cm_train_objective", "CM_TRAIN_"), "distances": ("cm_distance", "CM_DISTANCE_"),
         "optimizers": ("cm_optimizer", "CM_OPTIMIZER_"), "weightings": ("cm_loss_weighting", "CM_WEIGHTING_"),
         "clip_rules": ("cm_clip_rule", "CM_CLIP_RULE_"), "noise_levels": ("cm_noise_levels", "CM_LEVELS_"),
         "odes": ("cm_ode", "CM_ODE_"), "fits": ("cm_fit", "CM_FIT_"), "label_rules": ("cm_label_rule", "CM_LABELS_"), "dataset_findings": ("cm_dataset_finding", "CM_FINDING_"), "dataset_parts": ("cm_dataset_part", "CM_PART_"), "scales_modes": ("cm_scales_mode", "CM_SCALES_"),
         "mu_modes": ("cm_mu_mode", "CM_MU_"), "ect_mappings": ("cm_ect_mapping", "CM_MAPPING_"), "pair_weightings": ("cm_pair_weighting", "CM_PAIR_"),
         "lpips_poolings": ("cm_lpips_pooling", "CM_LPIPS_POOLING_"), "lpips_resizes": ("cm_lpips_resize", "CM_LPIPS_RESIZE_")}
NO_ENUM = {"networks", "feature_networks", "lpips_networks", "preconds", "run_options", "scm_forms", "tangent_norms", "flow_samplers", "ratio_schedules", "weight_nets"}
table = re.search(r"lists\[\] = \{(.*?)\n\};", open("src/api/choices.c").read(), re.S).group(1)
train = "".join(open(p).read() for p in glob.glob("src/train/*.c") + glob.glob("src/data/*.c"))
lists = re.findall(r'"(\w+)",', table)
for variable in re.findall(r"&(cmi?_\w+)", table):  # its name stands where it is made
    lists += re.findall(r'\b%s(?: = \{|, )"(\w+)"' % variable, train)
same("lists of src/api/choices.c and of this test", lists, set(ENUMS) | NO_ENUM)
for name in list(ENUMS) + sorted(NO_ENUM):
    entries = _lib.choices(name)
    about = [_lib.lib.cm_choice_about(name.encode(), i) for i in range(len(entries) + 1)]
    if len(entries) < 2 or not all(about[:-1]) or about[-1] is not None:
        failures.append("%s: entries %s, about them %s" % (name, entries, about))
    if name in NO_ENUM:
        continue
    enum, prefix = ENUMS[name]
    block = re.search(r"typedef enum %s \{(.*?)\} %s;" % (enum, enum), text, re.S).group(1)
    members = re.findall(r"(CM_\w+) = (\d+)", block)
    expected = [(prefix + entry.upper().replace("-", "_").replace("+", "_PLUS_"), str(i)) for i, entry in enumerate(entries)]
    if members != expected:
        failures.append("%s: the header has %s, the library %s" % (enum, members, expected))
if _lib.choices("nothing") or "heun" not in _lib.choices("methods"):
    failures.append("cm_choice_name of no list, or of methods")

print("%d functions, %d structs" % (len(functions), len(structs)))
for f in failures:
    print("FAIL", f)
sys.exit(bool(failures))

#!/bin/sh
# Includes go downwards only: a folder of src may include the folders of its
# row and itself.  oneDNN is seen in src/dnnl alone.
cd "$(dirname "$0")/.." || exit 1
status=0
fail() { echo "FAIL $1"; status=1; }

allowed() {
    case $1 in
    base) echo "" ;;
    tensor) echo "base" ;;
    dnnl | io) echo "base tensor" ;;
    kernels) echo "base tensor" ;;
    conv | attention) echo "base tensor kernels" ;;
    ops) echo "base tensor kernels conv attention" ;;
    graph) echo "base tensor ops" ;;
    nets) echo "base tensor conv ops graph io" ;;
    diffusion) echo "base tensor graph nets" ;;
    data) echo "base tensor io" ;;
    train) echo "base tensor kernels graph nets diffusion data io" ;;
    metrics) echo "base tensor kernels ops graph nets io data" ;;
    run) echo "base io diffusion train" ;;
    api) echo "base tensor dnnl io graph nets diffusion data train metrics run" ;;
    *) echo "unknown" ;;
    esac
}

# No circle: a row names folders of earlier rows only.
earlier=" "
for folder in $(sed -n 's/^    \([a-z |]*\)) echo .*/\1/p' tests/layers.sh | tr -d '|'); do
    for named in $(allowed "$folder"); do
        case "$earlier" in *" $named "*) ;; *) fail "the row of $folder names $named, which is not above it" ;; esac
    done
    earlier="$earlier$folder "
done
for folder in src/*/; do
    folder=$(basename "$folder")
    case "$earlier" in *" $folder "*) ;; *) fail "folder $folder has no row in tests/layers.sh" ;; esac
done

count=0
for file in $(find src -name '*.[ch]' -o -name '*.cc'); do
    folder=$(echo "$file" | cut -d/ -f2)
    ok=" $folder $(allowed "$folder") "
    [ "$(allowed "$folder")" = unknown ] && fail "$file: folder $folder has no row in tests/layers.sh"
    for included in $(sed -n 's/^ *# *include *"\([a-z]*\)\/.*/\1/p' "$file"); do
        count=$((count + 1))
        case "$ok" in *" $included "*) ;; *) fail "$file includes $included/" ;; esac
    done
    [ "$folder" = dnnl ] || ! grep -q 'dnnl\.h' "$file" || fail "$file includes oneDNN"
done
[ $count -gt 50 ] || fail "only $count includes were seen"

# The CPU level comes from the context; the calls that have none, about the process, are these.
grep -nE '\bcmi_cpu_level\(\)' -r src --include='*.c' | grep -vE 'src/(base/context|api/base)\.c' && fail "the CPU level is asked above"

# What depends on the kind of a thing stands in its row: nothing compares methods or preconditionings.
grep -nE '([=!]=|[<>]=?|case) *(&cmi_method_|&cmi_precond_|CM_METHOD_)|strcmp\(cmi_precond_name' -r src --include='*.[ch]' && fail "kinds are compared above"

# Nothing a guest may not do, and memory through the context only.  (libjpeg
# and jansson hand out malloc'ed memory, which free() returns.)
grep -nE '\b(abort|exit|_exit|printf|puts|perror|assert|getenv|setlocale|strtok|srand|rand)\(' -r src --include='*.[ch]' && fail "calls above"
grep -nE '\b(malloc|calloc|realloc)\(' -r src --include='*.c' | grep -vE 'src/(base/context|base/json|io/json_tree)\.c|cmi_(malloc|calloc)' && fail "bare allocations above"
# What jansson does wrong without memory: base/json.h and io/json_tree.h do it.
grep -nE '\bjson_(load[a-z_]*|dumps|dumpf|dump_[a-z]+|copy|deep_copy|object_update_missing)\(' -r src --include='*.c' | grep -vE 'src/base/json\.c' &&
    fail "calls above that lose a part without memory"
[ $status = 0 ] && echo "layers: $count includes, all downwards"
exit $status

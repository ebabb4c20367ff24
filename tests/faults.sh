#!/bin/bash
# faults.sh BUILD: every system call of saving and loading a model of each format fails in turn, requests for memory
# do, and the process ends right before every call.  Afterwards the files are the old or the new ones, whole; a
# failing call leaves no temporary file.  What a crash leaves beside is whole too where it is the only copy.
build=$1
dir=$(mktemp -d /tmp/cm-faults-XXXXXX)
kept=$(mktemp -d /tmp/cm-faults-XXXXXX) # old and good ones, models, messages
trap 'rm -rf "$dir" "$kept"' EXIT
export SHIM_DIR=$dir OMP_NUM_THREADS=1
shim=$PWD/$build/tests/shim.so
status=0 tried=0 far=0
fail() { echo "FAIL $format $1"; status=1; }

# Every format gives what it writes and what it reads: a model with few tensors where the format allows.
"$build/tests/make_model" '{"type": "adm", "image_size": 8, "in_channels": 3, "out_channels": 3, "model_channels": 32,
    "num_res_blocks": 1, "channel_mult": [1], "attention_resolutions": [], "resblock_updown": true}' \
    '{"type": "cm"}' 8 8 "$kept/adm.safetensors" || exit 1
use() {
    format=$1
    case $format in
    native) model=tests/data/models/digits_consistency.safetensors targets="out.safetensors out.png" ;;
    torch) model=$kept/adm.safetensors targets=out.pt ;;
    diffusers) model=$kept/adm.safetensors targets=out.folder ;;
    esac
    rm -rf "$kept/old" "$kept/good"
    mkdir "$kept/old" "$kept/good"
    for t in $targets; do
        case $t in
        *.folder) mkdir -p "$kept/old/$t/unet" && echo old > "$kept/old/$t/unet/config.json" ;;
        *) echo old > "$kept/old/$t" ;;
        esac
    done
    old; run none 0 0
    [ $code = 0 ] || { echo "FAIL $format without faults: $code"; cat "$kept/said"; exit 1; }
    cp -r "$dir"/out.* "$kept/good/"
}
old() { rm -rf "$dir"/out.*; cp -r "$kept/old/." "$dir/"; }
# run CALL N ERRNO [SETTING=VALUE...]; sets $code and $calls
run() {
    local call=$1 n=$2 error=$3
    shift 3
    calls=$(env "$@" SHIM_CALL=$call SHIM_N=$n SHIM_ERRNO=$error LD_PRELOAD="$shim" \
        "$build/tests/fault_program" "$dir" "$model" $format $request 9>&1 >/dev/null 2>"$kept/said")
    code=$?
}
request=
same() { diff -rq "$1" "$2" > /dev/null 2>&1; }
whole() { # every file is the old one or a good new one
    for t in $targets; do
        same "$kept/old/$t" "$dir/$t" || same "$kept/good/$t" "$dir/$t" || fail "$1: $t is neither old nor new"
    done
}
nothing_beside() {
    [ "$(ls "$dir" | wc -w)" = "$(echo $targets | wc -w)" ] || fail "$1 leaves something behind: $(ls "$dir")"
}

# faults CALLS ERRNOS [SETTING=VALUE...]: each call fails with each of them.  With `far`, of many calls of one kind the
# later ones are tried at larger distances, as they do the same for other tensors.
faults() {
    local calls_tried=$1 errors=$2 call error n
    shift 2
    for call in $calls_tried; do
        for error in $errors; do
            n=1
            while :; do
                old; run $call $n $error "$@"
                [ "${calls:-0}" -lt $n ] && break
                tried=$((tried + 1))
                # a directory that cannot be flushed or a mapping's descriptor that
                # cannot be closed is no reason to fail: the data is safe
                [ $code = 3 ] || [ $code = 0 ] || { fail "$call $n errno $error: exit $code"; cat "$kept/said"; }
                whole "$call $n errno $error"
                # what cannot be removed stays
                [ $call = remove ] || nothing_beside "$call $n errno $error"
                n=$((n + 1 + (n > 60 && far ? n / 6 : 0)))
            done
        done
    done
}
interrupted() { # EINTR is retried
    for call in open write fsync; do
        for n in 1 2 3; do
            old; run $call $n 4
            [ $code = 0 ] || { fail "$call $n interrupted: exit $code"; cat "$kept/said"; }
            tried=$((tried + 1))
        done
    done
    old; run short 0 0
    [ $code = 0 ] || fail "short writes: exit $code"
    whole "short writes"
}
# crashes CALL CHECK [SETTING=VALUE...]: the process ends before each such call (any: of any kind)
crashes() {
    local call=$1 check=$2 n=1
    shift 2
    while :; do
        old; run $call $n 0 SHIM_KILL=1 "$@"
        [ $code = 99 ] || break
        $check "crash before $call $n"
        rm -rf "$dir"/*.tmp*
        tried=$((tried + 1)); n=$((n + 1 + (n > 60 && far ? 3 : 0)))
    done
    [ $code = 0 ] || fail "crash before $call $n: exit $code"
    [ $n -gt 3 ] || fail "only $n calls to crash before"
}
no_memory() { # at growing distances, up to where no request is the n-th
    request=1
    while :; do
        old; run none 0 0
        [ $code = 4 ] || break
        whole "request $request for memory"
        nothing_beside "request $request for memory"
        tried=$((tried + 1)); request=$((request + 1 + request / 8))
    done
    [ $code = 0 ] || { fail "request $request for memory: exit $code"; cat "$kept/said"; }
    [ $request -gt 100 ] || fail "only $request requests for memory"
    request=
}

use native
faults "open write fsync close rename" "5 28 122 24" # EIO ENOSPC EDQUOT EMFILE
interrupted
crashes any whole
no_memory

far=1
use torch
faults "open fsync close rename" "5 28"
faults write 28
interrupted
crashes any whole
no_memory

use diffusers
faults "open fsync close rename exchange chmod mkdir remove" "5 28"
faults write 28
interrupted
crashes any whole
no_memory

# Where the file system cannot exchange two names, the old folder steps aside: a crash between two renames leaves
# nothing in the place, and then the old and the new folder lie whole beside.
whole_beside() {
    [ -e "$dir/out.folder" ] && { whole "$1"; return; }
    same "$kept/old/out.folder" "$dir"/out.folder.tmp-*.old || fail "$1: the old folder is lost"
    for t in "$dir"/out.folder.tmp-*[0-9]; do same "$kept/good/out.folder" "$t" || fail "$1: the new folder is lost"; done
    between=$((between + 1))
}
between=0
old; run rename 0 0 SHIM_PLAIN=1
last=$calls # the new folder's to its place
[ $code = 0 ] && same "$kept/good/out.folder" "$dir/out.folder" || fail "in steps: exit $code after $calls renames"
nothing_beside "in steps"
faults "rename remove" "5 28" SHIM_PLAIN=1
crashes rename whole_beside SHIM_PLAIN=1
crashes remove whole_beside SHIM_PLAIN=1
[ $between = 1 ] || fail "$between crashes between the renames"
old; run rename $last 5 SHIM_PLAIN=1 SHIM_ON=1 # nor can the old one go back
[ $code = 3 ] && grep -q "the old one is now '$dir/out.folder.tmp-[0-9-]*.old'" "$kept/said" ||
    fail "no way back: exit $code: $(cat "$kept/said")"
same "$kept/old/out.folder" "$dir"/out.folder.tmp-*.old || fail "no way back: the old folder is lost"

[ $status = 0 ] && echo "faults: $tried faults, files old or new and whole every time"
exit $status

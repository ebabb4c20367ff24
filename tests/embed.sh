#!/bin/bash
# embed.sh BUILD [PART...]: the programs of embed/ as strangers build them, against an installed library that pkg-config
# finds, and run: window (under Xvfb, by mouse and keys), http (by requests and by a browser), rust, csharp, wasm (in a
# browser).  A part whose tools are absent is told, not counted.  Pictures of what was seen stay in BUILD/embed.
build=$1
shift
parts=${*:-window http rust csharp wasm}
cd "$(dirname "$0")/.." || exit 1
mkdir -p "$build/embed"
root=$(cd "$build/embed" && pwd)
model=$PWD/tests/data/models/digits_consistency.safetensors
unset MAKEFLAGS MFLAGS MAKELEVEL # of the make that runs this: newer rustc warns of a jobserver it does not reach
python=${PYTHON:-python3}
status=0
ran=""
fail() { echo "FAIL embed: $1"; status=1; }
absent() { echo "embed: $1 was not built, $2 is absent" | tee -a "${CHECK_SKIPS:-/dev/null}"; }
${MAKE:-make} -s install BUILD="$build" PREFIX="$root/prefix" >/dev/null || exit 1
export PKG_CONFIG_PATH=$root/prefix/lib/pkgconfig LD_LIBRARY_PATH=$root/prefix/lib
mkdir -p "$root/src" && cp -r --preserve=timestamps embed/. "$root/src/" || exit 1
compile() { # PART [MAKE'S ARGUMENTS]
    part=$1
    shift
    ${MAKE:-make} -s -C "$root/src/$part" "$@" >"$root/$part.log" 2>&1 && [ ! -s "$root/$part.log" ] && return 0
    fail "$part: $(head -5 "$root/$part.log")"
    return 1
}

# --- a window ------------------------------------------------------------------------------

said() { # PATTERN: waits until the window has said it in a line that was not read yet
    for _ in $(seq 300); do
        tail -n +"$line" "$root/window.said" | grep -q "$1" && { line=$(($(wc -l <"$root/window.said") + 1)); return 0; }
        kill -0 $window 2>/dev/null || break
        sleep 0.1
    done
    fail "window: it does not say '$1': $(tail -2 "$root/window.said")"
    return 1
}
use_window() {
    line=1
    said "^draw class -1 steps 1 pictures 16: .* ms each" || return
    id=$(xdotool search --name '^libconsistency$' | head -1)
    eval "$(xdotool getwindowgeometry --shell "$id")"
    at() { xdotool mousemove $((X + $1)) $((Y + $2)); }
    at 200 200
    xdotool windowfocus "$id" key 7
    said "^draw class 7 steps 1" || return
    for height in 230 262 294 326 358 390; do # the lower half, painted over
        at 30 $height
        xdotool mousedown 1
        for x in 150 270 390; do at $x $height; done
        xdotool mouseup 1
    done
    for _ in 1 2 3 4 5 6 7; do xdotool key Right; done
    xdotool key f
    said "^fill class 7 steps 8 pictures 16: .* ms each" || return
    points=$(sed -n 's/^fill.* \([0-9]*\) points made anew$/\1/p' "$root/window.said")
    [ "${points:-0}" -gt 430 ] || fail "window: the brush of a quick mouse painted $points points"
    xdotool key s
    said "^saved as window.png" || return
    xdotool key space
    said "^walk of 100 pictures" || return
    xdotool key space
    at 398 428 # the end of the slider
    xdotool click 1
    for _ in 1 2 3 4 5; do # a quick machine may be done before
        xdotool key n
        sleep 0.2
        xdotool key Escape
        said "^draw class 7 steps 32 pictures 16:" || return
        grep -q "^draw class 7 steps 32 pictures 16: cancelled" "$root/window.said" && break
    done
    grep -q "steps 32 pictures 16: cancelled" "$root/window.said" || fail "window: nothing was cancelled"
    xdotool key n # it ends in the middle of its work
    xdotool key q
}
window() {
    for tool in Xvfb xdotool; do command -v $tool >/dev/null || { absent window $tool; return; }; done
    pkg-config --exists sdl2 || { absent window SDL2; return; }
    compile window || return
    rm -f "$root/window.png" "$root/display"
    mkfifo "$root/display"
    Xvfb -displayfd 3 -screen 0 800x600x24 -nolisten tcp 3>"$root/display" >/dev/null 2>&1 &
    server=$!
    read -r number <"$root/display"
    export DISPLAY=:$number
    : >"$root/window.said"
    (cd "$root" && exec src/window/window "$model" >"$root/window.said" 2>&1) &
    window=$!
    use_window
    for _ in $(seq 100); do kill -0 $window 2>/dev/null || break; sleep 0.1; done
    kill -9 $window 2>/dev/null
    wait $window
    result=$?
    [ $result = 0 ] || fail "window: it ends with $result"
    kill $server
    wait $server 2>/dev/null
    unset DISPLAY
    [ "$(head -c 8 "$root/window.png" | tail -c 7 | head -c 3)" = PNG ] || fail "window: no picture of it"
    SDL_VIDEODRIVER=x11 "$root/src/window/window" "$model" >"$root/window.log" 2>&1 && fail "window: it opens without a screen"
    SDL_VIDEODRIVER=dummy "$root/src/window/window" README.md >"$root/window.log" 2>&1 && fail "window: it takes what is no model"
    grep -q "^window: .*README.md" "$root/window.log" || fail "window: $(cat "$root/window.log")"
    ran="$ran window ($(sed -n 's/^walk of 100 pictures: //p' "$root/window.said"), walking)"
}

# --- a server --------------------------------------------------------------------------------

http() {
    pkg-config --exists libmicrohttpd || { absent http libmicrohttpd; return; }
    compile http || return
    "$python" tests/embed_http.py "$root/src/http/server" "$model" || fail "http: requests"
    ran="$ran http"
    command -v chromium >/dev/null || { echo "embed: the page of http was not opened, chromium is absent" | tee -a "${CHECK_SKIPS:-/dev/null}"; return; }
    "$python" tests/embed_browser.py --server "$root/src/http/server" "$model" --picture "$root/http.png" || fail "http: the page"
    ran="$ran (and its page)"
}

# --- other languages -------------------------------------------------------------------------

rust() {
    command -v rustc >/dev/null || { absent rust rustc; return; }
    compile rust HEADERS="$PWD/tests/headers.py" PYTHON="$python" || return
    same_page Rust "$root/rust.png" "$root/src/rust/draw"
    odd=$root/rust-$(printf '\377').png # a name that is not UTF-8
    rm -f "$odd"
    "$root/src/rust/draw" "$model" "$odd" 2>/dev/null && cmp -s "$root/rust.png" "$odd" || fail "rust: a name that is not UTF-8"
    rm -f "$odd"
}
csharp() {
    command -v mcs >/dev/null && command -v mono >/dev/null || { absent csharp Mono; return; }
    compile csharp || return
    same_page C# "$root/csharp.png" mono "$root/src/csharp/Draw.exe"
}
# The page that the program draws is that of cm-sample.
same_page() { # LANGUAGE PAGE COMMAND...
    language=$1 page=$2
    shift 2
    rm -f "$page"
    "$@" "$model" "$page" || { fail "$language: it draws no page"; return; }
    note=$("$root/prefix/bin/cm-sample" --help | grep -o -e '--no-note' | head -1) # a PNG of cm-sample says how it was drawn
    "$root/prefix/bin/cm-sample" "$model" -n 100 --labels rows --columns 10 --seed 1 $note --force -q -o "$root/same.png" ||
        { fail "cm-sample"; return; }
    cmp -s "$page" "$root/same.png" || fail "$language: another page than cm-sample's"
    "$@" README.md "$page" 2>/dev/null && fail "$language: it takes what is no model"
    ran="$ran $language"
}

# --- a browser -------------------------------------------------------------------------------

wasm() {
    for tool in emcc node; do command -v $tool >/dev/null || { absent wasm $tool; return; }; done
    [ -f /usr/include/xxhash.h ] && [ -f /usr/include/jansson_config.h ] || { absent wasm "a header of xxHash or jansson"; return; }
    compile wasm LIBRARY="$PWD" MODEL="$model" || return
    server=$root/src/http/server
    [ -x "$server" ] || server=""
    node tests/embed_wasm.js "$root/src/wasm/site" ${server:+"$server" "$model"} && node "$root/src/wasm/bench.js" "$root/src/wasm/site" || fail "wasm: in Node"
    ran="$ran wasm ($(stat -c %s "$root/src/wasm/digits.wasm") bytes)"
    command -v chromium >/dev/null || { echo "embed: the page of wasm was not opened, chromium is absent" | tee -a "${CHECK_SKIPS:-/dev/null}"; return; }
    "$python" tests/embed_browser.py --folder "$root/src/wasm/site" --picture "$root/wasm.png" || fail "wasm: the page"
}

for part in $parts; do $part; done
[ $status = 0 ] && echo "embed:$ran"
exit $status

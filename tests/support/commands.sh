# commands.sh - for scripts that run programs as a user types them: sourced, from the top of the tree.
# status: 1 after a failure; n: commands that were tried.
status=0 n=0
fail() { echo "FAIL $1"; status=1; }
# expect CODE WORD command...: exit code and a word in what it prints
expect() {
    code=$1 word=$2; shift 2; n=$((n + 1))
    out=$("$@" 2>&1 </dev/null); got=$?
    [ $got = "$code" ] || fail "exit $got, expected $code: $* : $out"
    case "$out" in *"$word"*) ;; *) fail "no '$word' in: $out ($*)" ;; esac
}

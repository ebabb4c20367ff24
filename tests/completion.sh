#!/bin/bash
# completion.sh BUILD: what bash, fish and zsh offer for the programs is what their options take.  bash runs the function
# that --completion prints, fish and zsh complete whole lines.
build=$1
status=0 shells=bash
root=$(mktemp -d /tmp/cm-completion-XXXXXX)
trap 'rm -rf "$root"' EXIT
fail() { echo "FAIL completion: $1"; status=1; }
mkdir "$root/bin" "$root/here"
for shell in bash zsh fish; do
    mkdir "$root/$shell"
    for program in "$build"/bin/cm-*; do
        "$program" --completion $shell >"$root/$shell/${program##*/}" || fail "${program##*/} --completion $shell"
    done
done
programs=$(ls "$root/bash")
[ "$(echo "$programs" | wc -w)" -ge 6 ] || fail "there are $(echo "$programs" | wc -w) programs"
"$build/bin/cm-info" --completion tcsh >/dev/null 2>&1 && fail "tcsh is accepted"
"$build/bin/cm-info" --completion >/dev/null 2>&1 && fail "no shell is accepted"

touch "$root/here/picture one.png" "$root/here/model.safetensors"
full=$(cd "$build" && pwd)
cat >"$root/cases" <<'END'
cm-sample --metho|--method
cm-sample m --method one|onestep
cm-sample m --method=one|onestep
cm-sample m -m mul|multistep
cm-sample m --precision |bf16 f32
cm-sample m --count |
cm-sample mod|model.safetensors
cm-sample m --output pic|picture one.png
cm-edit inp|inpaint
cm-edit inpaint mod|model.safetensors
cm-edit inpaint m p --fit c|crop
cm-edit --star|--start
cm-train --objective mean|meanflow
cm-train --preset smo|smoke
cm-train --set huber|huber_c=
cm-convert a b --to d|diffusers
cm-info --chec|--check
cm-info --completion |bash fish zsh
cm-eval --searc|--search-times
cm-data che|check
cm-data check s --crop r|random
END

# bash: the words of the line as readline gives them, = alone.
bash_offers() {
    (
        . "$root/bash/${1%% *}" && cd "$root/here" || exit 1
        line=$1
        COMP_WORDS=(${line//=/ = })
        case $line in *" ") COMP_WORDS+=("") ;; esac
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        "_${COMP_WORDS[0]//-/_}"
        printf '%s\n' "${COMPREPLY[@]}"
    ) | sort | paste -sd' '
}
fish_offers() { (cd "$root/here" && HOME=$root fish -N -c "source $root/fish/${1%% *}; complete -C '$1'") | cut -f1 | sed 's/^--[a-z]*=//' | sort | paste -sd' '; }
# zsh completes only where a terminal is: a session does all lines, and what it offers is collected from the calls of compadd.
cat >"$root/offers.zsh" <<'END'
zmodload zsh/zpty
zpty z zsh -f -i
zpty -w z "fpath=($1 \$fpath); PS1="
zpty -w z 'for f in '$1'/cm-*; do ln -sf $f ${f:h}/_${f:t}; done; autoload -Uz compinit; compinit -u -D'
zpty -w z 'compadd() { case " $* " in *" -O "*|*" -A "*|*" -D "*) builtin compadd "$@"; return ;; esac; local -a __hits; builtin compadd -O __hits "$@"; print -rl -- $__hits >>'$1'/out }'
zpty -w z 'told() { print -r -- done >>'$1'/done }; zle -N told; bindkey "^X" told'
zpty -w z 'echo re""ady'
zpty -r z line '*ready*'
n=0
while IFS='|' read -r line wanted; do
    rm -f $1/out $1/done
    zpty -w -n z $'\x15'"$line"$'\t\x18'
    for i in {1..200}; do [[ -f $1/done ]] && break; sleep 0.05; done
    touch $1/out
    print -r -- "$line|$(sed 's/\\ / /g; /^$/d' $1/out | sort -u | paste -sd' ')"
done
zpty -d z
END
zsh_offers() {
    [ -f "$root/zsh.said" ] || (cd "$root/here" && HOME=$root zsh -f "$root/offers.zsh" "$root/zsh" <"$root/cases" >"$root/zsh.said")
    grep -F "$1|" "$root/zsh.said" | cut -d'|' -f2
}
for shell in fish zsh; do
    if command -v $shell >/dev/null; then shells="$shells $shell"; else
        echo "completion: $shell was not run, it is absent" | tee -a "${CHECK_SKIPS:-/dev/null}"
    fi
done
n=0
while IFS='|' read -r line wanted; do
    for shell in $shells; do
        offered=$(${shell}_offers "$line")
        [ "$shell" = fish ] && offered=${offered//\\ / }
        [ "$offered" = "$wanted" ] || fail "$shell offers '$offered' after '$line', expected '$wanted'"
        n=$((n + 1))
    done
done <"$root/cases"
# Every option of every program is offered, and nothing else.
for program in $programs; do
    "$build/bin/$program" --help | sed -n 's/^  ...\? *--\([a-z-]*\).*/--\1/p' | sort >"$root/options"
    bash_offers "$program --" | tr ' ' '\n' | cmp -s - "$root/options" || fail "bash does not offer the options of $program"
    [ "$(wc -l <"$root/options")" -gt 8 ] || fail "--help of $program has only $(wc -l <"$root/options") options"
    for shell in bash fish zsh; do
        command -v $shell >/dev/null || continue
        $shell -n "$root/$shell/$program" || fail "$shell does not read the completion of $program"
    done
done
[ $status = 0 ] && echo "completion: $n lines in$(printf ' %s' $shells), the options of $(echo $programs | wc -w) programs"
exit $status

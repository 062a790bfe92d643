# shellcheck shell=bash
# Checks for the tests of the command line; sourced. BIN is the folder of the programs, NACRE_SOURCE the tree.
set -uo pipefail
BIN=${NACRE_BIN:?NACRE_BIN is the folder of the programs}
SOURCE=${NACRE_SOURCE:?NACRE_SOURCE is the tree}
work=$(mktemp -d)
export NACRE_HOME=$work/home NACRE_SDK=$SOURCE/sdk/c NO_COLOR=1
unset NACRE_NODE NACRE_KEY NACRE_GENESIS
checks=0 failures=0

nacre() { "$BIN/nacre" "$@"; }

# expect CODE TEXT COMMAND...: the exit code, and a text that standard output or standard error holds ("" for any).
expect() {
    local want=$1 text=$2 code=0
    shift 2
    "$@" >"$work/stdout" 2>"$work/stderr" </dev/null || code=$?
    checks=$((checks + 1))
    if [ "$code" != "$want" ]; then
        echo "FAILED: $*: exit code $code, expected $want" >&2
    elif [ -n "$text" ] && ! grep -qF -- "$text" "$work/stdout" "$work/stderr"; then
        echo "FAILED: $*: no \"$text\" in what it said" >&2
    else
        return 0
    fi
    sed 's/^/    /' "$work/stdout" "$work/stderr" | head -n 20 >&2
    failures=$((failures + 1))
}
# same WHAT GOT WANTED
same() {
    checks=$((checks + 1))
    [ "$2" = "$3" ] && return 0
    echo "FAILED: $1: got '$2', expected '$3'" >&2
    failures=$((failures + 1))
}
# json_is EXPRESSION: of the last standard output; a small check that it is one document holding this text without blanks.
json_is() {
    checks=$((checks + 1))
    tr -d ' \n' <"$work/stdout" >"$work/flat"
    grep -qF -- "$1" "$work/flat" && return 0
    echo "FAILED: no $1 in the JSON document" >&2
    sed 's/^/    /' "$work/stdout" | head -n 20 >&2
    failures=$((failures + 1))
}
finish() {
    echo "$checks checks, $failures failed"
    [ "$checks" -gt 0 ] && [ "$failures" -eq 0 ]
}

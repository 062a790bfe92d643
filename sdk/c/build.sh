#!/bin/sh
# Builds a Nacre program from C: build.sh SRC... -o out.wasm
#
#   -o FILE        the module to write
#   -I DIR, -D X   as for the compiler
#   --stack BYTES  the program's C stack (default 65536). Pages in use cost gas at each call.
#   --memory BYTES the most memory it may grow to (default and limit 268435456)
#   --no-libc      link without wasi-libc
#
# Needs clang-22, lld-22 and wasi-libc (Debian: apt-get install clang-22 lld-22 wasi-libc libclang-rt-22-dev-wasm32).
# CLANG may name another clang; one older than 20 lacks wide arithmetic, which is then left out.
set -eu

sdk=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
clang=${CLANG:-clang-22}
out='' sources='' options='' stack=65536 memory=268435456 libc=yes

fail() {
    echo "build.sh: $*" >&2
    exit 1
}
quote() { printf "'%s' " "$(printf '%s' "$1" | sed "s/'/'\\\\''/g")"; }

while [ $# -gt 0 ]; do
    case $1 in
    -o) [ $# -gt 1 ] || fail "-o needs a file name"; out=$2; shift ;;
    -I | -D) [ $# -gt 1 ] || fail "$1 needs a value"; options="$options$1 $(quote "$2")"; shift ;;
    -I* | -D* | -W* | -std=* | -O*) options="$options$(quote "$1")" ;;
    --stack) [ $# -gt 1 ] || fail "--stack needs a number"; stack=$2; shift ;;
    --memory) [ $# -gt 1 ] || fail "--memory needs a number"; memory=$2; shift ;;
    --no-libc) libc=no ;;
    -h | --help) sed -n '2,11s/^# \{0,1\}//p' "$0"; exit 0 ;;
    -*) fail "unknown option $1 (see --help)" ;;
    *) [ -f "$1" ] || fail "no such file: $1"; sources="$sources$(quote "$1")" ;;
    esac
    shift
done
[ -n "$sources" ] || fail "no source files (see --help)"
[ -n "$out" ] || fail "say where to: -o out.wasm"
command -v "$clang" >/dev/null || fail "$clang not found: apt-get install clang-22 lld-22 wasi-libc libclang-rt-22-dev-wasm32"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM

target='--target=wasm32-wasi -Wno-deprecated'
# Cranelift does not unroll loops and LLVM hardly does for wasm: without the thresholds, metering costs twice as much.
tune='-O3 -msimd128 -mllvm -unroll-partial-threshold=200 -mllvm -unroll-max-count=8 -fno-ident'
major=$("$clang" -dumpversion | cut -d. -f1)
[ "$major" -lt 20 ] || tune="$tune -mwide-arithmetic"
[ "$libc" = yes ] || tune="$tune -fno-builtin" # else loops become calls of strlen and the like
# Paths stay out of the module, so that anyone can build the same bytes.
tune="$tune -ffile-prefix-map=$sdk=sdk -fdebug-compilation-dir=."

eval "set -- $sources"
n=0
for source in "$@" "$sdk/nacre.c" "$sdk/libc.c"; do
    [ "$libc" = yes ] || [ "$source" != "$sdk/libc.c" ] || continue
    n=$((n + 1))
    eval "\"\$clang\" \$target \$tune -std=gnu11 -Wall -Wextra -I\"\$sdk/include\" $options -c \"\$source\" -o \"\$work/$n.o\""
done

# Some clangs run whatever wasm-opt they find when linking with -O: two links then differ. Hence no -O here, and none asked
# for; --no-wasm-opt itself is not used because clang 19 skips the link with it.
link='-Wl,-s -Wl,--stack-first -Wl,--fatal-warnings'
if [ "$libc" = yes ]; then
    link="$link -mexec-model=reactor"
else
    link="$link -nostdlib -Wl,--no-entry"
fi
# shellcheck disable=SC2086 # options without blanks of their own
"$clang" $target $link "-Wl,-z,stack-size=$stack" "-Wl,--max-memory=$memory" "$work"/*.o -o "$work/out.wasm"

if grep -q wasi_snapshot_preview1 "$work/out.wasm"; then
    names=$(tr -c '[:alnum:]_' '\n' <"$work/out.wasm" | grep -E '^.?(args|clock|environ|fd|path|poll|proc|random|sched|sock)_[a-z_]+$' |
        sort -u | tr '\n' ' ')
    fail "the program uses parts of the C library that need an operating system: $names
Programs have no files, sockets or arguments: take these calls out."
fi
mv "$work/out.wasm" "$out"

#!/usr/bin/env bash
# The command line without any network: help, words that are almost right, keys, programs, receipts that are none.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "${BASH_SOURCE[0]}")/testing.sh"
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1

# Help and versions.
expect 0 "usage: nacre VERB" nacre help
expect 2 "usage: nacre VERB" nacre
expect 0 "--receipt FILE" nacre call --help
expect 0 "--receipt FILE" nacre help call
expect 0 "nacre 0." nacre version
expect 0 "nacre 0." nacre --version
expect 0 "" nacre version --json
json_is '"suite":1'

# Words that are almost right.
expect 2 'did you mean "status"' nacre stauts
expect 2 'did you mean "deploy"' nacre deplyo
expect 2 'no verb "xyzzy"' nacre xyzzy
expect 2 'did you mean "deploy"' nacre help deplyo
expect 2 "did you mean --json" nacre version --jsno
expect 2 "no option --frobnicate" nacre version --frobnicate
expect 2 "needs a value" nacre call x --receipt
expect 2 "takes no value" nacre version --json=3
expect 2 'did you mean "export"' nacre key exprt alice
expect 2 "one word too many" nacre version now
expect 2 "something is missing" nacre call
expect 2 'did you mean "programs"' nacre list progams
expect 2 "" nacre --json stauts
expect 2 "" nacre stauts --json
json_is '"name":"USAGE"'
json_is '"exit":2'

# Keys.
expect 0 "made key alice" nacre key new alice
same "mode of a key file" "$(stat -c %a "$NACRE_HOME/keys/alice.key")" 600
same "mode of the folder of keys" "$(stat -c %a "$NACRE_HOME/keys")" 700
account=$(nacre key export alice | awk '$1 == "account" { print $2 }')
same "digits of an account" "${#account}" 64
expect 1 "already" nacre key new alice
expect 2 "not a key's name" nacre key new Alice
expect 2 "is a path" nacre key new ./alice.key
expect 3 'did you mean "alice"' nacre key export alcie
expect 3 "no key file" nacre key export "$work/none.key"
expect 0 "$account" nacre key list
expect 2 "takes no name" nacre key list alice
nacre key export alice --secret >seed 2>/dev/null
same "digits of a seed" "$(tr -d '\n' <seed | wc -c | tr -d ' ')" 64
expect 0 "$account" nacre key new copy --import @seed
expect 2 "process list" nacre key new other --import "$(cat seed)"
echo zz >bad
expect 1 "64 hex digits" nacre key new other --import @bad
chmod 640 "$NACRE_HOME/keys/alice.key"
expect 4 "mode 0640" nacre key export alice
expect 0 "cannot be used" nacre key list
chmod 600 "$NACRE_HOME/keys/alice.key"
echo short >"$NACRE_HOME/keys/broken.key"
chmod 600 "$NACRE_HOME/keys/broken.key"
expect 1 "64 hex digits" nacre key export broken
rm "$NACRE_HOME/keys/broken.key"

# Completion.
for shell in bash zsh fish; do expect 0 deploy nacre completion "$shell"; done
nacre completion bash >completion.bash
expect 0 "" bash -n completion.bash
complete_words() { bash -c 'source completion.bash; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _nacre; echo "${COMPREPLY[*]}"' - "$@"; }
same "completing a verb" "$(complete_words nacre dep)" deploy
same "completing an option" "$(complete_words nacre query --max)" --max-age
same "completing a word" "$(complete_words nacre list clu)" clusters
same "completing a key" "$(complete_words nacre call --key al)" alice
if command -v zsh >/dev/null; then nacre completion zsh >completion.zsh && expect 0 "" zsh -n completion.zsh; fi

# Programs.
expect 2 'did you mean "counter"' nacre new hello -t conuter
expect 2 "not a program's name" nacre new Hello
expect 0 "made hello" nacre new hello
expect 1 "already" nacre new hello
if command -v clang-22 >/dev/null; then
    expect 0 "code" nacre build hello
    first=$(sha256sum <hello/program.wasm)
    expect 0 "" nacre build hello --json
    json_is '"code_hash"'
    same "the same bytes again" "$(sha256sum <hello/program.wasm)" "$first"
    expect 0 "passed" nacre test hello
    sed -i 's/ok "42"/ok "43"/' hello/program_test.txt
    expect 1 'expected: ok "43"' nacre test hello
    echo 'int broken(' >>hello/program.c
    expect 1 "did not build" nacre build hello
    expect 3 "no .c file" nacre build "$NACRE_HOME"
    expect 3 "" nacre build nowhere
fi

# Receipts that are none, and no network to ask.
expect 3 "there is no file" nacre verify none.receipt
echo nonsense >nonsense.receipt
expect 5 "not a receipt" nacre verify nonsense.receipt
: >empty.receipt
expect 5 "" nacre verify empty.receipt --json
json_is '"verified":false'
expect 3 "" nacre verify nonsense.receipt --genesis none.json
echo '{}' >bad.json
expect 5 "" nacre verify nonsense.receipt --genesis bad.json
expect 1 "not a receipt" nacre inspect receipt nonsense.receipt
expect 6 "nacre up" nacre call hello add 5
expect 6 "" nacre call hello add 5 --json
json_is '"name":"NETWORK"'
expect 6 "" nacre status --node http://127.0.0.1:1
expect 2 "not an http" nacre status --node localhost
expect 3 "no devnet is running" nacre down
expect 2 "1 to 15" nacre up --workers 16
echo precious >"$work/file"
mkdir notanet && echo x >notanet/precious
expect 4 "holds no devnet" nacre up --fresh --dir notanet
same "a foreign folder is left alone" "$(cat notanet/precious)" x
expect 1 "PROBLEM" nacre doctor
finish

#!/usr/bin/env bash
# The command line on a devnet: everything a user does, with its exit codes, and what happens when processes die.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "${BASH_SOURCE[0]}")/testing.sh"
# shellcheck disable=SC2329 # called by the trap
clean_up() {
    nacre down --quiet >/dev/null 2>&1
    rm -rf "$work"
}
trap clean_up EXIT
cd "$work" || exit 1

expect 0 "devnet is ready: 3 workers, SIMULATED" nacre up --detach
[ "$failures" = 0 ] || { cat "$NACRE_HOME"/devnet/logs/*.log; exit 1; }
expect 1 "is running" nacre up --detach
expect 0 "cluster 1 main: active, 3 members" nacre status
expect 0 "" nacre status --json
json_is '"tee":"sim"'
expect 0 "SIMULATED" nacre list workers
expect 0 "main" nacre list clusters

# A program. The module is the test's own: no compiler is needed here.
module=$BIN/../guests/template.wasm
expect 3 "" nacre deploy none.wasm
echo nonsense >nonsense.wasm
expect 1 "BAD_WASM" nacre deploy nonsense.wasm
expect 2 "not a program's name" nacre deploy "$module" --name Counter
expect 2 'did you mean "owner"' nacre deploy "$module" --upgrade ownr
expect 2 "needs --notice" nacre deploy "$module" --upgrade timelock
expect 3 "cluster" nacre deploy "$module" --cluster nowhere
expect 0 "deployed counter" nacre deploy "$module" --name counter
program=$(awk '$1 == "program" { print $2 }' "$work/stdout")
same "digits of a program id" "${#program}" 64

# Commands and queries.
same "raw output" "$(nacre call counter add 5 2>/dev/null)" 5
same "by id" "$(nacre query "$program" get 2>/dev/null)" 5
same "by prefix" "$(nacre query "${program:0:12}" get 2>/dev/null)" 5
printf 'add 2' >input
same "input of a file" "$(nacre call counter @input 2>/dev/null)" 7
same "input of standard input" "$(printf 'add 3' | nacre call counter - 2>/dev/null)" 10
same "input of hex digits" "$(nacre call counter --hex 6164642031 2>/dev/null)" 11
expect 0 "2 workers agree" nacre call counter add 1
expect 1 "code 1, write: add N" nacre call counter add x
expect 3 'did you mean "counter"' nacre call conter add 1
expect 2 "write -- before" nacre call counter add -1
expect 1 "write: add N" nacre call counter -- add -1
expect 8 "1000000000" nacre call counter add 1 --gas 7
expect 5 "CODE_MISMATCH" nacre call counter add 1 --pin-code "$(printf '%064d' 1)"
expect 2 "not 64 hex digits" nacre call counter add 1 --pin-code 12
expect 2 "lanes are 0 to 63" nacre call counter add 1 --lane 64
expect 2 "the cluster has 3" nacre query counter get --workers 4
expect 0 "" nacre query counter get --workers 3
same "three workers" "$(cat stdout)" 12
expect 0 "" nacre call counter add 1 --lane 5 --json
json_is '"output":"13"'
json_is '"tee":"sim"'
expect 1 "" nacre query counter nothing --json
json_is '"status":"refused"'
expect 2 "is not a duration" nacre query counter get --max-age soon
expect 5 "STALE" nacre query counter get --min-index 1000000 --timeout 1s
# A program with large buffers does not fit the smallest bucket.
dev=$(nacre key export dev | awk '$1 == "account" { print $2 }')
expect 0 "" nacre deploy "$BIN/../guests/analytics.wasm" --init "min 2 sites $dev $program"
expect 7 "OUT_OF_GAS" nacre call analytics add --gas 1000000
expect 7 "" nacre query analytics mine --gas 1000000 --json
json_is '"status":"outofgas"'
expect 0 "sent" nacre call counter add 1 --no-wait
hash=$(awk '/^sent/ { print $2 }' stdout)
for _ in $(seq 50); do nacre inspect transaction "$hash" >/dev/null 2>&1 && break; sleep 0.1; done
expect 0 "what the gatekeepers stored" nacre inspect transaction "$hash"
printf 'add 1\n' >lines
expect 1 "refused by the program" nacre call counter "add 1" --lines lines
expect 3 "" nacre call counter --lines none
expect 0 "1 lines in 1 commands" nacre call counter --lines lines --hex

# Another account.
nacre key new bob --quiet >/dev/null
expect 3 "holds nothing yet" nacre call counter add 1 --key bob
expect 0 "transferred 1500000000 units" nacre transfer bob 1.5ncr
expect 2 "is not an amount" nacre transfer bob 1.5
expect 2 "is not an amount" nacre transfer bob ncr
expect 8 "" nacre transfer bob 1000000000000ncr
expect 0 "" nacre call counter add 1 --key bob
expect 4 "" nacre freeze counter --key bob
expect 0 "balance" nacre inspect account bob
expect 0 "froze counter" nacre freeze counter
expect 4 "frozen" nacre call counter add 1
expect 0 "runs again" nacre freeze counter --undo
expect 0 "" nacre call counter add 1
expect 0 "upgraded" nacre upgrade counter "$BIN/../guests/auction.wasm"
expect 4 "" nacre upgrade counter "$module" --key bob
expect 0 "proven by block" nacre inspect program counter
expect 0 "header and commit verified" nacre inspect block 3
expect 3 "" nacre inspect block 999999
expect 3 "" nacre inspect worker nobody
expect 3 "" nacre inspect cluster 99
expect 3 "" nacre inspect transaction "$(printf '%064d' 1)"

# Receipts, with any kind of damage.
expect 0 "" nacre deploy "$module" --name again
expect 0 "receipt: command.receipt" nacre call again add 40 --receipt command.receipt
expect 0 "" nacre query again get --receipt query.receipt
cp "$NACRE_HOME/devnet/genesis.json" genesis.json
again=$(nacre inspect program again --json | awk -F'"' '$2 == "id" { print $4; exit }')
expect 0 "VERIFIED" nacre verify command.receipt --genesis genesis.json --out proven --program "$again"
same "the proven output" "$(cat proven)" 40
expect 0 "SIMULATED" nacre verify query.receipt --genesis genesis.json
mkdir -p "$NACRE_HOME/networks/nacre-without-a-genesis"
expect 0 "" nacre verify query.receipt --json
json_is '"verified":true'
json_is '"tee":"sim"'
expect 5 "not of the one expected" nacre verify command.receipt --program "$program"
expect 5 "not the one expected" nacre verify command.receipt --code "$(printf '%064d' 1)"
expect 0 "NOT verified here" nacre inspect receipt command.receipt
sed 's/"power":10/"power":11/' genesis.json >forged.json
expect 5 "" nacre verify command.receipt --genesis forged.json
for file in command query; do
    size=$(wc -c <$file.receipt)
    head -c $((size - 1)) $file.receipt >cut.receipt
    expect 5 "" nacre verify cut.receipt --genesis genesis.json
    { cat $file.receipt; printf '\0'; } >long.receipt
    expect 5 "" nacre verify long.receipt --genesis genesis.json
    for at in $(seq 3 $((size / 23)) $((size - 1))); do
        byte=$(od -An -tu1 -j "$at" -N 1 $file.receipt | tr -d ' ')
        cp $file.receipt bent.receipt
        # shellcheck disable=SC2059 # the format is the byte
        printf "\\$(printf %03o $((byte ^ 4)))" | dd of=bent.receipt bs=1 seek="$at" conv=notrunc status=none
        expect 5 "" nacre verify bent.receipt --genesis genesis.json
    done
done

# A new home knows no network: the genesis must be given once.
node=$(awk -F'"' '$2 == "node" { print $4; exit }' "$NACRE_HOME/devnet/devnet.json")
key=$NACRE_HOME/keys/dev.key
export NACRE_HOME=$work/other
expect 3 "is new here" nacre query again get --node "$node" --key "$key"
expect 5 "" nacre query again get --node "$node" --key "$key" --genesis forged.json
expect 0 "" nacre query again get --node "$node" --key "$key" --genesis genesis.json
expect 0 "" nacre query again get --node "$node" --key "$key"
export NACRE_HOME=$work/home

# Processes die.
pid_of() { nacre status --json | tr -d ' \n' | sed -n "s/.*\"name\":\"$1\",\"pid\":\([0-9]*\).*/\1/p"; }
before=$(pid_of w1)
kill -KILL "$before"
same "with a worker killed" "$(nacre call again add 1 2>/dev/null)" 41
for _ in $(seq 100); do after=$(pid_of w1); [ "${after:-0}" != 0 ] && [ "$after" != "$before" ] && break; sleep 0.1; done
same "w1 came back" "$([ "${after:-0}" != 0 ] && [ "$after" != "$before" ] && echo yes)" yes
kill -KILL "$(pid_of node)"
for _ in $(seq 100); do nacre status >/dev/null 2>&1 && break; sleep 0.1; done
same "with the node killed" "$(nacre call again add 1 2>/dev/null)" 42
kill -KILL "$(pid_of keyd)"
same "with the key service killed" "$(nacre call again add 1 2>/dev/null)" 43

# Stop, go on, stop.
expect 0 "stopped" nacre down
expect 6 "is not running" nacre call again add 1
expect 0 "VERIFIED" nacre verify command.receipt
expect 0 "devnet is ready" nacre up --detach
same "after a restart" "$(nacre query again get 2>/dev/null)" 43
same "and further" "$(nacre call again add 1 2>/dev/null)" 44
expect 0 "" nacre doctor
expect 0 "stopped" nacre down
checks=$((checks + 1))
if pgrep -f "$work/home/devnet" >/dev/null; then
    echo "FAILED: processes are left" >&2
    failures=$((failures + 1))
fi
finish

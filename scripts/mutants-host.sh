#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Usage: scripts/mutants-host.sh [ARGUMENT…]
#
# Changes the files that need no kernel in one place at a time with cargo-mutants, and checks
# whether the tests of scripts/test-host.sh notice. Prints the changes that no test has noticed, and
# the number of changes of each outcome. Takes an hour or two. ARGUMENTs for cargo-mutants choose a
# part: `--re protocol/replay`, `--shard 0/10`, `--list`.

# shellcheck source=scripts/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"
begin "$@"

start_log mutants-host
host_begin
# cargo-mutants changes only files below the manifest, and knows them by paths without "..". So the
# crate's root goes into src/ of a copy.
rm -rf "$work/mutants"
mkdir -p "$work/mutants"
cp -r "$work/src" "$work/tests-host" "$work/mutants/"
cd "$work/mutants"
mv tests-host/Cargo.lock .
ln -s tests-host/fuzz fuzz
sed -e 's|^members = .*|members = ["tests-host/kernel", "tests-host/macros"]|' \
	-e 's|path = "kernel"|path = "tests-host/kernel"|' \
	-e 's|^name = "wireguard-host"|&\nbuild = "tests-host/build.rs"|' tests-host/Cargo.toml \
	>Cargo.toml
rm tests-host/Cargo.toml
mv tests-host/src/fuzz* tests-host/src/wycheproof.rs src/
awk '
	/^#\[path = / || /^mod files/ { next }
	/^pub\(crate\) use files/ { skip = 1 }
	/^mod linux;/ { print "#[path = \"../tests-host/src/linux/mod.rs\"]" }
	!skip && !/^}/
	/^};/ { skip = 0 }' tests-host/src/lib.rs >src/lib.rs
rm tests-host/src/lib.rs

status=0
run_job in_cargo env CARGO_TARGET_DIR="$work/target-mutants" \
	cargo mutants --dir "$work/mutants" --in-place --no-shuffle --output "$work" --timeout 120 \
	--colors never --file 'src/protocol/**' --file 'src/allowedips.rs' \
	--file 'src/allowedips/*.rs' \
	--file 'src/ratelimiter.rs' --file 'src/peerlookup.rs' --exclude '**/tests.rs' \
	--exclude '**/tests/*.rs' --exclude-re '\btests::' "$@" -- --lib || status=$?
# 2: the tests missed some changes. 3: with some changes the tests did not end.
case $status in
0 | 2 | 3) ;;
*) die "cargo mutants ended with status $status" ;;
esac
[[ " $* " == *' --list '* ]] ||
	(cd "$work/mutants.out" && wc -l caught.txt missed.txt timeout.txt unviable.txt)

#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Usage: scripts/fuzz.sh [SECONDS [TARGET…]]
#
# Lets libFuzzer look for bytes that make one of the functions in tests-host/src/fuzz/ fail, with
# AddressSanitizer watching, for SECONDS in all (default: 60), divided among the TARGETs:
#
#     aead        sealing and opening messages in place
#     allowedips  the trie of allowed IPs
#     keypairs    the three places for keypairs
#     limiter     the rate limiter
#     messages    one message of any kind from any sender
#     peers       two peers, and a network that loses, repeats, reorders and forges messages
#     replay      the replay window
#
# Without a TARGET, all of them. Inputs that reach new code are kept in the cache, for the next
# time. An input that fails is kept in the log folder of the cache; copied to
# tests-host/fuzz/corpus/TARGET/, it becomes part of scripts/test-host.sh.

# shellcheck source=scripts/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"
begin "$@"
amd64_only

seconds=${1:-60}
[[ $seconds =~ ^[0-9]+$ ]] || die "$seconds is not a number of seconds"
mapfile -t all < <(cd "$tree/tests-host/fuzz/corpus" && printf '%s\n' *)
[[ $# -gt 1 ]] && targets=("${@:2}") || targets=("${all[@]}")
for target in "${targets[@]}"; do
	[[ " ${all[*]} " == *" $target "* ]] ||
		die "there is no target $target; there are: ${all[*]}"
done

start_log fuzz
host_begin
libraries=/usr/lib/llvm-19/lib/clang/19/lib/linux
flags=(
	# Debian's compiler has no AddressSanitizer of its own, so that of clang is linked.
	-Zsanitizer=address -Zexternal-clangrt -Clinker=clang-19 -Clink-arg=-fsanitize=address
	# The coverage that libFuzzer is guided by.
	-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4
	-Cllvm-args=-sanitizer-coverage-inline-8bit-counters
	-Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares
	-Ccodegen-units=1
)
# RUSTC_BOOTSTRAP: a stable compiler accepts sanitizers only with it.
step "building the programs to fuzz" in_cargo env RUSTC_BOOTSTRAP=1 RUSTFLAGS="${flags[*]}" \
	CUSTOM_LIBFUZZER_PATH="$libraries/libclang_rt.fuzzer-x86_64.a" \
	CUSTOM_LIBFUZZER_STD_CXX=stdc++ \
	cargo build --locked --release --target x86_64-unknown-linux-gnu --package fuzz

failed=0
programs=$work/target/x86_64-unknown-linux-gnu/release
share=$(((seconds + ${#targets[@]} - 1) / ${#targets[@]}))
for target in "${targets[@]}"; do
	found=$work/corpus/$target
	mkdir -p "$found"
	status=0
	run_job in_cargo "$programs/$target" -artifact_prefix="$cache/log/fuzz-$target-" \
		-max_total_time="$share" -timeout=30 -print_final_stats=1 -verbosity=0 \
		"$found" "fuzz/corpus/$target" >"$work/.output" 2>&1 || status=$?
	cat "$work/.output" >>"$log"
	runs=$(sed -n 's/^stat::number_of_executed_units: //p' "$work/.output")
	rate=$(sed -n 's/^stat::average_exec_per_sec: *//p' "$work/.output")
	if [[ $status -eq 0 && -n $runs ]]; then
		echo "$target: $runs runs, ${rate:-?} a second, nothing found"
	else
		failed=1
		tail -n 60 "$work/.output"
		echo "$target: failed; the input is in $cache/log/"
	fi
done
exit "$failed"

#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Usage: scripts/test-host.sh [FILTER]
#
# Builds the files that need no kernel (src/protocol/, the allowed IPs, the tables of peers, the
# rate limiter) and the faces of the crypto library as a program of user space, in the build
# environment. Runs their tests: the KUnit suites, the vectors of Wycheproof, and the targets of
# scripts/fuzz.sh with their corpus and with pseudorandom bytes. Prints the results in KTAP. With a
# FILTER, runs only the tests whose path contains it.
#
# The crates come from crates.io, in the versions of tests-host/Cargo.lock. They are kept in the
# cache.

# shellcheck source=scripts/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"
begin "$@"

start_log test-host
host_begin
step "building the tests that need no kernel" in_cargo cargo test --locked --lib --no-run

status=0
run_job in_cargo cargo test --locked --lib -- ${1:+"$1"} >"$work/.output" 2>>"$log" || status=$?
cat "$work/.output" >>"$log"
grep -E '^test .* \.\.\. (ok|FAILED)$' "$work/.output" >"$work/.results" ||
	die "no test was run: see $log"
echo 'KTAP version 1'
echo "1..$(wc -l <"$work/.results")"
sed -n '/^failures:$/,/^failures:$/s/^/# /p' "$work/.output"
awk '{ print ($NF == "ok" ? "ok " : "not ok ") NR, $2 }' "$work/.results"
exit "$status"

#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Usage: scripts/litmus.sh [NAME…]
#
# Checks the litmus tests in docs/litmus/ with the kernel's own memory model and scripts
# (tools/memory-model in its source): herd7 looks at all executions of each, and the result has to
# be the one that the test names. Without a NAME all of them are checked.
#
# herd7 is in no package of Debian. It comes with `opam install herdtools7`, and has to be in PATH,
# in a version that knows this kernel's model (7.58 or later).
#
# Environment: SERIES and FLAVOUR, the kernel (default: 7.3 and cloud-amd64).

# shellcheck source=scripts/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"
begin "$@"

command -v herd7 >/dev/null ||
	die "herd7 is missing: install it with \`opam install herdtools7\`, then run this again"
[[ -x /usr/bin/time ]] ||
	die "the kernel's script needs /usr/bin/time: install the package time, then run this again"
tests=("$tree"/docs/litmus/*.litmus)
if [[ $# -gt 0 ]]; then
	tests=("${@/#/$tree/docs/litmus/}")
	tests=("${tests[@]/%/.litmus}")
fi
for test in "${tests[@]}"; do
	[[ -e $test ]] || die "there is no $test"
done

call kernel kernel.sh
use_part "$kernel"
scratch run
# The kernel's script writes what herd7 says to a file of the test's path under --destdir.
mkdir -p "$run$tree/docs/litmus"
cd "$kernel/source/tools/memory-model"
scripts/checktheselitmus.sh --destdir "$run" -- "${tests[@]}" ||
	die "herd7's result is not the one that a test names: see the lines with ^^^ or !!!"

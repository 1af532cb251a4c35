#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Usage: scripts/demo.sh
#
# Boots Debian's kernel with the module built from this tree, and runs selftests/demo.sh in it: two
# network namespaces, a tunnel between them set up with the stock tools, and traffic through it.
#
# Environment: SUITE, SERIES, ARCH and FLAVOUR, the kernel (default: trixie, 7.3, the machine's
# architecture and cloud-$ARCH).

# shellcheck source=scripts/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"
begin "$@"

demo=$tree/selftests/demo.sh
run_job "$scripts/boot.sh" --module rust --memory "$(declared "$demo" memory 1024)" \
	--timeout $((3 * $(declared "$demo" timeout 300))) --console "$cache/log/demo-console.log" \
	-- /selftests/demo.sh ||
	die "the demonstration failed; the kernel's console is in $cache/log/demo-console.log"

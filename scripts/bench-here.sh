#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Usage: scripts/bench-here.sh [OPTION…]
#
# Measures this module beside the C module on this machine, at its full speed, and prints a block of
# text for a report. Builds the module, then loads both modules in turn; traffic goes through a
# tunnel between two network namespaces. The machine has to run a kernel that the module is built
# for, and should have no other work. Nothing is installed.
#
#     --ko FILE           this module, already built: nothing is built then, and the machine may be
#                         another one than those that the lab runs on
#     --c FILE            the C module (default: the one that the running kernel came with)
#     --yes               do not ask whether modules may be unloaded and loaded
#     --seconds N         time of each measurement (default: 5)
#     --rounds "NAME…"    the order of the modules (default: c rust rust c)
#
# Does nothing where there is a WireGuard interface. The module that was loaded before is loaded
# again in the end, also after Ctrl-C.
#
# selftests/bench/here.sh, which does the measuring, runs without the rest of this tree but
# selftests/.

unset SERIES FLAVOUR
# shellcheck disable=SC2034 # lib.sh reads it
running_kernel=yes

# shellcheck source=scripts/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"
case " $* " in
*' --help '* | *' -h '*) usage; exit 0 ;;
*' --ko '*) exec "$tree/selftests/bench/here.sh" "$@" ;;
esac
begin "$@"
[[ $(uname -r) == "$SERIES".*"-$FLAVOUR" ]] ||
	die "this machine runs $(uname -r), and the module is built for a kernel of trixie-backports:" \
		"boot one (linux-image-$ARCH), or name a module for this one with --ko FILE"
call module module.sh
"$tree/selftests/bench/here.sh" --ko "$module" "$@"

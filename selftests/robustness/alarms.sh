#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The debug kernel makes mistakes on purpose, by its own LKDTM, and must report each of them. The
# checks for reports must find them: kernel_silent() here, and the check of the console in
# scripts/test.sh. Otherwise the silence of all other tests would mean nothing.
#
# guests: 1
# kernels: kasan
# complaints: expected
# timeout: 60

. "$(dirname "$0")/../lib/lib.sh"

# sets_off KIND TEXT: makes a mistake of this kind, which must be reported with this text.
sets_off() {
	kernel_silent
	echo "$1" > /sys/kernel/debug/provoke-crash/DIRECT
	dmesg | grep -F "$2"
	must_fail kernel_silent
	dmesg -C
}

t use_after_free 'a use of freed memory is reported, and the report is found'
use_after_free() { sets_off READ_AFTER_FREE 'BUG: KASAN: slab-use-after-free'; }

t bounds 'so is an index beyond the end of an array'
bounds() { sets_off ARRAY_BOUNDS 'UBSAN: array-index-out-of-bounds'; }

t refcount 'so is a reference that was dropped too often'
refcount() { sets_off REFCOUNT_DEC_NEGATIVE 'refcount_t: decrement hit 0; leaking memory'; }

t warning 'so is a plain warning of the kernel'
warning() { sets_off WARNING 'WARNING: '; }

run "$@"

#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A kernel that looks for mistakes makes some on purpose, by its own LKDTM: it reports them, and what listens here, and in
# scripts/test.sh to the console, hears it. Otherwise the silence of all other tests would mean nothing.
#
# guests: 1
# kernels: kasan
# complaints: expected
# timeout: 60

. "$(dirname "$0")/lib.sh"

# sets_off KIND TEXT: a mistake of this kind is reported in these words.
sets_off() {
	kernel_silent
	echo "$1" > /sys/kernel/debug/provoke-crash/DIRECT
	dmesg | grep -F "$2"
	must_fail kernel_silent
	dmesg -C
}

t use_after_free 'the use of memory that was freed is heard of'
use_after_free() { sets_off READ_AFTER_FREE 'BUG: KASAN: slab-use-after-free'; }

t bounds 'an index beyond the end of an array, too'
bounds() { sets_off ARRAY_BOUNDS 'UBSAN: array-index-out-of-bounds'; }

t refcount 'a reference that was dropped too often, too'
refcount() { sets_off REFCOUNT_DEC_NEGATIVE 'refcount_t: decrement hit 0; leaking memory'; }

t warning 'and what the kernel warns of by itself'
warning() { sets_off WARNING 'WARNING: '; }

run "$@"

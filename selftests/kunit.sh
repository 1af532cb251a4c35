#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The unit tests. They are part of a module built for a kernel with KUnit, and run when it is
# loaded.
#
# guests: 1
# architectures: amd64 arm64
# kernels: kasan
# append: kunit.enable=1 kunit.autorun=1
# timeout: 120

. "$(dirname "$0")/lib/lib.sh"

dmesg -C
if ! insmod "$KO"; then
	echo 'Bail out! the module cannot be loaded'
	exit 1
fi
# The tests report in the kernel's log, among other things; test.sh looks for complaints in it.
dmesg -t | tee /tmp/kunit
grep -qE '^ *ok [0-9]' /tmp/kunit && ! grep -qE '^ *not ok [0-9]' /tmp/kunit

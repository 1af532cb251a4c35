#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The packages of the module, in a guest that has them as /root/*.deb: the kernel loads the module
# by itself, and its own one where it does not accept ours or has it no more. scripts/test-deb.sh
# runs it, and names the tests for each guest. $ACCEPTED is `no` where the kernel is to refuse the
# module: secure boot, and no key, or one that is not enrolled.

. "$(dirname "$0")/lib/lib.sh"

UPDATES=/usr/lib/modules/$(uname -r)/updates

# The guest's kernel is there, but not as a package.
packages_installed() {
	[[ ${ACCEPTED:-yes} == no ]] || WG_MODULE=rust
	[[ ! -d $UPDATES ]] || return 0
	dpkg -i --force-depends /root/*.deb > /tmp/dpkg.log 2>&1 || { cat /tmp/dpkg.log; return 1; }
	# The module in memory is compared with this file.
	python3 -c 'import lzma, sys; open(sys.argv[2], "wb").write(lzma.open(sys.argv[1]).read())' \
		$UPDATES/wireguard.ko.xz $KO || return
	ip link add wg-first type wireguard && ip link del wg-first
}

t preferred 'the kernel loads the module of the package, with its types, when an interface is made'
preferred() {
	[[ $(modinfo -n wireguard) == */updates/wireguard.ko.xz ]]
	[[ -n $(modinfo -F implementation_version wireguard) ]]
	[[ -e /sys/kernel/btf/wireguard ]]
	# The guest's dpkg installs no documents.
	[[ -z $(dpkg --verify | grep wireguard | grep -v ' /usr/share/doc/') ]]
}

t carries 'it carries traffic'
carries() {
	pair 4
	ping_both
}

secure_boot() { dmesg | grep 'secureboot: Secure boot enabled'; }

t signed 'with secure boot the kernel accepts the module with a key that is enrolled, unchanged'
signed() {
	secure_boot
	[[ -n $(modinfo -F signer wireguard) ]]
	rmmod wireguard
	python3 - $KO /tmp/changed.ko <<-'END'
		import sys
		module = bytearray(open(sys.argv[1], "rb").read())
		module[len(module) // 2] ^= 1
		open(sys.argv[2], "wb").write(module)
	END
	must_fail insmod /tmp/changed.ko
	insmod $KO
}

t refused 'where ours is not accepted, the kernel has its own module, and the log says why'
refused() {
	secure_boot
	rmmod wireguard
	must_fail insmod $KO
	# Also where programs may not write to the log.
	sysctl -q kernel.printk_devkmsg=off
	modprobe wireguard
	[[ $(< /sys/module/wireguard/taint) != *O* ]]
	rmmod wireguard
	sysctl -q kernel.printk_devkmsg=on
	pair 4
	ping_both
	[[ $(< /sys/module/wireguard/taint) != *O* ]]
	dmesg | grep 'wireguard-rust: .*/updates/wireguard.ko.xz cannot be loaded (.*Key was rejected.*): loading the'
}

t removed 'without the package the kernel has its own module'
removed() {
	rmmod wireguard
	dpkg -P $(dpkg-query -W -f '${Package}\n' 'wireguard-rust*')
	[[ ! -e $UPDATES && ! -e /usr/lib/modprobe.d/zz-wireguard-rust.conf ]]
	[[ $(modinfo -n wireguard) == */kernel/drivers/net/wireguard/wireguard.ko.xz ]]
	ip link add wg0 type wireguard
	[[ $(< /sys/module/wireguard/taint) != *O* ]]
	ip link del wg0
}

[[ " $* " == *' --'* ]] || packages_installed || exit
run "$@"

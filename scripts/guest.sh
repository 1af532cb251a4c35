#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Usage: scripts/guest.sh
#
# Makes the file system of the guests as an initramfs: a Debian 13 system with the tools that
# configure and try WireGuard, and the modules of the stock kernel. wireguard-tools are those of
# forky, since the ones of trixie lack features that the upstream selftest uses. Some files of the
# kernel's source are in the guest unmodified: the selftest /selftests-upstream/wireguard/netns.sh,
# the helpers of all selftests in /selftests-upstream/kselftest, and in /usr/src/linux the netlink
# specifications and their client, tools/net/ynl.
#
# Prints the paths of the two parts of the initramfs that seldom change, which are to be
# concatenated: the system, and the files of the kernel. scripts/boot.sh adds the rest.
#
# Environment: SUITE, SERIES, ARCH and FLAVOUR, the kernel (default: trixie, 7.3, the machine's
# architecture and cloud-$ARCH). SYSTEM=services makes a larger system, with the services that set
# WireGuard up.

# shellcheck source=scripts/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"
begin "$@"

packages=(
	iproute2 iperf3 iputils-ping iputils-arping ncat iptables nftables wireguard-go ethtool
	tcpdump procps kmod conntrack wireguard-tools
	psmisc python3 systemd python3-pyroute2 python3-yaml python3-jsonschema python3-cryptography
)
name=guest
if [[ $SYSTEM == services ]]; then
	packages+=(udev dbus network-manager netplan.io bird2 systemd-container podman crun)
	name+=-services
fi

call_host_env
mirror=$(mirror)

# debian DIRECTORY [OPTION…]: makes a system of trixie with wireguard-tools of forky, and nothing
# else of forky. The OPTIONs are mmdebstrap's.
debian() {
	local directory=$1
	shift
	printf '%s\n' 'Package: *' 'Pin: release n=forky' 'Pin-Priority: -1' '' \
		'Package: wireguard-tools' 'Pin: release n=forky' 'Pin-Priority: 990' >"$part/forky"
	make_system "$directory" 'trixie forky' "${excluded[@]}" \
		--setup-hook="copy-in $part/forky /etc/apt/preferences.d" "$@" || return
	rm -f "$part/forky" "$directory/etc/apt/preferences.d/forky"
}

# Exchanges the programs of the system for those of another architecture, which cannot be run here.
# Nor can the scripts that set up packages, so what such scripts have made on this architecture
# stays: accounts, alternatives, bytecode of Python.
exchange() {
	local list packages native=$part/native
	# shellcheck disable=SC2016 # for dpkg-query to expand
	list=$(in_env "$part" dpkg-query --admindir=root/var/lib/dpkg -W -f '${Package}\n') || return
	mapfile -t packages <<<"$list"
	mv "$part/root" "$native"
	debian "$part/root" --variant=extract --architectures="$ARCH" || return
	in_env "$part" rsync -a --ignore-existing --exclude='*x86*64*' --exclude=ld.so.cache \
		native/ root/ || return
	rm -rf "$native" "$part/root/usr/lib/aarch64-linux-gnu"/{gconv,perl-base}
}

# Removes files that a guest, which is never upgraded, does not need: less to unpack is a quicker
# boot.
slim() {
	local root=$part/root
	rm -rf "$root"/var/cache/apt "$root"/var/lib/apt \
		"$root"/usr/share/{doc,man,info,locale,zoneinfo,bash-completion,i18n} \
		"$root"/usr/lib/x86_64-linux-gnu/{gconv,perl-base} "$root"/usr/bin/perl*
	rm -f "$root/etc/resolv.conf"
	ln -snf ../run/resolv.conf "$root/etc/resolv.conf"
}

pack() {
	# shellcheck disable=SC2016 # expanded by the inner shell
	in_env "$part/$1" bash -c \
		'set -o pipefail; find . -print0 | cpio --quiet --null -o -H newc --owner=+0:+0 >"$1"' \
		pack "$part/$2"
}

# Copies the modules without the kernel, and the selftests and netlink files of the kernel's source,
# unmodified.
collect_kernel() {
	local modules=$part/root/usr/lib/modules linux=$part/root/usr/src/linux
	mkdir -p "$modules" "$part/root/selftests-upstream" "$linux/Documentation" \
		"$linux/tools/net"
	cp -a "$kernel/stock/usr/lib/modules/$version" "$modules/"
	rm -f "$modules/$version"/{vmlinuz,System.map,config,build,source}
	cp -a "$kernel/source/tools/testing/selftests/"{wireguard,kselftest} \
		"$part/root/selftests-upstream/"
	rm -rf "$part/root/selftests-upstream/wireguard/qemu"
	cp -a "$kernel/source/Documentation/netlink" "$linux/Documentation/"
	cp -a "$kernel/source/tools/net/ynl" "$linux/tools/net/"
}

start_log
excluded=(--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/info/*')
key="$mirror ${packages[*]} ${excluded[*]} $(declare -f make_system debian slim pack)"
[[ $ARCH == amd64 ]] || name+=-$ARCH
[[ -z $cross ]] || key+=" $(declare -f exchange)"
if part_begin "$name" system "$key"; then
	need_space 4
	say "making the guests' system"
	scratch run
	step "making a Debian 13 system" debian "$part/root"
	[[ -z $cross ]] || step "exchanging its programs for those of $ARCH" exchange
	slim
	step "packing it" pack root system.cpio
	rm -rf "$part/root"
	part_end
fi
system=$part

call kernel kernel.sh
use_part "$kernel"
version=$(<"$kernel/version")
if part_begin "guest-$target" "$version" "$kernel $(declare -f collect_kernel pack)"; then
	collect_kernel
	step "packing what comes with the kernel" pack root kernel.cpio
	rm -rf "$part/root"
	part_end
fi
echo "$system/system.cpio"
echo "$part/kernel.cpio"

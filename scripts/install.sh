#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Usage: scripts/install.sh
#
# Builds the module for the newest kernel of a series and flavour, and installs it on this machine
# as updates/wireguard.ko of that kernel, where modprobe prefers it to the kernel's own. To undo it,
# remove that file and run depmod.
#
# Environment: SERIES and FLAVOUR, the kernel (default: the running one's, if it is a kernel of
# trixie-backports); DESTDIR, put before /lib/modules.

# shellcheck disable=SC2034 # lib.sh reads it
running_kernel=yes

# shellcheck source=scripts/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"
begin "$@"

command -v depmod >/dev/null ||
	die "depmod is missing: install the package kmod, then run this again"

call kernel kernel.sh
version=$(<"$kernel/version")
modules=${DESTDIR:-}/lib/modules/$version
[[ -n ${DESTDIR:-} || -d $modules ]] ||
	die "the kernel $version is not installed on this machine: install or upgrade" \
		"linux-image-$FLAVOUR from $archive, then run this again"
call module module.sh

mkdir -p "$modules/updates"
cp "$module" "$modules/updates/wireguard.ko.new"
mv "$modules/updates/wireguard.ko.new" "$modules/updates/wireguard.ko"
depmod ${DESTDIR:+-b "$DESTDIR"} "$version"
say "installed $modules/updates/wireguard.ko"
[[ -z ${DESTDIR:-} ]] || exit 0
if [[ $version != "$(uname -r)" ]]; then
	say "It is for the kernel $version, and this machine runs $(uname -r): boot that kernel."
elif [[ -d /sys/module/wireguard ]]; then
	say "Another module wireguard is loaded. Unloading it takes all WireGuard interfaces away." \
		"Reboot, or stop them, load this one (modprobe -r wireguard; modprobe wireguard)," \
		"and start them again."
fi

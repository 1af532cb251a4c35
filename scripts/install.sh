#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Usage: scripts/install.sh
#
# Builds the module and installs it on this machine as updates/wireguard.ko of the kernel that it
# was built for, where modprobe prefers it to the kernel's own. To undo it, remove that file and run
# depmod.
#
# Environment: SERIES and FLAVOUR, the kernel (default: the running one's, if it is a kernel of
# trixie-backports); DESTDIR, put before /lib/modules.

# The running kernel's release, such as 7.3.4+deb13-amd64, names the series and the flavour.
if [[ -z ${SERIES:-}${FLAVOUR:-} &&
	$(uname -r) =~ ^([7-9]\.[0-9]+)\.[0-9]+\+deb13-([a-z0-9-]+)$ ]]; then
	export SERIES=${BASH_REMATCH[1]} FLAVOUR=${BASH_REMATCH[2]}
fi

# shellcheck source=scripts/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"
begin "$@"

command -v depmod >/dev/null ||
	die "depmod is missing: install the package kmod, then run this again"

call module module.sh
call kernel kernel.sh
version=$(<"$kernel/version")
modules=${DESTDIR:-}/lib/modules/$version
[[ -n ${DESTDIR:-} || -d $modules ]] ||
	die "the kernel $version is not installed on this machine: install or upgrade" \
		"linux-image-$FLAVOUR from trixie-backports, then run this again"

mkdir -p "$modules/updates"
cp "$module" "$modules/updates/wireguard.ko.new"
mv "$modules/updates/wireguard.ko.new" "$modules/updates/wireguard.ko"
depmod ${DESTDIR:+-b "$DESTDIR"} "$version"
say "installed $modules/updates/wireguard.ko"
if [[ -z ${DESTDIR:-} && -d /sys/module/wireguard ]]; then
	say "A module wireguard is loaded now, and stays until it is unloaded:" \
		"modprobe -r wireguard && modprobe wireguard"
fi

#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Usage: scripts/firmware.sh
#
# Unpacks what boots a machine with secure boot: firmware in which Microsoft's keys are enrolled
# (OVMF), shim and GRUB as Debian has them signed, and virt-fw-vars, which edits the firmware's
# variables. Prints the folder in the cache that has them.

# shellcheck source=scripts/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"
begin "$@"

call_host_env
mirror=$(mirror)

# The Python packages are those that virt-fw-vars imports.
unpack_firmware() {
	in_env "$part" apt-get download ovmf shim-signed grub-efi-amd64-signed python3-virt-firmware \
		python3-{cffi-backend,cryptography,importlib-resources,more-itertools,pefile} || return
	local deb
	for deb in "$part"/*.deb; do
		in_env "$part" dpkg-deb -x "$deb" "$part" || return
	done
	rm -f "$part"/*.deb
}

start_log
if part_begin firmware trixie "$mirror $(declare -f unpack_firmware)"; then
	step "unpacking firmware" unpack_firmware
	part_end
fi
echo "$part"

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
# The Python packages are those that virt-fw-vars imports.
packages=(ovmf shim-signed grub-efi-amd64-signed python3-virt-firmware
	python3-{cffi-backend,cryptography,importlib-resources,more-itertools,pefile})
mirror=$(mirror)

start_log
if part_begin firmware trixie "$mirror ${packages[*]} $(declare -f unpack)"; then
	step "unpacking firmware" unpack "${packages[@]}"
	part_end
fi
echo "$part"

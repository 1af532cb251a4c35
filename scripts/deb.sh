#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Usage: scripts/deb.sh
#
# Makes Debian packages of the module in the folder PACKAGES, and prints their paths:
#
#     wireguard-rust-modules-RELEASE   the module for that release of the kernel, such as
#                                      7.3.4+deb13-cloud-amd64: stripped, with its type information
#                                      (BTF), compressed as the kernel's own modules
#     wireguard-rust-modules-FLAVOUR   depends on the one for the newest release of the flavour
#     wireguard-rust-common            what they share
#     wireguard-rust-tools             wgx, which shows what the module tells
#     wireguard-rust-dkms              the source, which dkms builds for other kernels
#
# The version is that of CHANGELOG.md. Two runs on the same source and for the same kernel make the
# same packages, to the byte: nothing in them depends on the machine, the time or a path. lintian
# has nothing to say of them.
#
# Environment: SUITE, SERIES, ARCH and FLAVOUR, the kernel (default: trixie, 7.3, the machine's
# architecture and cloud-$ARCH). MODULE_KEY and MODULE_CERTIFICATE, a key and its certificate (both
# PEM) that sign the module (default: it is not signed). PACKAGES (default: packages/ of the cache,
# with SUITE=forky packages-forky/). DEBFULLNAME and DEBEMAIL, the packages' maintainer.

# shellcheck source=scripts/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"
begin "$@"

call env buildenv.sh
call kernel kernel.sh
use_part "$env"
use_part "$kernel"
release=$(<"$kernel/version")
# The version of the kernel's packages begins the key of its part.
kernel_version=$(head -n 1 "$kernel/.complete" | cut -d ' ' -f 1)
maintainer=${DEBFULLNAME:-The WireGuard for Rust developers}
maintainer+=" <${DEBEMAIL:-wireguard-rust@noreply.invalid}>"
[[ -z ${MODULE_KEY:-} || -e $MODULE_KEY && -e ${MODULE_CERTIFICATE:-} ]] ||
	die "MODULE_KEY=$MODULE_KEY needs that file, and a certificate in MODULE_CERTIFICATE"

# ---- the version -------------------------------------------------------------------------------

heading=$(grep -m 1 '^## ' "$tree/CHANGELOG.md")
date=$(grep -m 1 -oE '^[0-9]{4}-[0-9]{2}-[0-9]{2}' "$tree/CHANGELOG.md")
version=$(awk '{ print $2 }' <<<"${heading%,*}")
# A version that is not released yet sorts before itself.
[[ $heading != *"not released"* ]] || version+="~${date//-/}"
[[ $version =~ ^[0-9.]+(~[0-9]+)?$ ]] || die "CHANGELOG.md does not begin with a version and a date"

# ---- the tools that make packages --------------------------------------------------------------

packages=(debhelper dh-dkms lintian)
mirror=$(mirror)

if part_begin packer trixie "$mirror ${packages[*]} $(declare -f make_system)"; then
	need_space 2
	scratch run
	step "making an environment for packages" make_system "$part" trixie
	part_end
fi
packer=$part

# ---- the module --------------------------------------------------------------------------------

# A folder like the prepared tree, by links, with the kernel's image for modules to take types from.
link_build() {
	local name
	mkdir -p "$build"
	for name in arch include rust scripts tools Module.symvers .config .kernelvariables; do
		ln -sfn "$kernel/build/$name" "$build/$name"
	done
	ln -sfn "$kernel/stock/usr/src/linux-headers-$release/vmlinux" "$build/vmlinux"
	# Where Kbuild looks for a key.
	rm -rf "$build/certs"
	mkdir "$build/certs"
	if [[ -n ${MODULE_KEY:-} ]]; then
		on_exit+=("rm -f $build/certs/signing_key.pem")
		install -m 600 "$MODULE_KEY" "$build/certs/signing_key.pem"
		in_env / openssl x509 -outform DER -out "$build/certs/signing_key.x509" \
			<"$MODULE_CERTIFICATE"
	fi
}

# make_module TARGET [VARIABLE=VALUE…]: what would differ from machine to machine is stated. The
# kernel's source has a path that is the same everywhere, and the build ID, else a hash of debug
# information with the paths in it, is a hash of the sources.
make_module() {
	local source=/usr/src/linux-$release
	# shellcheck disable=SC2016 # expanded by the inner shell
	in_env "$work" bash -euc '
		mkdir -p "$2"
		mount --bind "$1" "$2"
		shift 2
		exec "$@"' make_module "$kernel/source" "$source" \
		env XZ_OPT=-T1 make -C "$source" O="$build" M="$work" -j "$(nproc)" \
		LDFLAGS_MODULE="--build-id=0x$identity" KCFLAGS="-fmacro-prefix-map=$source/=" \
		KRUSTFLAGS="--remap-path-prefix=$source/= --remap-path-prefix=$kernel/source/=" "$@"
}

build_module() {
	make_module modules || return
	rm -rf "$work/installed"
	make_module INSTALL_MOD_PATH="$work/installed" INSTALL_MOD_DIR=updates INSTALL_MOD_STRIP=1 \
		CONFIG_MODULE_SIG_ALL="${MODULE_KEY:+y}" CONFIG_MODULE_SIG_KEY=certs/signing_key.pem \
		DEPMOD=true modules_install || return
	updates=$(dirname "$(find "$work/installed" -name 'wireguard.ko*')")
	[[ $(find "$updates" -type f | wc -l) == 1 ]] || { ls -l "$updates"; return 1; }
	in_env / modinfo "$(echo "$updates"/wireguard.ko*)"
}

# ---- packages ----------------------------------------------------------------------------------

# fill FILE: prints FILE with the names that it leaves open.
fill() {
	sed -e "s/@RELEASE@/$release/g" -e "s/@KERNEL@/$kernel_version/g" \
		-e "s/@ARCH@/$ARCH/g" -e "s/@FLAVOUR@/$FLAVOUR/g" \
		-e "s/@MAINTAINER@/$maintainer/g" "$1"
}

# package SOURCE DIRECTORY VERSION TEXT: makes the packages of packaging/DIRECTORY in
# $work/packages. Their changelog has one entry, with TEXT.
package() {
	local at=$work/packages/$2 file name binary file_name
	mkdir -p "$at/debian"
	for file in "$tree/packaging/$2"/*; do
		name=$(basename "$file")
		case $name in
		postinst.in | postrm.in) fill "$file" >"$at/debian/$1-$release.${name%.in}" ;;
		lintian-overrides.in)
			# It overrides what lintian says of file names that would have more than
			# 80 characters on the architecture with the longest name.
			for binary in "$1-$release" "$1-$FLAVOUR"; do
				file_name=${binary}_${3}_kfreebsd-amd64.deb
				[[ ${#file_name} -le 80 ]] || cp "$file" "$at/debian/$binary.${name%.in}"
			done ;;
		*.in) fill "$file" >"$at/debian/${name%.in}" ;;
		*) cp "$file" "$at/debian/" ;;
		esac
	done
	cp "$tree/packaging/copyright" "$at/debian/"
	cat >"$at/debian/changelog" <<-END
	$1 ($3) $archive; urgency=medium

	  * $4

	 -- $maintainer  $(LC_ALL=C date -u -d "$date" '+%a, %d %b %Y %H:%M:%S +0000')
	END
	chmod -R u=rwX,go=rX "$at"
	in_packer "$at" dpkg-buildpackage --host-arch="$ARCH" --build=binary --no-sign --no-check-builddeps
}

# Like in_env, in the environment for packages.
in_packer() {
	env=$packer in_env "$@"
}

package_modules() {
	mkdir -p "$work/packages/modules/updates"
	cp "$updates"/* "$work/packages/modules/updates/"
	package wireguard-rust-modules modules "$version+$kernel_version" \
		"Version $version for Linux $release."
}

package_source() {
	mkdir -p "$work/packages/dkms"
	cp -r "$work/source/." "$tree"/{packaging,docs,tools,netlink} "$tree"/*.md "$work/packages/dkms/" || return
	package wireguard-rust dkms "$version" "Version $version."
}

# Packages that are not uploaded close no bug of Debian.
check_packages() {
	in_packer "$work/packages" bash -c 'lintian --version && lintian --allow-root \
		--fail-on error,warning,info --display-info --tag-display-limit 0 \
		--suppress-tags initial-upload-closes-no-bugs ./*.deb'
}

name=deb-$target
start_log "$name"
scratch run
work_begin "$name" "$kernel"
build=$work/build
# The source without anything that was built in this tree.
rm -rf "$work/packages" "$work/source"
mkdir -p "$work/packages" "$work/source"
in_env "$tree" rsync -rl --exclude-from=.gitignore Kbuild src "$work/source/"
identity=$(cd "$work/source" && { echo "$release $kernel_version"; find . -type f -print0 |
	LC_ALL=C sort -z | xargs -0 sha256sum; } | sha1sum | cut -c 1-40)
link_build
step "building the module for $release" build_module
updates=$(dirname "$(find "$work/installed" -name 'wireguard.ko*')")
step "packing the module" package_modules
step "packing its source" package_source
step "checking the packages with lintian" check_packages
place=$cache/packages
[[ $SUITE == trixie ]] || place+=-$SUITE
place=${PACKAGES:-$place}
mkdir -p "$place"
for file in "$work"/packages/*.deb; do
	file=${file##*/}
	rm -f "$place/${file%%_*}"_*.deb
	cp "$work/packages/$file" "$place/.$file.new"
	mv "$place/.$file.new" "$place/$file"
	echo "$place/$file"
done

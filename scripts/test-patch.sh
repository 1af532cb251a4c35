#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Usage: scripts/test-patch.sh [NAME…]
#
# Makes the patch series of scripts/patch.sh, applies it to a copy of the kernel's source, and
# tries the result. Prints KTAP. Without a NAME, tries all:
#
#     apply      each patch applies, and the files are those of this tree
#     unset      the configuration of Debian's kernel, with the option unset, builds drivers/net as
#                before; the option cannot be set beside the C driver
#     module     with the option `m` the module is built, loads in Debian's kernel and carries the
#                demonstration
#     kselftest  the kernel's kselftest installs the tests, and runs the shortest program of them in
#                a guest, with the module of this tree
#     builtin    with the option `y` the driver is built
#     kunit      a kernel with the driver built in passes its KUnit suites, by the kernel's
#                kunit.py. It is a small kernel, but building it takes ten minutes or more
#
# Environment: SERIES and FLAVOUR, the kernel (default: 7.3 and cloud-amd64).

# shellcheck source=scripts/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"
begin "$@"

names=(apply unset module kselftest builtin kunit)
for name; do
	[[ " ${names[*]} " == *" $name "* ]] || die "there is no test $name; there are: ${names[*]}"
done
[[ $# -eq 0 ]] || names=("$@")
[[ " ${names[*]} " == *" apply "* ]] || names=(apply "${names[@]}")

place=drivers/net/wireguard_rust
call kernel kernel.sh
call env buildenv.sh
use_part "$env"
use_part "$kernel"
start_log
# Below the cache, where hard links to the source are possible.
scratch run
source=$run/source build=$run/build

# Each patch by itself, as `git am` applies it: files are replaced, so the links to the kernel's
# source stay what they are.
apply() {
	local patches patch file
	export GIT_AUTHOR_NAME=${GIT_AUTHOR_NAME:-Test} GIT_AUTHOR_EMAIL=${GIT_AUTHOR_EMAIL:-test@localhost.invalid}
	export GIT_COMMITTER_NAME=$GIT_AUTHOR_NAME GIT_COMMITTER_EMAIL=$GIT_AUTHOR_EMAIL
	patches=$("$scripts/patch.sh" "$kernel/source") || return
	cp -al "$kernel/source" "$source" || return
	for patch in "$patches"/000[1-4]-*.patch; do
		(cd "$source" && git apply --whitespace=error-all "$patch") || return
	done
	while IFS= read -r file; do
		cmp "$tree/$file" "$source/$place/$file" || return
	done < <(git -C "$tree" ls-files -- src Kbuild Kconfig)
}

# configure VALUE: prepares a build with the option set to VALUE.
configure() {
	if [[ ! -d $build ]]; then
		mkdir "$build"
		cp "$kernel/build/.kernelvariables" "$build/"
	fi
	cp "$kernel/build/.config" "$build/.config"
	in_env "$source" scripts/config --file "$build/.config" --disable WIREGUARD \
		--set-val WIREGUARD_RUST "$1" || return
	in_env "$source" make O="$build" -j "$(nproc)" olddefconfig || return
	grep -qx "$2" "$build/.config" || return
	in_env "$source" make O="$build" -j "$(nproc)" prepare modules_prepare || return
	cp "$kernel/build/Module.symvers" "$build/"
}

unset_() {
	mkdir "$build" || return
	cp "$kernel/build/.config" "$build/.config"
	in_env "$source" scripts/config --file "$build/.config" --module WIREGUARD \
		--module WIREGUARD_RUST || return
	in_env "$source" make O="$build" olddefconfig || return
	grep -qx CONFIG_WIREGUARD=m "$build/.config" || return
	! grep '^CONFIG_WIREGUARD_RUST=' "$build/.config" || return
	remove_tree "$build"
	configure n '# CONFIG_WIREGUARD_RUST is not set' || return
	in_env "$source" make O="$build" -j "$(nproc)" drivers/net/dummy.o || return
	[[ ! -e $build/$place ]]
}

# There is no vmlinux in which modpost could look up the symbols, and none whose types modfinal
# could refer to: the guest looks up the symbols. For the same reason the module does not name the
# modules that it needs, which are the C module's.
module() {
	configure m 'CONFIG_WIREGUARD_RUST=m' || return
	in_env "$source" make O="$build" -j "$(nproc)" KBUILD_MODPOST_WARN=1 KBUILD_BUILTIN= \
		"$place/wireguard.ko" || return
	"$scripts/boot.sh" --ko "$build/$place/wireguard.ko" -- \
		sh -c 'modprobe wireguard && rmmod wireguard && /selftests/demo.sh'
}

kselftest() {
	in_env "$source" make -s -C tools/testing/selftests TARGETS=wireguard_rust \
		KSFT_INSTALL_PATH="$run/installed" install || return
	tar -C "$run/installed" -cf "$run/kselftest.tar" . || return
	"$scripts/boot.sh" --add "$run/kselftest.tar" -- sh -c 'mkdir kselftest &&
		tar -xf kselftest.tar -C kselftest &&
		kselftest/run_kselftest.sh --test wireguard_rust:datapath/arrival.sh'
}

builtin() {
	configure y 'CONFIG_WIREGUARD_RUST=y' || return
	in_env "$source" make O="$build" -j "$(nproc)" "$place/" || return
	[[ -e $build/$place/built-in.a ]]
}

kunit() {
	cat >"$run/kunitconfig" <<-END || return
	CONFIG_KUNIT=y
	CONFIG_RUST=y
	CONFIG_SMP=y
	CONFIG_PREEMPT=y
	CONFIG_NET=y
	CONFIG_INET=y
	CONFIG_IPV6=y
	CONFIG_NETDEVICES=y
	CONFIG_NET_CORE=y
	CONFIG_WIREGUARD_RUST=y
	END
	in_env "$source" tools/testing/kunit/kunit.py run --arch=x86_64 --make_options LLVM=-19 \
		--build_dir "$run/kunit" --kunitconfig "$run/kunitconfig" --jobs "$(nproc)" \
		--timeout 1800 'wireguard*'
}

echo 'KTAP version 1'
echo "1..${#names[@]}"
number=0 failed=0
for name in "${names[@]}"; do
	number=$((number + 1))
	function=$name
	[[ $name != unset ]] || function=unset_
	printf '\n==> %s\n' "$name" >>"$log"
	if run_job "$function" >>"$log" 2>&1; then
		echo "ok $number $name"
	else
		failed=$((failed + 1))
		tail -n 20 "$log" | sed 's/^/# /'
		echo "not ok $number $name # see $log"
	fi
done
[[ $failed -eq 0 ]]

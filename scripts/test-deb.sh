#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Usage: scripts/test-deb.sh [NAME…]
#
# Makes the packages of the module with scripts/deb.sh, tries them, and prints the results in KTAP.
# The machine that they are installed on is a Debian system in directories of the cache: the build
# environment, and above it the kernel with its headers and source, and dkms. What the tests write
# there lasts as long as this run.
# Without a NAME, all of this is done:
#
#     again     the packages are made a second time, from a copy of this tree in another place, and
#               are the same to the byte
#     install   apt installs the module's package; modprobe then prefers its module
#     boot      a guest in an emulator loads that module (selftests/packages.sh)
#     secure    guests boot by firmware, shim and GRUB, with secure boot: the module is loaded if
#               its key is enrolled; with another key, or none, the kernel's own module is loaded
#     upgrade   another kernel is installed: it has its own module, and the first one keeps ours
#     remove    apt removes it, and the kernel's own module is preferred
#     skip      with dkms: a kernel that the module cannot be built for is skipped with a sentence,
#               apt succeeds, and the kernel's own module stays. For: another rustc, missing source
#               of the kernel, a full disk, source that does not compile, the module's package
#     dkms      dkms builds the module on headers that have the files for Rust; the kernel's own
#               module stays; removal leaves nothing
#     prepare   the same on Debian's headers, for which these files are made first
#
# Environment: SUITE, SERIES and FLAVOUR, the kernel (default: trixie, 7.3 and cloud-amd64).

# shellcheck source=scripts/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"
begin "$@"
[[ $ARCH == amd64 ]] || die "this exists for amd64 only: run it without ARCH=$ARCH"

names=(again install boot secure upgrade remove skip dkms prepare)
for name; do
	[[ " ${names[*]} " == *" $name "* ]] || die "there is no test $name; there are: ${names[*]}"
done
[[ $# -eq 0 ]] || names=("$@")

call env buildenv.sh
call kernel kernel.sh
use_part "$env"
use_part "$kernel"
release=$(<"$kernel/version")

# ---- the machine -------------------------------------------------------------------------------

# with_layer LOWER UPPER COMMAND…: runs a command on the machine made of the directories LOWER,
# separated by `:`, the topmost first. What it writes goes to UPPER.
with_layer() {
	mkdir -p "$2" "$run"/{work,root}
	# shellcheck disable=SC2016 # expanded by the inner shell
	in_namespaces bash -euc '
		run=$1
		mount -t overlay overlay "$run/root" -o "lowerdir=$2,upperdir=$3,workdir=$run/work"
		shift 3
		mount -t proc proc "$run/root/proc"
		mount -t tmpfs tmpfs "$run/root/tmp"
		cp /etc/resolv.conf /etc/hosts "$run/root/etc/"
		cd "$run/root"
		# A machine that never boots needs no initramfs.
		exec chroot . /usr/bin/env -i -C / \
			PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
			HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive INITRD=No "$@"
	' with_layer "$run" "$@"
}

# The machine is the build environment, which has the compilers that dkms needs, and one layer: the
# kernel with its headers and source, and dkms.
make_machine() {
	# shellcheck disable=SC2016 # expanded on the machine
	with_layer "$env" "$part/layer" bash -euxc '
		# The build environment has no documents. What is installed from now on has.
		rm -f /etc/dpkg/dpkg.cfg.d/*
		printf "Package: linux-*\nPin: release n=$1\nPin-Priority: 900\n" \
			>/etc/apt/preferences.d/kernel
		shift
		apt-get install -y --no-install-recommends "$@"
		apt-get clean' make_machine "$archive" "linux-image-$release" "linux-headers-$release" \
		"linux-source-$SERIES" initramfs-tools dkms || return
	remove_tree "$run/work"
}

# on_machine COMMAND…: runs a command on the machine. Changes last from call to call.
on_machine() {
	with_layer "$machine/layer:$env" "$run/changes" "$@"
}

# Begins with an unchanged machine, with the packages in /root.
fresh_machine() {
	remove_tree "$run/changes"
	remove_tree "$run/work"
	mkdir -p "$run/changes/root"
	cp "${debs[@]}" "$run/changes/root/"
}

# Runs a script on the machine in which every command has to succeed. It has these functions.
script() {
	on_machine bash -Eeuxo pipefail -c "
		release=$release modules=/usr/lib/modules/$release
		apt_install() { apt-get install -y --no-install-recommends \"\$@\"; }
		preferred() { modinfo -k \$release -n wireguard | sed 's|^/lib|/usr/lib|'; }
		own=\$modules/kernel/drivers/net/wireguard/wireguard.ko.xz
		# No file of the kernel or of ours is missing or changed. (The build environment has
		# linux-libc-dev, without its documents.)
		verified() {
			[[ -z \$(dpkg-query -W -f '\${db:Status-Abbrev}\${Package}\\n' \
				'linux-*' dkms 'wireguard-rust*' 2>/dev/null |
				sed -n '/linux-libc-dev/d; s/^ii *//p' | xargs dpkg --verify) ]]
		}
		# The kernel has its own module, and nothing of ours is left.
		clean() {
			[[ \$(preferred) == \$own && ! -e \$modules/updates ]]
			verified
			[[ -z \$(find / -xdev -name '*wireguard-rust*' ! -path '/root/*' ! -path '/proc/*' -print) ]]
		}
		$1"
}

# ---- the tests ---------------------------------------------------------------------------------

test_again() {
	local copy=$run/elsewhere file again
	mkdir -p "$copy"
	in_env "$tree" rsync -rl --exclude-from=.gitignore --exclude=/.git ./ "$copy/"
	mapfile -t again < <("$copy/scripts/deb.sh")
	[[ ${#again[@]} -eq ${#debs[@]} ]] || return
	for file in "${debs[@]}"; do
		cmp "$file" "$(dirname "${again[0]}")/${file##*/}" || return
	done
}

test_install() {
	fresh_machine
	# shellcheck disable=SC2016 # expanded on the machine
	script '
		[[ $(preferred) == "$own" ]]
		apt_install /root/wireguard-rust-{common,modules}*.deb
		[[ $(preferred) == $modules/updates/wireguard.ko.xz ]]
		[[ -n $(modinfo -k $release -F implementation_version wireguard) ]]
		[[ -e $own ]]
		verified
		# What the administrator says goes before what the package says.
		echo "install wireguard /bin/false" >/etc/modprobe.d/wireguard.conf
		[[ $(modprobe -S $release -n -v wireguard) == *"/bin/false"* ]]'
}

# The other kernel is that of another flavour: the archive has it always, an older release for some
# time only.
test_upgrade() {
	fresh_machine
	# shellcheck disable=SC2016 # expanded on the machine
	script '
		other=${release/-cloud-/-}
		[[ $other != $release ]] || other=${release/%-amd64/-cloud-amd64}
		own_of_other=/usr/lib/modules/$other/kernel/drivers/net/wireguard/wireguard.ko.xz
		for packages in modules dkms; do
			apt_install /root/wireguard-rust-{common,$packages}*.deb
			apt_install linux-image-$other
			[[ $(modinfo -k $other -n wireguard | sed "s|^/lib|/usr/lib|") == $own_of_other ]]
			[[ $(preferred) == $modules/updates/*wireguard.ko.xz ]]
			apt-get purge -y "linux-*-$other" "wireguard-rust*"
		done
		clean'
}

test_remove() {
	fresh_machine
	script '
		apt_install /root/wireguard-rust-{common,modules}*.deb
		apt-get purge -y "wireguard-rust*"
		clean'
}

# guest NAME COMMON MODULES ARGUMENT…: boots a guest that has two packages, with these ARGUMENTS of
# boot.sh.
guest() {
	"$scripts/boot.sh" --module c --add "$2" --add "$3" \
		--console "$cache/log/packages-$1-console.log" --timeout 1200 "${@:4}"
}

test_boot() {
	guest boot "$common" "$modules" -- /selftests/packages.sh preferred carries removed
}

# guest_accepts and guest_refuses NAME CERTIFICATE COMMON MODULES: boot a guest with secure boot.
guest_accepts() {
	guest "$1" "$3" "$4" --secure-boot "$2" -- /selftests/packages.sh preferred carries signed removed
}
guest_refuses() {
	guest "$1" "$3" "$4" --secure-boot "$2" -- env ACCEPTED=no /selftests/packages.sh refused removed
}

test_secure() {
	local key=$run/modules.key certificate=$run/modules.pem other=$run/other.pem signed file
	for file in "$certificate" "$other"; do
		in_env "$run" openssl req -new -x509 -newkey rsa:2048 -nodes -days 2 \
			-subj "/CN=$(basename "$file")/" -keyout "${file%.pem}.key" -out "$file" || return
	done
	signed=$(PACKAGES=$run/signed MODULE_KEY=$key MODULE_CERTIFICATE=$certificate \
		"$scripts/deb.sh" | grep '/wireguard-rust-modules-[0-9]') || return
	guest_accepts enrolled "$certificate" "$common" "$signed" || return
	guest_refuses not-enrolled "$other" "$common" "$signed" || return
	guest_refuses not-signed none "$common" "$modules"
}

# The functions of the tests with dkms.
# shellcheck disable=SC2016 # expanded on the machine
dkms_functions='
	# false_rustc COMMAND: puts a rustc that runs a command in the place of the true one.
	false_rustc() {
		mv /usr/bin/rustc /usr/bin/rustc.true
		printf "#!/bin/sh\n%s\n" "$1" >/usr/bin/rustc
		chmod +x /usr/bin/rustc
	}
	true_rustc() { mv /usr/bin/rustc.true /usr/bin/rustc; }
	# A pipe, as the sentence would be written over in a file, see tell() of
	# packaging/dkms/build.
	try() { dkms autoinstall -k $release 2>&1 | tee /tmp/said; }
	# skipped SENTENCE: the last try was skipped with it.
	skipped() {
		grep -q "wireguard-rust: $release keeps its own module wireguard: .*$1.*\.$" /tmp/said
	}
	built() {
		[[ $(preferred) == $modules/updates/dkms/wireguard.ko.xz ]]
		modinfo -k $release wireguard
		[[ -e $own ]]
		verified
	}
	packages_install() { apt_install /root/wireguard-rust-{common,dkms}*.deb; }
	packages_remove() {
		apt-get purge -y "wireguard-rust*"
		clean
	}
'

test_skip() {
	fresh_machine
	# shellcheck disable=SC2016 # expanded on the machine
	script "$dkms_functions"'
		false_rustc "echo rustc 1.2.3"
		packages_install 2>&1 | tee /tmp/said
		skipped "it has been built by rustc .* this machine has rustc 1.2.3"
		[[ $(preferred) == $own ]]
		try
		skipped "this machine has rustc 1.2.3"
		true_rustc
		false_rustc "exit 1"
		try
		skipped "/usr/bin/rustc does not say its version"
		true_rustc

		mv /usr/src/linux-source-* /root/
		try
		skipped "which they can be made from, is not installed"
		mv /root/linux-source-* /usr/src/

		mkdir -p /var/cache/wireguard-rust
		mount -t tmpfs -o size=10m tmpfs /var/cache/wireguard-rust
		try
		skipped "MB are needed"
		umount /var/cache/wireguard-rust

		# A fault that the script does not know of.
		rmdir /var/cache/wireguard-rust
		touch /var/cache/wireguard-rust
		try
		skipped "the build ended with status [0-9]*, see /var/lib/dkms/.*/make.log"
		rm /var/cache/wireguard-rust

		config=/usr/src/linux-headers-$release/include/config/auto.conf
		sed -i.true /^CONFIG_PAGE_POOL=/d $config
		try
		skipped "it has been built without CONFIG_PAGE_POOL"
		mv $config.true $config

		mkdir $modules/updates
		touch $modules/updates/wireguard.ko.xz
		try
		skipped "it has the module in Rust already"
		rm -r $modules/updates
		packages_remove'
}

test_dkms() {
	local headers=$run/changes/usr/src/linux-headers-$release
	fresh_machine
	# These headers have rust/, as those of other distributions.
	mkdir -p "$headers/rust"
	cp "$kernel"/build/rust/*.{rmeta,so} "$headers/rust/"
	cp "$kernel/build/scripts/target.json" "$run/changes/root/"
	# shellcheck disable=SC2016 # expanded on the machine
	script "$dkms_functions"'
		headers=/usr/src/linux-headers-$release
		target=$(readlink -f $headers/scripts)/target.json
		cp /root/target.json $target
		false_rustc "echo rustc 1.2.3"
		packages_install
		true_rustc
		main=$(echo /usr/src/wireguard-rust-*/src/wireguard_main.rs)
		cp $main /root/
		echo "fn broken(" >>$main
		try
		skipped "the build failed"
		[[ $(preferred) == $own ]]
		cp /root/wireguard_main.rs $main
		try
		built
		rm -r $headers/rust $target
		packages_remove'
}

test_prepare() {
	fresh_machine
	# shellcheck disable=SC2016 # expanded on the machine
	script "$dkms_functions"'
		packages_install
		built
		packages_remove'
}

start_log test-deb
scratch run
if part_begin "machine-$target" "$release" "$env $(head -n 1 "$kernel/.complete") $(
	declare -f with_layer make_machine)"; then
	need_space 3
	step "making a machine with $release" make_machine
	part_end
fi
machine=$part
use_part "$machine"

echo 'KTAP version 1'
echo "1..$((${#names[@]} + 1))"
number=1 failed=0
if ! mapfile -t debs < <("$scripts/deb.sh") || [[ ${#debs[@]} -ne 5 ]]; then
	echo 'not ok 1 the packages are made'
	exit 1
fi
echo 'ok 1 the packages are made'
# The next run of deb.sh may replace them.
mkdir "$run/debs"
cp "${debs[@]}" "$run/debs/"
debs=("$run"/debs/*.deb)
common='' modules=''
for file in "${debs[@]}"; do
	case ${file##*/} in
	wireguard-rust-common_*) common=$file ;;
	wireguard-rust-modules-[0-9]*) modules=$file ;;
	esac
done
for name in "${names[@]}"; do
	number=$((number + 1))
	status=0
	start=$SECONDS
	run_job "test_$name" >"$run/$name" 2>&1 || status=$?
	cat "$run/$name" >>"$log"
	echo "# $name: $((SECONDS - start)) s"
	if [[ $status -eq 0 ]]; then
		echo "ok $number $name"
	else
		tail -n 60 "$run/$name" | sed 's/^/# /'
		echo "not ok $number $name"
		failed=$((failed + 1))
	fi
done
[[ $failed -eq 0 ]]

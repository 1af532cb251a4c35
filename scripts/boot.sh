#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Usage: scripts/boot.sh [OPTION…] [--] [COMMAND [ARGUMENT…]]
#
# Boots a kernel in an emulator with our module and selftests/ in its file system, runs COMMAND in
# it, prints the output of COMMAND, and exits with its status. Without a COMMAND there is a shell on
# the terminal.
#
# A guest that panics, is not done in time or ends without reporting the status of its command is a
# failure (status 125); the end of its console is shown.
#
#     --module rust|c     the module that the guest is to load, told to it as WG_MODULE (default:
#                         rust). Ours is /root/wireguard.ko in the guest; the kernel's own is where
#                         Debian has it
#     --ko FILE           put FILE there instead of the module built from this tree
#     --add FILE          put FILE into /root in the guest, too; may be given several times
#     --memory MB         memory of the guest (default: 1024)
#     --cpus N            processors of the guest (default: 2)
#     --timeout SECONDS   time it may take from power-on to power-off (default: 600)
#     --clock host|instructions
#                         the guest's clock follows the time (default), or counts the instructions
#                         that the guest executes, a billion to the second. With `instructions`,
#                         measurements in the guest do not depend on the machine or on its load;
#                         waiting takes no time, and the guest's processors take turns on one of the
#                         machine's. For amd64 only
#     --processor NAME    the emulated processor, a model of QEMU's. The default is max, which has
#                         all that the emulator knows, except that it is qemu64 for the stock kernel
#                         of amd64 with the host's clock. That lacks the vector instructions that
#                         the emulator carries out byte by byte, and is two to three times as fast.
#                         (On the other kernels the ciphers in C, which it would use, are watched,
#                         and slower than those in assembly.)
#     --append ARGUMENTS  more kernel arguments
#     --link SOCKET:a|b   join it to another guest by a network card (virtio): start one with `a`,
#                         the other with `b`, and the same name of a socket, which must not exist
#     --plugin FILE[,ARGUMENT…]
#                         a plugin of the emulator, which sees the instructions that the guest
#                         executes; FILE is in the cache
#     --secure-boot CERTIFICATE|none
#                         boot as a machine with secure boot does: by UEFI firmware, shim and GRUB.
#                         The CERTIFICATE, a file in PEM, is enrolled as one of the machine's owner.
#                         For amd64 and the stock kernel only
#     --console FILE      keep the kernel's console in FILE (default: the log folder of the cache)
#
# A guest that writes `guest-fork: ` and the content of its /run-token to the console is stopped and
# saved. It then carries on as another virtual machine, and is told so (vmgenid). That works once,
# and on amd64 only.
#
# In the guest: /selftests, /tools, /netlink, /selftests-upstream/wireguard/netns.sh,
# /root/wireguard.ko; the command runs in /root, with WG_MODULE set.
#
# Environment: SUITE, SERIES, ARCH and FLAVOUR, the kernel (default: trixie, 7.3, the machine's
# architecture and cloud-$ARCH). KERNEL is stock (the default: as Debian ships it), or kasan or
# kcsan: one that looks for mistakes (scripts/debug-kernel.sh), kcsan for amd64 only, which
# has none of the stock kernel's modules. SYSTEM is small (the default), or services: a larger
# system, in which systemd is the first process and COMMAND runs as a unit. It needs 3072 MB of
# memory.

# shellcheck source=scripts/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"
begin "$@"

role=rust ko='' add=() memory=1024 cpus=2 timeout=600 clock=host processor='' append='' link='' plugin='' secure='' console=''
while [[ $# -gt 0 ]]; do
	case $1 in
	--module) role=$2 ;;
	--ko) ko=$2 ;;
	--add) add+=("$2") ;;
	--memory) memory=$2 ;;
	--cpus) cpus=$2 ;;
	--timeout) timeout=$2 ;;
	--clock) clock=$2 ;;
	--processor) processor=$2 ;;
	--append) append=$2 ;;
	--link) link=$2 ;;
	--plugin) plugin=$2 ;;
	--secure-boot) secure=$2 ;;
	--console) console=$2 ;;
	--) shift; break ;;
	-*) die "there is no option $1: see $self --help" ;;
	*) break ;;
	esac
	[[ $# -ge 2 ]] || die "$1 needs a value: see $self --help"
	shift 2
done
[[ $role == rust || $role == c ]] || die "--module is rust or c"
# On a busy machine an emulated clock ticks unevenly. The kernel must not give up on its timer or
# its clock for that, nor report stalls that are none; a processor that is stuck for minutes is
# still reported.
steady='watchdog_thresh=60 rcupdate.rcu_cpu_stall_timeout=120'
case $ARCH-$clock in
amd64-host)
	[[ -n $processor || $KERNEL != stock ]] || processor=qemu64,+rdrand,+rdseed
	accel=(-accel 'tcg,thread=multi' -cpu "${processor:-max}")
	;;
# With ERMS, FSRM or FSRS the kernel copies and clears memory byte by byte, and each byte would
# count as an instruction. Without them, eight bytes count as one.
amd64-instructions) accel=(-accel 'tcg,thread=single' -icount 'shift=0,sleep=off' -cpu "${processor:-max},-erms,-fsrm,-fsrs") ;;
# The signatures of pointers are of a kind that the emulator makes quickly.
arm64-host) accel=(-accel 'tcg,thread=multi' -cpu "${processor:-max,pauth-impdef=on}") ;;
arm64-instructions) die "--clock instructions exists for amd64 only" ;;
*) die "--clock is host or instructions" ;;
esac
case $ARCH in
amd64)
	emulator=(qemu-system-x86_64 -device 'vmgenid,guid=auto')
	port=ttyS0
	# The kernel cannot measure the rate of its TSC on a busy machine: the result has been wrong
	# by 15 %, and by a factor of four. The HPET states its own rate.
	steady="no_timer_check tsc=reliable $steady"
	[[ $clock != host ]] || steady+=' clocksource=hpet'
	;;
arm64)
	emulator=(qemu-system-aarch64 -M 'virt,gic-version=3')
	port=ttyAMA0
	;;
esac
if [[ -n $secure ]]; then
	[[ $ARCH-$KERNEL == amd64-stock ]] || die "--secure-boot exists for amd64 and the stock kernel only"
	[[ $secure == none || -r $secure ]] || die "there is no file $secure: name a certificate, or none"
	[[ $secure == none ]] || secure=$(readlink -f "$secure")
fi
[[ -z $link || $link == *:[ab] ]] || die "--link is SOCKET:a or SOCKET:b"

call_host_env
call guest guest.sh
call kernel kernel.sh
mapfile -t guest <<<"$guest"
if [[ -z $ko && $role == rust ]]; then
	call module module.sh
	ko=$module
fi
use_part "$kernel"
use_part "$(dirname "${guest[0]}")"
use_part "$(dirname "${guest[1]}")"
version=$(<"$kernel/version")

mkdir -p "$cache/log"
scratch run
console=${console:-$cache/log/console-$$.log}
: >"$console"

# The overlay: files that change from run to run, which are /init, the command, our module, the
# tests and the tools.
overlay=$run/overlay
mkdir -p "$overlay/root"
cp "$scripts/guest-init.sh" "$overlay/init"
for folder in selftests tools netlink; do
	[[ ! -d $tree/$folder ]] || cp -a "$tree/$folder" "$overlay/"
done
[[ -z $ko ]] || cp "$ko" "$overlay/root/wireguard.ko"
[[ ${#add[@]} -eq 0 ]] || cp "${add[@]}" "$overlay/root/"
token=$(tr -d - </proc/sys/kernel/random/uuid)
echo "$token" >"$overlay/run-token"
{
	echo "export WG_MODULE=$role"
	if [[ $# -gt 0 ]]; then
		printf 'exec'
		printf ' %q' "$@"
		echo
	else
		echo 'exec setsid --ctty --wait bash -i </dev/terminal >/dev/terminal 2>&1'
	fi
} >"$overlay/run-command"
# shellcheck disable=SC2016 # expanded by the inner shell
in_env "$overlay" bash -c 'find . -print0 | cpio --quiet --null -o -H newc --owner=+0:+0 >../overlay.cpio'
cat "${guest[@]}" "$run/overlay.cpio" >"$run/initrd"
image=$kernel/stock/usr/lib/modules/$version/vmlinuz
if [[ $KERNEL != stock ]]; then
	call debug debug-kernel.sh
	use_part "$(dirname "$debug")"
	image=$(dirname "$debug")/image
	# With page tables of five levels KASAN reports the kernel itself while it is still booting.
	append="no5lvl $append"
	# The detectors need memory for their own records.
	memory=$((memory * 2))
	# F and Z let the allocator check its lists and the bytes around each object. So it finds
	# writes beyond an object also by code that KASAN does not see, such as ciphers in
	# assembly. Tracking users (U) and poisoning freed memory (P) are left to KASAN.
	[[ $KERNEL != kasan ]] || append="slab_debug=FZ $append"
fi

# The kernel puts this into the environment of /init.
[[ $SYSTEM == small ]] || append="SYSTEM=$SYSTEM systemd.getty_auto=no $append"

# The kernel's command line
line="console=$port loglevel=7 panic=-1 oops=panic $steady $append"
direct=(-kernel "$image" -initrd initrd -append "$line")

# boot_disk: makes the folder disk, which the firmware sees as a disk that it can boot, and the
# firmware's variables.
boot_disk() {
	mkdir -p "$run/disk/EFI/BOOT" "$run/disk/EFI/debian"
	cp "$firmware/usr/lib/shim/shimx64.efi.signed" "$run/disk/EFI/BOOT/BOOTX64.EFI"
	cp "$firmware/usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed" "$run/disk/EFI/BOOT/grubx64.efi"
	printf '%s\n' 'set timeout=0' "linux /vmlinuz $line" 'initrd /initrd' boot \
		>"$run/disk/EFI/debian/grub.cfg"
	cp "$image" "$run/disk/vmlinuz"
	mv "$run/initrd" "$run/disk/initrd"
	cp "$firmware/usr/share/OVMF/OVMF_VARS_4M.ms.fd" "$run/variables"
	# The GUID says whose the key is; nobody reads it.
	[[ $secure == none ]] || in_env "$run" env PYTHONPATH="$firmware/usr/lib/python3/dist-packages" \
		python3 "$firmware/usr/bin/virt-fw-vars" --inplace variables \
		--add-mok "$(</proc/sys/kernel/random/uuid)" "$secure"
}

if [[ -n $secure ]]; then
	call firmware firmware.sh
	use_part "$firmware"
	boot_disk
	# Only the firmware, in system management mode, may write its variables.
	direct=(-machine 'q35,smm=on' -global 'driver=cfi.pflash01,property=secure,value=on'
		-drive "if=pflash,format=raw,unit=0,readonly=on,file=$firmware/usr/share/OVMF/OVMF_CODE_4M.ms.fd"
		-drive 'if=pflash,format=raw,unit=1,file=variables'
		-drive 'file=fat:disk,format=raw,if=virtio,readonly=on')
fi

qemu=(
	"${emulator[@]}" -nodefaults -no-user-config -display none -no-reboot
	"${accel[@]}" -smp "$cpus" -m "$memory" "${direct[@]}"
	-chardev 'file,id=console,path=console,append=on' -serial chardev:console -serial stdio
	-chardev 'pipe,id=monitor,path=monitor' -mon chardev=monitor
)
case $link in
# The guests may start in either order.
*:a) qemu+=(-netdev "stream,id=link,server=on,addr.type=unix,addr.path=$(realpath -m "${link%:*}")"
	-device 'virtio-net-pci,netdev=link,mac=52:54:00:00:00:0a,romfile=') ;;
*:b) qemu+=(-netdev "stream,id=link,server=off,reconnect-ms=200,addr.type=unix,addr.path=$(realpath -m "${link%:*}")"
	-device 'virtio-net-pci,netdev=link,mac=52:54:00:00:00:0b,romfile=') ;;
esac
[[ -z $plugin ]] || qemu+=(-plugin "$plugin")

# Saves the guest and ends the emulator when the guest asks for it. Ends with this script at the
# latest.
save_when_asked() {
	trap - EXIT
	until grep -aq "guest-fork: $token" "$run/console"; do
		sleep 1
		kill -0 $$ 2>/dev/null || return 0
	done
	printf '%s\n' 'migrate file:copy' quit >"$run/monitor.in"
}

# run_guest: runs the guest with a command, and again where it is saved meanwhile. Sets status.
run_guest() {
	local saver=
	status=0
	: >"$run/console"
	if [[ $ARCH == amd64 ]]; then
		save_when_asked </dev/null >/dev/null 2>&1 &
		saver=$!
	fi
	run_job in_env "$run" timeout --signal=KILL "$timeout" "${qemu[@]}" || status=$?
	[[ -z $saver ]] || kill "$saver" 2>/dev/null || true
	if [[ -e $run/copy && $status -eq 0 ]]; then
		run_job in_env "$run" timeout --signal=KILL "$timeout" "${qemu[@]}" -incoming file:copy || status=$?
	fi
}

# emulator_failed: whether the kernel died before it ran anything of ours, and in the way in which
# the emulator makes it die: while the kernel replaces instructions of its own, one of its
# processors may meet the breakpoint that was there meanwhile. Seen once in more than 500 guests.
emulator_failed() { grep -q 'Oops: int3' "$run/console" && ! grep -q 'Run /init as init' "$run/console"; }

mkfifo "$run/monitor.in" "$run/monitor.out"
if [[ $# -gt 0 ]]; then
	run_guest
	if emulator_failed; then
		say "the emulator has failed, and the guest is started again:"
		grep -A4 'Oops: int3' "$run/console" >&2
		run_guest
	fi
else
	status=0
	: >"$run/console"
	in_env "$run" "${qemu[@]}" || status=$?
fi

cp "$run/console" "$console"
ended=$(sed -n "s/.*guest-exit: $token \([0-9]*\).*/\1/p" "$run/console" | tail -n 1)
[[ -n $ended ]] && exit "$ended"

if [[ $status -eq 137 ]]; then
	say "the guest was not done after $timeout s. The end of its console, $console:"
elif grep -q 'Kernel panic' "$console"; then
	say "the guest panicked. The end of its console, $console:"
else
	say "the guest ended without saying how its command ended (the emulator's status is $status). The end of its console, $console:"
fi
tail -n 40 "$console" | sed "s/^/${SAY:-}  | /" >&2
exit 125

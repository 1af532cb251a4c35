#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The first process of a guest: makes the system usable, runs /run-command, and reports its status
# on the console. The console is the first serial port. The output of the command goes to the
# second, /dev/terminal, where no kernel message can break a line.
#
# With SYSTEM=services from the kernel's command line, the first process is systemd instead. It runs
# this script as a unit when all other units of the system are started.

export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export HOME=/root LC_ALL=C.UTF-8 TERM=dumb

mounts() {
	mount -t proc proc /proc
	mount -t sysfs sysfs /sys
	mount -t devtmpfs devtmpfs /dev
	mkdir -p /dev/pts /dev/shm
	mount -t devpts devpts /dev/pts
	mount -t tmpfs tmpfs /dev/shm
	mount -t tmpfs tmpfs /run
	mount -t tmpfs tmpfs /tmp
	mount -t debugfs debugfs /sys/kernel/debug 2>/dev/null
}

# Becomes systemd. Its root is a layer above the file system of the guest, since a container cannot
# be started from the first file system of a kernel.
become_systemd() {
	local unit=/system/etc/systemd/system/guest-command.service
	mount -t proc proc /proc
	modprobe overlay
	mkdir /layer /system
	mount -t tmpfs tmpfs /layer
	mkdir /layer/upper /layer/work
	mount -t overlay -o lowerdir=/,upperdir=/layer/upper,workdir=/layer/work overlay /system || return
	# Not the first boot, at which systemd would ask questions.
	tr -d - </proc/sys/kernel/random/uuid >/system/etc/machine-id
	umount /proc
	printf '%s\n' '[Unit]' After=multi-user.target '[Service]' Type=exec ExecStart=/init \
		TasksMax=infinity >"$unit"
	mkdir -p "${unit%/*}/graphical.target.wants"
	ln -s ../guest-command.service "${unit%/*}/graphical.target.wants/"
	cd /system || return
	mount --move . /
	exec chroot . /usr/lib/systemd/systemd
}

if [[ $$ -eq 1 ]]; then
	[[ ${SYSTEM:-} != services ]] || become_systemd || exit
	mounts
fi
ln -snf /proc/self/fd /dev/fd
ln -snf /proc/self/fd/1 /dev/stdout
ln -snf /proc/self/fd/2 /dev/stderr
terminal=ttyS1
[[ ! -c /dev/ttyAMA1 ]] || terminal=ttyAMA1
ln -snf $terminal /dev/terminal
mkdir -p /run/netns
hostname guest
ip link set lo up 2>/dev/null

# No translation of line ends on the way out.
stty -F /dev/terminal raw -echo

cd /root || exit
# A session of its own, so that processes it leaves behind can be told apart.
setsid --wait /bin/bash /run-command </dev/null >/dev/terminal 2>&1
status=$?
sync
echo "<5>guest-exit: $(cat /run-token) $status" >/dev/kmsg
# The emulator runs with -no-reboot, so restarting ends it immediately; the console has to be out
# by then.
sleep 0.2
echo b >/proc/sysrq-trigger
sleep 60

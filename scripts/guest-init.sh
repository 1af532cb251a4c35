#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The first process of a guest: makes the system usable, runs /run-command, and reports its status
# on the console. The console is the first serial port. The output of the command goes to the
# second, /dev/terminal, where no kernel message can break a line.

export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export HOME=/root LC_ALL=C.UTF-8 TERM=dumb

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /tmp
mount -t debugfs debugfs /sys/kernel/debug 2>/dev/null
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

# SPDX-License-Identifier: GPL-2.0
#
# Reads a kernel log and prints the lines with which the kernel reports a mistake.
#
#     -v after=COUNT   prints so many lines after each of them, too
#     -v stalls=1      counts processors that are stuck, and traces without a report, as mistakes,
#                      too. A test asks for that in its guest. On the console they mean nothing: a
#                      busy machine makes them, and a guest that does stall is not done in time
#
# The trace of a task that refuses to freeze is not one: the machine was to sleep, and a test kept
# it awake.
#
# In the strict form of KCSAN, the rest of the kernel causes many reports. A report of KCSAN counts
# if the module, or a function that it calls, makes one of the two accesses.

function read_line(line) {
	if (line ~ /refusing to freeze/)
		awake = 1
	else if (awake && line ~ /Call Trace/)
		awake = 0
	else if (line ~ /soft lockup|detected stall|self-detected|Call Trace/ ? stalls : line ~ /WARNING:|BUG:|BUG |Oops|UBSAN:|KASAN:|KCSAN:|KFENCE:|ODEBUG:|refcount_t|kmemleak: [0-9]|possible (circular|recursive|irq)|INFO: (task|trying)|hung_task|blocked for more than|panicked at|unregister_netdevice: waiting/)
		left = after + 1
	if (left-- > 0)
		print line
}
function end_report(lines, count, i) {
	count = split(report, lines, "\n")
	for (i = 1; ours && i < count; i++)
		read_line(lines[i])
	inside = 0
}
/BUG: KCSAN:/ {
	if (inside)
		end_report()
	inside = 1
	ours = 0
	report = ""
	frame = 99
}
!inside { read_line($0); next }
{ report = report $0 "\n" }
/ by (task|interrupt|NMI)[^:]* on cpu [0-9]+:|value changed|race at unknown origin/ { frame = 0; next }
++frame <= 2 && /\[wireguard\]/ { ours = 1 }
/======/ { end_report() }
END {
	if (inside)
		end_report()
}

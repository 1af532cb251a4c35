# SPDX-License-Identifier: GPL-2.0
#
# Reads a kernel log and prints it without those reports of KCSAN that are not about the module: in
# the strict form of KCSAN, the rest of the kernel causes many. A report is about the module if the
# module, or a function that it calls, makes one of the two accesses.

function end_report() {
	if (ours)
		printf "%s", report
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
!inside { print; next }
{ report = report $0 "\n" }
/ by (task|interrupt|NMI)[^:]* on cpu [0-9]+:|value changed|race at unknown origin/ { frame = 0; next }
++frame <= 2 && /\[wireguard\]/ { ours = 1 }
/======/ { end_report() }
END {
	if (inside)
		end_report()
}

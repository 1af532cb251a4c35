// SPDX-License-Identifier: GPL-2.0
/*
 * The version of WireGuard that the module speaks and is configured by, the C module's. Programs read it from modinfo
 * and /sys/module/wireguard/version. In C, since `module!` has no field for it.
 */
#include <linux/module.h>

MODULE_VERSION("1.0.0");

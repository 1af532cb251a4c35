// SPDX-License-Identifier: GPL-2.0
/*
 * Two versions that modinfo shows. In C, since `module!` has no fields for them.
 */
#include <linux/module.h>

/*
 * The version of WireGuard that the module speaks and is configured by, the C module's. Programs
 * read it from modinfo and /sys/module/wireguard/version.
 */
MODULE_VERSION("1.0.0");

/* The version of this implementation: the first entry of CHANGELOG.md. It stands here alone. */
MODULE_INFO(implementation_version, "0.9.0");

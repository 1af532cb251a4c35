// SPDX-License-Identifier: GPL-2.0

#include <linux/bug.h>

#include "../helpers.h"

/* warn_on!() of the kernel crate includes files of the kernel's build that header packages lack. */
void helper_warn(void)
{
	WARN_ON(1);
}

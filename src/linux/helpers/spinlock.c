// SPDX-License-Identifier: GPL-2.0

#include <linux/spinlock.h>

#include "../helpers.h"

/* With CONFIG_PREEMPT_RT this is a macro. */
int helper_spin_trylock_bh(spinlock_t *lock)
{
	return spin_trylock_bh(lock);
}

// SPDX-License-Identifier: GPL-2.0

#include <linux/compiler.h>
#include <linux/timer.h>

#include "../helpers.h"

bool helper_timer_pending(const struct timer_list *timer)
{
	/* The timer core writes what timer_pending() reads without WRITE_ONCE(). */
	return data_race(timer_pending(timer));
}

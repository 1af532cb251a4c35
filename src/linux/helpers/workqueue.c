// SPDX-License-Identifier: GPL-2.0

#include <linux/cpumask.h>
#include <linux/preempt.h>
#include <linux/workqueue.h>

#include "../helpers.h"

void helper_init_deferrable_work(struct delayed_work *work, work_func_t func)
{
	INIT_DEFERRABLE_WORK(work, func);
}

void helper_queue_periodic_work(struct delayed_work *work, unsigned long delay)
{
	queue_delayed_work(system_power_efficient_wq, work, delay);
}

bool helper_queue_work_on(u32 cpu, struct workqueue_struct *wq, struct work_struct *work)
{
	/*
	 * Without preemption an online CPU stays online. On an offline CPU the work might never
	 * run.
	 */
	guard(preempt)();
	if (cpu >= nr_cpu_ids || !cpu_online(cpu))
		cpu = WORK_CPU_UNBOUND;
	return queue_work_on(cpu, wq, work);
}

bool helper_work_is_queued(struct work_struct *work)
{
	return work_pending(work);
}

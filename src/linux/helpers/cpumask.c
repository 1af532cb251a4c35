// SPDX-License-Identifier: GPL-2.0

#include <linux/cpumask.h>

#include "../helpers.h"

u32 helper_cpumask_next_online(u32 cpu)
{
	/* From a number beyond the mask, the search would read beyond it. */
	const int after = cpu < nr_cpu_ids ? (int)cpu : -1;

	cpu = cpumask_next_wrap(after, cpu_online_mask);
	return cpu < nr_cpu_ids ? cpu : 0;
}

u32 helper_cpumask_nth_online(u32 n)
{
	const u32 cpu = cpumask_nth(n % num_online_cpus(), cpu_online_mask);

	/* A CPU may have gone offline since num_online_cpus() counted. */
	return cpu < nr_cpu_ids ? cpu : cpumask_first(cpu_online_mask);
}

bool helper_cpumask_is_alone(void)
{
	return num_online_cpus() == 1;
}

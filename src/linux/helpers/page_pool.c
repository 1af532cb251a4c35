// SPDX-License-Identifier: GPL-2.0

#include <asm/page.h>
#include <linux/cpumask.h>
#include <linux/netdevice.h>
#include <linux/percpu.h>
#include <linux/topology.h>
#include <net/page_pool/helpers.h>

#include "../helpers.h"

struct page_pool_bh __percpu *helper_page_pools_create(u32 size, u32 count)
{
	struct page_pool_params params = { .order = get_order(size), .pool_size = count };
	struct page_pool_bh __percpu *pools = alloc_percpu(struct page_pool_bh);
	unsigned int cpu;

	if (!pools)
		return NULL;
	for_each_possible_cpu(cpu) {
		struct page_pool_bh *local = per_cpu_ptr(pools, cpu);

		local_lock_init(&local->bh_lock);
		params.nid = cpu_to_mem(cpu);
		local->pool = page_pool_create(&params);
		if (IS_ERR(local->pool)) {
			local->pool = NULL;
			helper_page_pools_destroy(pools);
			return NULL;
		}
	}
	return pools;
}

void helper_page_pools_destroy(struct page_pool_bh __percpu *pools)
{
	unsigned int cpu;

	for_each_possible_cpu(cpu)
		page_pool_destroy(per_cpu_ptr(pools, cpu)->pool);
	free_percpu(pools);
}

void *helper_page_pools_alloc(struct page_pool_bh __percpu *pools, size_t *size)
{
	struct page_pool *pool;
	void *data = NULL;
	u32 len = *size;

	local_lock_nested_bh(&pools->bh_lock);
	pool = this_cpu_read(pools->pool);
	if (likely(*size <= PAGE_SIZE << pool->p.order))
		data = page_pool_dev_alloc_va(pool, &len);
	local_unlock_nested_bh(&pools->bh_lock);
	*size = len;
	return data;
}

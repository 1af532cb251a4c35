// SPDX-License-Identifier: GPL-2.0

#include <linux/once.h>
#include <linux/random.h>
#include <linux/rhashtable.h>
#include <linux/siphash.h>

#include "../helpers.h"

/* The key of all tables. Each bucket table mixes a seed of its own into it. */
static siphash_key_t helper_rhashtable_key __read_mostly;

u32 helper_siphash(const void *data, u32 len, const siphash_key_t *key)
{
	/* siphash() has quick code for a constant number of whole words. */
	switch (len) {
	case 3 * sizeof(u64):
		return siphash(data, 3 * sizeof(u64), key);
	case 4 * sizeof(u64):
		return siphash(data, 4 * sizeof(u64), key);
	default:
		return siphash(data, len, key);
	}
}

static u32 helper_rhashtable_hash(const void *data, u32 len, u32 seed)
{
	siphash_key_t key = helper_rhashtable_key;

	key.key[1] ^= seed;
	return helper_siphash(data, len, &key);
}

/*
 * The entries that a new table expects, for which it makes eight buckets: they take 128 bytes. The
 * default is 64 buckets, which take 1,024, and most tables never have as many entries. A table that
 * gets more entries grows.
 */
#define HELPER_RHASHTABLE_HINT 6

/*
 * The inline functions of rhashtable.h are meant for constant parameters. The length of the key is
 * not constant here: as it is zero, they read it from the table.
 */
static const struct rhashtable_params helper_rhashtable_params = {
	.nelem_hint = HELPER_RHASHTABLE_HINT,
	.head_offset = offsetof(struct helper_rhashtable_node, head),
	.key_offset = sizeof(struct helper_rhashtable_node),
	.hashfn = helper_rhashtable_hash,
	.automatic_shrinking = true,
};

static __always_inline int helper_rhashtable_cmp_u32(struct rhashtable_compare_arg *arg,
						     const void *obj)
{
	return *(const u32 *)(obj + sizeof(struct helper_rhashtable_node)) !=
	       *(const u32 *)arg->key;
}

/* For keys that are random numbers: jhash with the table's seed is enough, and quicker. */
static const struct rhashtable_params helper_rhashtable_params_u32 = {
	.nelem_hint = HELPER_RHASHTABLE_HINT,
	.head_offset = offsetof(struct helper_rhashtable_node, head),
	.key_offset = sizeof(struct helper_rhashtable_node),
	.key_len = sizeof(u32),
	.obj_cmpfn = helper_rhashtable_cmp_u32,
	.automatic_shrinking = true,
};

int helper_rhashtable_init(struct rhashtable *ht, u16 key_len)
{
	struct rhashtable_params params = helper_rhashtable_params;

	get_random_once(&helper_rhashtable_key, sizeof(helper_rhashtable_key));
	if (key_len == sizeof(u32))
		return rhashtable_init(ht, &helper_rhashtable_params_u32);
	params.key_len = key_len;
	return rhashtable_init(ht, &params);
}

void *helper_rhashtable_lookup(struct rhashtable *ht, const void *key)
{
	if (likely(ht->p.key_len == sizeof(u32)))
		return rhashtable_lookup(ht, key, helper_rhashtable_params_u32);
	return rhashtable_lookup(ht, key, helper_rhashtable_params);
}

int helper_rhashtable_insert(struct rhashtable *ht, struct helper_rhashtable_node *node)
{
	if (ht->p.key_len == sizeof(u32))
		return rhashtable_lookup_insert_fast(ht, &node->head, helper_rhashtable_params_u32);
	return rhashtable_lookup_insert_fast(ht, &node->head, helper_rhashtable_params);
}

int helper_rhashtable_remove(struct rhashtable *ht, struct helper_rhashtable_node *node)
{
	if (ht->p.key_len == sizeof(u32))
		return rhashtable_remove_fast(ht, &node->head, helper_rhashtable_params_u32);
	return rhashtable_remove_fast(ht, &node->head, helper_rhashtable_params);
}

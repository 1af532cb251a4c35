// SPDX-License-Identifier: GPL-2.0

#include <crypto/chacha.h>
#include <crypto/poly1305.h>
#include <linux/inetdevice.h>
#include <linux/local_lock.h>
#include <linux/percpu.h>
#include <linux/skbuff.h>
#include <linux/skbuff_ref.h>
#include <net/addrconf.h>
#include <net/netmem.h>
#include <net/sock.h>

#include "../helpers.h"
#include "helpers.h"

/*
 * Least bytes of a message that is decrypted straight from its fragment. A shorter one is copied,
 * which costs less than keeping a page.
 */
#define HELPER_MIN_SOURCE 256

/*
 * Returns the address of a packet's data from `offset` on, for decrypting from there, or NULL. Not
 * NULL means that these data lie in one fragment that has no other writer, and that the
 * CHACHA_BLOCK_SIZE bytes in front of them can be read. Those bytes may change meanwhile: they may
 * belong to another packet.
 */
const void *helper_skb_source(struct sk_buff *skb, u32 offset)
{
	const struct skb_shared_info *shinfo = skb_shinfo(skb);
	const skb_frag_t *frag = &shinfo->frags[0];
	const u32 headlen = skb_headlen(skb);

	/*
	 * The data are read twice: to decrypt and to authenticate them. The owner of a clone, or of
	 * pages lent to the kernel, might write to them in between.
	 */
	if (IS_ENABLED(CONFIG_HIGHMEM) || offset < headlen || shinfo->nr_frags != 1 ||
	    skb_has_frag_list(skb) || skb_cloned(skb) || skb_has_shared_frag(skb) ||
	    skb_zcopy(skb) || !skb_frags_readable(skb))
		return NULL;
	offset -= headlen;
	if (offset > skb_frag_size(frag) || skb_frag_size(frag) - offset < HELPER_MIN_SOURCE ||
	    skb_frag_off(frag) + offset < CHACHA_BLOCK_SIZE)
		return NULL;
	return skb_frag_address(frag) + offset;
}

/*
 * Returns an empty packet whose linear memory is a fragment of a page of `pools`, which GRO can
 * take over. NULL if there is no memory, or it would not fit such a page.
 *
 * The headroom has at least CHACHA_BLOCK_SIZE bytes, followed by a copy of the headers of `skb`,
 * from its network header to its data; cb, protocol and skb_iif are copied, too. The tailroom has
 * `len` bytes and a tag.
 */
struct sk_buff *helper_skb_alloc_text(const struct sk_buff *skb, u32 len,
				      struct page_pool_bh __percpu *pools)
{
	const u32 outer = -skb_network_offset(skb);
	const u32 front = max_t(u32, NET_SKB_PAD, CHACHA_BLOCK_SIZE);
	size_t size = SKB_HEAD_ALIGN((size_t)front + outer + len + POLY1305_DIGEST_SIZE);
	struct sk_buff *text = NULL;
	void *data;

	local_bh_disable();
	data = helper_page_pools_alloc(pools, &size);
	if (likely(data)) {
		text = napi_build_skb(data, size);
		if (likely(text))
			skb_mark_for_recycle(text);
		else
			napi_pp_put_page(page_to_netmem(virt_to_page(data)));
	}
	local_bh_enable();
	if (unlikely(!text))
		return NULL;
	skb_reserve(text, front);
	skb_reset_mac_header(text);
	skb_reset_network_header(text);
	skb_set_transport_header(text, skb_network_header_len(skb));
	__skb_put_data(text, skb_network_header(skb), outer);
	__skb_pull(text, outer);
	memcpy(text->cb, skb->cb, sizeof(text->cb));
	text->protocol = skb->protocol;
	text->skb_iif = skb->skb_iif;
	return text;
}

/* How many bytes a page of a ring has, and how many pages a ring. */
#define HELPER_RING_PAGE_SIZE 32768
#define HELPER_RING_PAGES 16

struct helper_page_ring {
	local_lock_t bh_lock;
	/* Which page packets get parts of now, and how many bytes of it they have. */
	u32 current_page;
	u32 used;
	/* Each has a reference of the ring, and one of each packet that has a part of it. */
	struct page *pages[HELPER_RING_PAGES];
};

struct helper_page_ring __percpu *helper_page_rings_create(void)
{
	struct helper_page_ring __percpu *rings = alloc_percpu(struct helper_page_ring);
	unsigned int cpu;

	if (rings)
		for_each_possible_cpu(cpu)
			local_lock_init(&per_cpu_ptr(rings, cpu)->bh_lock);
	return rings;
}

void helper_page_rings_destroy(struct helper_page_ring __percpu *rings)
{
	unsigned int cpu, i;

	for_each_possible_cpu(cpu) {
		struct helper_page_ring *ring = per_cpu_ptr(rings, cpu);

		for (i = 0; i < HELPER_RING_PAGES; i++)
			if (ring->pages[i])
				put_page(ring->pages[i]);
	}
	free_percpu(rings);
}

/*
 * Returns a page that has `len` unused bytes from `*offset` on, with a reference for the caller.
 * This is the page in use or, if it is full, the one that this CPU has used least recently. If
 * packets still have that page, a new one replaces it in the ring. So does one if the page is of
 * the emergency reserves: it would mark each packet that gets it. NULL if there is no memory.
 */
static struct page *helper_page_ring_take(struct helper_page_ring __percpu *rings, u32 len,
					  u32 *offset, gfp_t gfp)
{
	struct helper_page_ring *ring;
	struct page *page;

	local_bh_disable();
	local_lock_nested_bh(&rings->bh_lock);
	ring = this_cpu_ptr(rings);
	page = ring->pages[ring->current_page];
	if (!page || len > HELPER_RING_PAGE_SIZE - ring->used) {
		const u32 next = (ring->current_page + 1) % HELPER_RING_PAGES;
		struct page *old = ring->pages[next];

		page = old;
		/* Whoever dropped the last other reference read the page first: a full barrier. */
		if (!old || page_ref_count(old) != 1 || page_is_pfmemalloc(old)) {
			page = alloc_pages(gfp, get_order(HELPER_RING_PAGE_SIZE));
			if (page && old)
				put_page(old);
		}
		if (page) {
			ring->pages[next] = page;
			ring->current_page = next;
			ring->used = 0;
		}
	}
	if (page) {
		*offset = ring->used;
		ring->used += len;
		get_page(page);
	}
	local_unlock_nested_bh(&rings->bh_lock);
	local_bh_enable();
	return page;
}

/*
 * Allocates contiguous memory for a fragment of a packet: `wanted` bytes, at most
 * HELPER_RING_PAGE_SIZE, of a page of this CPU's ring. If there is no such page, allocates new
 * pages for `needed` bytes. Returns NULL if both fail. Stores where in the returned page the memory
 * begins in `*offset`, and its size in bytes in `*size`.
 */
struct page *helper_alloc_frag(struct helper_page_ring __percpu *rings, u32 wanted, u32 needed,
			       u32 *offset, u32 *size)
{
	const gfp_t gfp = GFP_ATOMIC | __GFP_COMP | __GFP_NOWARN;
	struct page *page;

	*size = ALIGN(wanted, L1_CACHE_BYTES);
	page = helper_page_ring_take(rings, *size, offset, gfp | __GFP_NORETRY);
	if (!page) {
		*size = PAGE_SIZE << get_order(needed);
		*offset = 0;
		page = alloc_pages(gfp, get_order(needed));
	}
	return page;
}

/*
 * Drops the last fragment of `skb`, which accounts for `truesize` bytes, if it is empty: what was
 * to be in it could not be written. Drivers do not expect such a fragment.
 */
void helper_skb_drop_empty_frag(struct sk_buff *skb, u32 truesize)
{
	struct skb_shared_info *shinfo = skb_shinfo(skb);
	int last = (int)shinfo->nr_frags - 1;

	if (last < 0 || skb_frag_size(&shinfo->frags[last]))
		return;
	__skb_frag_unref(&shinfo->frags[last], skb->pp_recycle);
	shinfo->nr_frags = last;
	skb->truesize -= truesize;
}

/*
 * The memory of a linear packet is its head. What GRO has joined others to, and the stack has split
 * again, still accounts for them.
 */
void helper_skb_account_linear(struct sk_buff *skb)
{
	if (!skb->sk)
		skb->truesize = SKB_TRUESIZE(skb_end_offset(skb));
}

/*
 * Whether a packet must not share an skb with others: it requests a timestamp or a notification
 * that its pages are free, or its socket does not count its bytes in sk_wmem_alloc, so
 * helper_skb_charge_like() could not charge another skb to that socket.
 */
bool helper_skb_goes_alone(const struct sk_buff *skb)
{
	return skb_shinfo(skb)->tx_flags || (skb_shinfo(skb)->flags & SKBFL_ZEROCOPY_ENABLE) ||
	       (skb->sk && !is_skb_wmem(skb));
}

/* Charges `skb` to the socket that sent `like`, so that the socket waits for both. */
void helper_skb_charge_like(struct sk_buff *skb, const struct sk_buff *like)
{
	if (!like->sk || !is_skb_wmem(like))
		return;
	skb_orphan(skb);
	skb->sk = like->sk;
	skb->destructor = like->destructor;
	refcount_add(skb->truesize, &skb->sk->sk_wmem_alloc);
}

/*
 * Appends `datagram` to the fragment list of `skb`, behind `last`, which is NULL if the list is
 * empty. All data of `datagram` must be in its linear part, and it must have no clone. `skb` gets
 * flow hash and socket of the first datagram, and takes over the charges to that socket.
 */
void helper_skb_chain(struct sk_buff *skb, struct sk_buff *last, struct sk_buff *datagram)
{
	const bool wmem = datagram->sk && is_skb_wmem(datagram);

	if (last) {
		last->next = datagram;
	} else {
		skb_shinfo(skb)->frag_list = datagram;
		skb_copy_hash(skb, datagram);
		skb->tstamp_type = datagram->tstamp_type;
		if (wmem) {
			skb->sk = datagram->sk;
			skb->destructor = datagram->destructor;
			refcount_add(skb->truesize, &skb->sk->sk_wmem_alloc);
		}
	}
	if (wmem && skb->sk == datagram->sk && skb->destructor == datagram->destructor) {
		datagram->sk = NULL;
		datagram->destructor = NULL;
	} else {
		skb_orphan(datagram);
	}
	/* What else the packet was inside of the tunnel: outside it is as `skb` is. */
	skb_dst_drop(datagram);
	nf_reset_ct(datagram);
	skb_ext_reset(datagram);
	datagram->next = NULL;
	/* Has skb_segment() write the headers in front of the datagram without a copy. */
	__skb_header_release(datagram);
	skb->len += datagram->len;
	skb->data_len += datagram->len;
	skb->truesize += datagram->truesize;
}

void helper_netdev_no_neighbours(struct net_device *dev)
{
	struct in_device *in_dev = __in_dev_get_rtnl(dev);
	struct inet6_dev *in6_dev = __in6_dev_get(dev);

	if (in_dev) {
		IN_DEV_CONF_SET(in_dev, SEND_REDIRECTS, false);
		IPV4_DEVCONF_ALL(dev_net(dev), SEND_REDIRECTS) = false;
	}
	if (in6_dev)
		in6_dev->cnf.addr_gen_mode = IN6_ADDR_GEN_MODE_NONE;
}

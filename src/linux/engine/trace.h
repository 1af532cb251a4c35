/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The tracepoints. A peer is named by its number in the log, 0 if it is not known; an address is a
 * struct sockaddr_in or sockaddr_in6, without a family if it is not known.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM wireguard

#if !defined(_WIREGUARD_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define _WIREGUARD_TRACE_H

#include <linux/minmax.h>
#include <linux/netdevice.h>
#include <linux/string.h>
#include <linux/tracepoint.h>
#include <net/ipv6.h>

DECLARE_EVENT_CLASS(wg_handshake,

	TP_PROTO(const struct net_device *dev, u64 peer, const char *message, const u8 *address,
		 u32 len),

	TP_ARGS(dev, peer, message, address, len),

	TP_STRUCT__entry(
		__string(interface, dev->name)
		__field(int, ifindex)
		__field(u64, peer)
		__string(message, message)
		__array(u8, address, sizeof(struct sockaddr_in6))
	),

	TP_fast_assign(
		__assign_str(interface);
		__entry->ifindex = dev->ifindex;
		__entry->peer = peer;
		__assign_str(message);
		memset(__entry->address, 0, sizeof(struct sockaddr_in6));
		memcpy(__entry->address, address,
		       min_t(u32, len, sizeof(struct sockaddr_in6)));
	),

	TP_printk("interface=%s ifindex=%d peer=%llu message=%s address=%pISpc",
		  __get_str(interface), __entry->ifindex, __entry->peer, __get_str(message),
		  __entry->address)
);

/* A handshake message was handed to the network stack. */
DEFINE_EVENT(wg_handshake, wg_handshake_sent,
	TP_PROTO(const struct net_device *dev, u64 peer, const char *message, const u8 *address,
		 u32 len),
	TP_ARGS(dev, peer, message, address, len)
);

/* A handshake message has arrived. It says who sent it only when it has been read. */
DEFINE_EVENT(wg_handshake, wg_handshake_received,
	TP_PROTO(const struct net_device *dev, u64 peer, const char *message, const u8 *address,
		 u32 len),
	TP_ARGS(dev, peer, message, address, len)
);

DECLARE_EVENT_CLASS(wg_loss,

	TP_PROTO(const struct net_device *dev, u64 peer, const char *reason, u32 count),

	TP_ARGS(dev, peer, reason, count),

	TP_STRUCT__entry(
		__string(interface, dev->name)
		__field(int, ifindex)
		__field(u64, peer)
		__string(reason, reason)
		__field(u32, count)
	),

	TP_fast_assign(
		__assign_str(interface);
		__entry->ifindex = dev->ifindex;
		__entry->peer = peer;
		__assign_str(reason);
		__entry->count = count;
	),

	TP_printk("interface=%s ifindex=%d peer=%llu reason=%s count=%u",
		  __get_str(interface), __entry->ifindex, __entry->peer, __get_str(reason),
		  __entry->count)
);

/* A handshake message was not taken. */
DEFINE_EVENT(wg_loss, wg_handshake_refused,
	TP_PROTO(const struct net_device *dev, u64 peer, const char *reason, u32 count),
	TP_ARGS(dev, peer, reason, count)
);

/* Packets from inside the tunnel, or messages, were dropped. */
DEFINE_EVENT(wg_loss, wg_packet_dropped,
	TP_PROTO(const struct net_device *dev, u64 peer, const char *reason, u32 count),
	TP_ARGS(dev, peer, reason, count)
);

DECLARE_EVENT_CLASS(wg_session,

	TP_PROTO(const struct net_device *dev, u64 peer, const char *role, u32 index),

	TP_ARGS(dev, peer, role, index),

	TP_STRUCT__entry(
		__string(interface, dev->name)
		__field(int, ifindex)
		__field(u64, peer)
		__string(role, role)
		__field(u32, index)
	),

	TP_fast_assign(
		__assign_str(interface);
		__entry->ifindex = dev->ifindex;
		__entry->peer = peer;
		__assign_str(role);
		__entry->index = index;
	),

	TP_printk("interface=%s ifindex=%d peer=%llu role=%s index=%08x",
		  __get_str(interface), __entry->ifindex, __entry->peer, __get_str(role),
		  __entry->index)
);

/* There are keys of a new session. The index is that which the peer sends to. */
DEFINE_EVENT(wg_session, wg_session_begun,
	TP_PROTO(const struct net_device *dev, u64 peer, const char *role, u32 index),
	TP_ARGS(dev, peer, role, index)
);

/* The keys of a session are used no more. */
DEFINE_EVENT(wg_session, wg_session_ended,
	TP_PROTO(const struct net_device *dev, u64 peer, const char *role, u32 index),
	TP_ARGS(dev, peer, role, index)
);

/* Something has happened to the endpoint of a peer, which is this address now. */
TRACE_EVENT(wg_endpoint,

	TP_PROTO(const struct net_device *dev, u64 peer, const char *event, const u8 *address,
		 u32 len),

	TP_ARGS(dev, peer, event, address, len),

	TP_STRUCT__entry(
		__string(interface, dev->name)
		__field(int, ifindex)
		__field(u64, peer)
		__string(event, event)
		__array(u8, address, sizeof(struct sockaddr_in6))
	),

	TP_fast_assign(
		__assign_str(interface);
		__entry->ifindex = dev->ifindex;
		__entry->peer = peer;
		__assign_str(event);
		memset(__entry->address, 0, sizeof(struct sockaddr_in6));
		memcpy(__entry->address, address,
		       min_t(u32, len, sizeof(struct sockaddr_in6)));
	),

	TP_printk("interface=%s ifindex=%d peer=%llu event=%s address=%pISpc",
		  __get_str(interface), __entry->ifindex, __entry->peer, __get_str(event),
		  __entry->address)
);

#endif

/* This folder is in the path of the file that includes this one to define the tracepoints. */
#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>

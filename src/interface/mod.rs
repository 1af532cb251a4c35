// SPDX-License-Identifier: GPL-2.0

//! What the kernel calls: the operations of the network device. This folder names the way in and
//! out. What happens on the way is in [`send`](crate::send) and [`receive`].

use kernel::{
    list::ListArc,
    prelude::*,
    sync::{
        Arc,
        ArcBorrow, //
    },
};

use crate::{
    debug::dev_dbg,
    linux::{
        engine::link::{
            Driver,
            Handle, //
        },
        napi::NapiContext,
        net_namespace::Net,
        netdevice::{
            Features,
            NetDevice,
            Setup,
            Stat,
            GSO_MAX_SIZE, //
        },
        sched,
        skbuff::SkBuff, //
    },
    packet::DATA_PACKET_HEAD_ROOM,
    protocol::messages::{
        noise_encrypted_len,
        MESSAGE_MINIMUM_LENGTH,
        MESSAGE_PADDING_MULTIPLE, //
    },
    receive,
    state::device::Device, //
};

mod registration;
mod transmit;

pub(crate) use registration::Registration;
use transmit::transmit;

/// Bytes that encapsulation adds to a packet: IPv6 and UDP header, header and tag of the data
/// message.
const OVERHEAD: u32 = 40 + 8 + MESSAGE_MINIMUM_LENGTH as u32;
/// The MTU of Ethernet.
const ETH_DATA_LEN: u32 = 1500;

impl Driver for Device {
    const KIND: &'static CStr = c"wireguard";
    const NO_NEIGHBOURS: bool = true;

    fn setup(dev: &mut Setup<'_>) {
        const MAX_MTU: u32 = (i32::MAX as u32 & !(MESSAGE_PADDING_MULTIPLE - 1)) - OVERHEAD;

        dev.no_link_layer();
        dev.needed_room(
            DATA_PACKET_HEAD_ROOM as u16,
            noise_encrypted_len(MESSAGE_PADDING_MULTIPLE as usize) as u16,
        );
        dev.mtu(ETH_DATA_LEN - OVERHEAD, MAX_MTU);
        dev.features(
            Features::HW_CSUM
                | Features::RXCSUM
                | Features::SG
                | Features::FRAGLIST
                | Features::GSO
                | Features::GSO_SOFTWARE
                | Features::HIGHDMA,
        );
        dev.tso_max_size(GSO_MAX_SIZE);
        dev.no_queue();
        dev.lltx();
        dev.keep_dst();
    }

    fn new(handle: Handle, net: &Net) -> Result<Arc<Self>> {
        let shared = registration::devices().ok_or(ENODEV)?;
        Device::new(
            handle,
            net,
            shared.limiter.clone(),
            shared.work_queues.clone(),
            shared.memory.clone(),
        )
    }

    fn registered(this: ArcBorrow<'_, Self>, _dev: &NetDevice) {
        this.handshakes.attach(this.into());
        if let (Some(shared), Some(device)) =
            (registration::devices(), ListArc::try_from_arc_borrow(this))
        {
            shared.list.lock().push_back(device);
        }
        dev_dbg!(this, "Interface created\n");
    }

    fn open(this: ArcBorrow<'_, Self>, _dev: &NetDevice) -> Result {
        let device: Arc<Self> = this.into();
        let mut config = device.update.lock();
        let port = config.incoming_port;
        device.open_sockets(&mut config, port)?;
        for peer in config.peers() {
            peer.send_staged_packets();
            if peer.persistent_keepalive_interval() != 0 {
                peer.send_keepalive();
            }
            sched::cond_resched();
        }
        Ok(())
    }

    fn closing(this: ArcBorrow<'_, Self>, _dev: &NetDevice) {
        let mut config = this.update.lock();
        config.closing = this.sockets.unpublish();
    }

    fn stop(this: ArcBorrow<'_, Self>, _dev: &NetDevice) {
        let mut config = this.update.lock();
        // A grace period has passed since `closing()`: the sockets close without another one.
        config.closing = None;
        for queue in &this.rx_queues {
            drop(queue.take_arrived());
        }
        this.handshakes.purge();
        for peer in config.peers() {
            peer.stop();
            sched::cond_resched();
        }
    }

    fn unregistering(this: ArcBorrow<'_, Self>, _dev: &NetDevice) {
        let mut config = this.update.lock();
        // A dump that has begun shows less from here on.
        config.changed();
        *this.creating_net.lock() = None;
        config.incoming_port = 0;
        // The device is down: it does not matter which prefixes a late reader still finds.
        drop(this.allowed_ips.write().clear());
        config.for_each_disowned(|peer| {
            peer.disappear();
            sched::cond_resched();
        });
    }

    fn start_xmit(this: ArcBorrow<'_, Self>, dev: &NetDevice, skb: SkBuff) -> Result {
        transmit(&this, dev, skb).inspect_err(|_| dev.stats_add(Stat::TxErrors, 1))
    }

    fn poll(
        this: ArcBorrow<'_, Self>,
        dev: &NetDevice,
        cpu: u32,
        napi: &NapiContext<'_>,
        budget: usize,
    ) -> usize {
        receive::poll(&this, dev, cpu, napi, budget)
    }

    fn destroy(this: Arc<Self>, _dev: &NetDevice) {
        if let Some(shared) = registration::devices() {
            let mut list = shared.list.lock();
            let mut cursor = list.cursor_front();
            while let Some(next) = cursor.peek_next() {
                if core::ptr::eq(&*next.arc(), &*this) {
                    next.remove();
                    break;
                }
                cursor.move_next();
            }
        }
        {
            // A grace period has passed since `Peer::disappear()`.
            let mut config = this.update.lock();
            while let Some(peer) = config.take_first_peer() {
                peer.finish();
                sched::cond_resched();
            }
        }
        // Nothing begins any more, and no NAPI runs. Work that is under way is flushed, but none of
        // another device: handshakes, then packets. Decrypted packets are dropped last, as no NAPI
        // takes them.
        this.handshakes.detach();
        this.handshakes.flush();
        this.encrypt_queue.flush();
        this.decrypt_queue.flush();
        for queue in &this.rx_queues {
            queue.purge(|peer| while peer.rx_queue.pop_done().is_some() {});
        }
        // Each peer goes with the last reference to it, and gives up its reference to the device.
        // A work item of a peer that is queued has such a reference.
        // In most cases all have gone already: RCU has had their keys and handles since the device
        // began to be unregistered.
        this.residents.wait();
        dev_dbg!(this, "Interface destroyed\n");
    }
}

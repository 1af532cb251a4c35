// SPDX-License-Identifier: GPL-2.0

//! Registers what devices need, and handles events that concern all of them: sleep, copies of the
//! machine, namespaces that go away.

use kernel::{
    list::List,
    new_mutex,
    prelude::*,
    sync::{
        atomic::ordering::Relaxed,
        Arc,
        Mutex, //
    },
};

use crate::{
    debug::dev_dbg,
    linux::{
        compat::rcu_barrier,
        engine::link,
        net_namespace::{
            PernetDevice,
            PernetExit,
            WeakNet, //
        },
        notifier::{
            PmEvents,
            PmNotifier,
            Sleep,
            VmForkEvents,
            VmForkNotifier,
            AUTOSLEEP, //
        },
        rcu,
        rcu_box::RcuBox,
        sched, //
    },
    machine,
    memory::Memory,
    queueing::WorkQueues,
    ratelimiter::RateLimiter,
    state::device::{
        Config,
        Device, //
    },
};

/// Shared by all devices of the module.
#[pin_data]
pub(super) struct Devices {
    /// Covers the list of all devices, each from its registration to its destruction.
    #[pin]
    pub(super) list: Mutex<List<Device>>,
    pub(super) limiter: Arc<RateLimiter>,
    pub(super) work_queues: Arc<WorkQueues>,
    pub(super) memory: Arc<Memory>,
}

static DEVICES: RcuBox<Arc<Devices>> = RcuBox::new();

/// The state that all devices share. `None` once the module is going. Any context.
pub(super) fn devices() -> Option<Arc<Devices>> {
    let guard = rcu::Guard::new();
    DEVICES.load(&guard).cloned()
}

/// Calls `f` for each device, with its configuration locked.
fn for_each_device(f: impl Fn(&Device, &Config)) {
    if let Some(shared) = devices() {
        for device in shared.list.lock().iter() {
            f(&device, &device.update.lock());
        }
    }
}

/// Clears all keys before the machine sleeps: neither its memory nor an image of it that is
/// restored later may hold them.
struct Suspend;

impl PmEvents for Suspend {
    fn prepare(sleep: Sleep) {
        // A machine with autosleep suspends all the time, and has to keep its tunnels.
        if AUTOSLEEP && sleep == Sleep::Suspend {
            return;
        }
        // Set the flag first: a handshake that the loop below misses begins later, and sees the
        // flag.
        machine::begins_to_sleep(sleep);
        for_each_device(|_, config| {
            for peer in config.peers() {
                peer.timers_cancel_zero_key_material();
                peer.clear_handshake();
                peer.keypairs.clear(&peer.device.index_table);
            }
        });
        // The keys go with the RCU callbacks of the keypairs and handshakes. All were queued above,
        // none by another callback: see `Keypairs::clear()`. So one barrier suffices, and callbacks
        // that others queue meanwhile are not waited for.
        rcu_barrier();
    }

    fn finished(sleep: Sleep) {
        machine::wakes_up(sleep);
        // Work goes on, and timers expire, some time before this. What they have asked for was
        // refused, and waits for its repetition.
        for_each_device(|_, config| {
            for peer in config.peers() {
                if peer.timers.retransmit_handshake.is_pending() {
                    peer.send_queued_handshake_initiation(false);
                }
            }
        });
    }
}

/// Expires all keys when this virtual machine is a copy: the other one has the same keys and
/// counters.
struct VmFork;

impl VmForkEvents for VmFork {
    fn forked() {
        // With this all keys have expired. The loop below may have to wait for locks.
        machine::was_copied();
        for_each_device(|_, config| {
            for peer in config.peers() {
                peer.expire_current_keypairs();
            }
        });
    }
}

/// Closes the sockets in a namespace that goes away.
struct NamespaceExit;

impl PernetExit for NamespaceExit {
    fn exit(net: &WeakNet) {
        let Some(shared) = devices() else {
            return;
        };
        let list = shared.list.lock();
        for device in list.iter() {
            let is_creating = device.creating_net.lock().as_ref() == Some(net);
            if is_creating {
                forget_creating_net(&device);
            }
        }
        // All sockets are unpublished by now, so that one grace period serves them all.
        for device in list.iter() {
            finish_forgetting(&device);
        }
    }
}

/// Unpublishes the sockets, because the creating namespace is going away.
/// [`finish_forgetting`] closes them.
fn forget_creating_net(device: &Device) {
    dev_dbg!(device, "Creating namespace exiting\n");
    {
        let guard = rcu::Guard::new();
        if let Some(dev) = device.netdev.get(&guard) {
            dev.carrier_off();
        }
    }
    let mut config = device.update.lock();
    *device.creating_net.lock() = None;
    config.closing = device.sockets.unpublish();
    device.forgetting.store(true, Relaxed);
}

/// Closes the sockets that [`forget_creating_net`] has unpublished, after a grace period, and drops
/// the routes of the namespace. Not sooner: a sender that still had the sockets may have looked one
/// up, and peers keep them.
fn finish_forgetting(device: &Device) {
    if device.forgetting.xchg(false, Relaxed) {
        let mut config = device.update.lock();
        config.closing = None;
        for peer in config.peers() {
            peer.endpoint.clear_src();
            sched::cond_resched();
        }
    }
}

/// Devices can be created for as long as this lives.
///
/// The field that is registered first is dropped last: that is [`Shared`], which the others use.
#[pin_data]
pub(crate) struct Registration {
    #[pin]
    link: link::Registration<Device>,
    #[pin]
    pernet: PernetDevice<NamespaceExit>,
    #[pin]
    vmfork: VmForkNotifier<VmFork>,
    #[pin]
    pm: PmNotifier<Suspend>,
    _shared: Shared,
}

impl Registration {
    /// Lets devices be created. Process context.
    pub(crate) fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            _shared: Shared::new()?,
            pm <- PmNotifier::new(),
            vmfork <- VmForkNotifier::new(),
            pernet <- PernetDevice::new(),
            link <- link::Registration::new(),
        }? Error)
    }
}

/// Keeps [`DEVICES`] set for as long as this lives.
struct Shared;

impl Shared {
    fn new() -> Result<Self> {
        let limiter = Arc::pin_init(RateLimiter::new(), GFP_KERNEL)?;
        let work_queues = Arc::new(WorkQueues::new()?, GFP_KERNEL)?;
        let memory = Arc::new(Memory::new()?, GFP_KERNEL)?;
        let devices = Arc::pin_init::<Error>(
            try_pin_init!(Devices {
                list <- new_mutex!(List::new(), "wireguard::Devices::list"),
                limiter,
                work_queues,
                memory,
            }),
            GFP_KERNEL,
        )?;
        drop(DEVICES.exchange(Some(KBox::new(devices, GFP_KERNEL)?)));
        Ok(Self)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // This drops the limiter, too: after the last device and in process context.
        drop(DEVICES.exchange(None));
    }
}

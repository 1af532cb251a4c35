// SPDX-License-Identifier: GPL-2.0

//! What makes devices possible, and what happens to all of them at once.

use kernel::{
    list::List,
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    },
};

use super::{
    Config,
    Device, //
};
use crate::{
    linux::{
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
        rtnetlink,
        workqueue::{
            Flags,
            OwnedQueue, //
        }, //
    },
    machine,
    ratelimiter::RateLimiter, //
};

/// What the devices of the module share.
#[pin_data]
pub(super) struct Devices {
    #[pin]
    pub(super) list: Mutex<List<Device>>,
    pub(super) limiter: Arc<RateLimiter>,
    pub(super) transmit_wq: Arc<OwnedQueue>,
}

static DEVICES: RcuBox<Arc<Devices>> = RcuBox::new();

/// What the devices share, unless the module is going. Any context.
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

/// Told of sleep: keys are not to be in memory then, still less in an image of it that is put back
/// later.
struct Suspend;

impl PmEvents for Suspend {
    fn prepare(sleep: Sleep) {
        // A machine that suspends all the time has to keep its tunnels all the same.
        if AUTOSLEEP && sleep == Sleep::Suspend {
            return;
        }
        // First: each handshake that is not forgotten below begins later, and sees it.
        machine::begins_to_sleep(sleep);
        for_each_device(|_, config| {
            for peer in config.peers() {
                peer.timers_cancel_zero_key_material();
                peer.clear_handshake();
                peer.keypairs.clear(&peer.device);
            }
        });
        // The keys go with the RCU callbacks of the keypairs and handshakes, which were handed in
        // above, each directly and not by another callback: see `Keypairs::clear()`. What others
        // hand in meanwhile is not waited for.
        rcu::barrier_once();
    }

    fn finished(sleep: Sleep) {
        machine::wakes_up(sleep);
    }
}

/// Told when this machine is the copy of a virtual one: the other one has the same keys and counters.
struct VmFork;

impl VmForkEvents for VmFork {
    fn forked() {
        // Now all keys have expired. What is done then for each peer may have to wait.
        machine::was_copied();
        for_each_device(|_, config| {
            for peer in config.peers() {
                peer.expire_current_keypairs();
            }
        });
    }
}

/// Told of namespaces that go away.
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
                device.forget_creating_net();
            }
        }
        // All are out of reach by now, so that there is one grace period for all of them.
        for device in list.iter() {
            device.finish_forgetting();
        }
    }
}

/// Devices can be made for as long as this lives.
///
/// What is registered first is dropped last, except for [`Shared`], which the others use.
#[pin_data]
pub(crate) struct Registration {
    #[pin]
    link: rtnetlink::Registration<Device>,
    #[pin]
    pernet: PernetDevice<NamespaceExit>,
    #[pin]
    vmfork: VmForkNotifier<VmFork>,
    #[pin]
    pm: PmNotifier<Suspend>,
    _shared: Shared,
}

impl Registration {
    /// Lets devices be made. Process context.
    pub(crate) fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            _shared: Shared::new()?,
            pm <- PmNotifier::new(),
            vmfork <- VmForkNotifier::new(),
            pernet <- PernetDevice::new(),
            link <- rtnetlink::Registration::new(),
        }? Error)
    }
}

/// Keeps [`DEVICES`] there.
struct Shared;

impl Shared {
    fn new() -> Result<Self> {
        let limiter = Arc::pin_init(RateLimiter::new(), GFP_KERNEL)?;
        // One for all devices: on each CPU items run one after another anyway.
        let transmit_wq = OwnedQueue::new(fmt!("wg-transmit"), Flags::BH | Flags::PERCPU, 0)?;
        let transmit_wq = Arc::new(transmit_wq, GFP_KERNEL)?;
        let devices = Arc::pin_init::<Error>(
            try_pin_init!(Devices {
                list <- new_mutex!(List::new(), "wireguard::Devices::list"),
                limiter,
                transmit_wq,
            }),
            GFP_KERNEL,
        )?;
        drop(DEVICES.exchange(Some(KBox::new(devices, GFP_KERNEL)?)));
        Ok(Self)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // The limiter goes with it, after the last device and in process context.
        drop(DEVICES.exchange(None));
    }
}

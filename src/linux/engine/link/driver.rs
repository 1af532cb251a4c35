// SPDX-License-Identifier: GPL-2.0

//! What a kind of devices implements.

use kernel::{
    prelude::*,
    str::CStr,
    sync::{
        Arc,
        ArcBorrow, //
    }, //
};

use super::Handle;
use crate::linux::{
    napi::NapiContext,
    net_namespace::Net,
    netdevice::{
        NetDevice,
        Setup, //
    },
    skbuff::SkBuff, //
};

/// The callbacks of a kind of network device.
///
/// ```text
///                    newlink                open            down, grace period
///   setup(), new() ───────────> registered() ───> [running] ──────────────────> stop()
///          │ fails, or registering does           start_xmit()  closing()         │
///          └────> drop                                                            │ open() again,
///                                                                                 │ or dellink
///                                  grace period                                   ▼
///                drop <── destroy() <───────────────────────────────────── unregistering()
///
///   poll(): any time between registered() and destroy()
/// ```
///
/// This face waits for the grace periods, or relies on those that the core waits for anyway.
/// Devices that are deleted together, as with their namespace, share these.
///
/// The device's private memory holds one reference to the driver. Other references may keep the
/// driver for longer, but after `destroy()` none of these functions is called for it.
pub(crate) trait Driver: Send + Sync + Sized + 'static {
    /// The name of the kind, for `ip link add type …`, and `DEVTYPE` of the devices in sysfs.
    const KIND: &'static CStr;

    /// Whether the device has no link layer and hence no neighbours. If so, when it is opened,
    /// sending ICMP redirects is turned off for it and for "all" of its namespace, because
    /// redirects are sent if either allows it. IPv6 makes no address from a link layer identifier.
    const NO_NEIGHBOURS: bool = false;

    /// Sets the properties of a new device of this kind.
    ///
    /// Process context.
    fn setup(dev: &mut Setup<'_>);

    /// Makes the driver of a new device, which is about to be registered.
    ///
    /// `net` is the namespace for the device's sockets: the one that the request to make the device
    /// came from, or that the request named with `link-netnsid`. The device itself may be in
    /// another. If registering fails the driver is dropped, and none of its other functions is
    /// called.
    ///
    /// Process context, the RTNL is held.
    fn new(handle: Handle, net: &Net) -> Result<Arc<Self>>;

    /// The device has been registered.
    ///
    /// Process context, the RTNL is held.
    fn registered(this: ArcBorrow<'_, Self>, dev: &NetDevice);

    /// `ndo_open`: the device is coming up. An error keeps it down.
    ///
    /// Process context, the RTNL is held.
    fn open(this: ArcBorrow<'_, Self>, dev: &NetDevice) -> Result;

    /// The device is going down: [`NetDevice::is_running`] has just become false. RCU readers that
    /// saw the device running may still begin new work. This function should unpublish what such
    /// readers look up under RCU, and no more: freeing is for [`Driver::stop`].
    ///
    /// Process context, the RTNL is held.
    fn closing(this: ArcBorrow<'_, Self>, dev: &NetDevice);

    /// The device is down. A grace period has passed since [`Driver::closing`]: no packets are
    /// transmitted any more, and every RCU read-side critical section that saw the device running
    /// has ended.
    ///
    /// Process context, the RTNL is held.
    fn stop(this: ArcBorrow<'_, Self>, dev: &NetDevice);

    /// `ndo_start_xmit`: takes a packet to transmit. Its data begins with the network header.
    ///
    /// The packet has no other owner, its flow hash is computed, and it refers to no device. An
    /// error is reported to the sender. The packet is consumed in any case, and the driver has to
    /// count a packet that it drops.
    ///
    /// Softirqs are off, and the call is in an RCU read-side critical section. With [`Setup::lltx`]
    /// it may run on several CPUs concurrently.
    fn start_xmit(this: ArcBorrow<'_, Self>, dev: &NetDevice, skb: SkBuff) -> Result;

    /// A NAPI was scheduled: processes at most `budget` of the packets that arrived for it, and
    /// returns how many it has processed. If that is `budget` it is called again, otherwise not
    /// before it is next scheduled.
    ///
    /// There is one NAPI for each possible CPU, and it is scheduled from that CPU. `index` is the
    /// CPU's number. Calls with the same index never overlap. A call may run on another CPU, if the
    /// NAPI's own went offline or if the user has made the NAPIs threads. It may be called while
    /// the device is not running, or is about to be removed.
    ///
    /// Softirq context, or process context with softirqs off.
    fn poll(
        this: ArcBorrow<'_, Self>,
        dev: &NetDevice,
        index: u32,
        napi: &NapiContext<'_>,
        budget: usize,
    ) -> usize;

    /// The device is being unregistered: it is down, and lookups no longer find it. After this
    /// [`Handle::get`] returns `None`, and a grace period passes before [`Driver::destroy`].
    ///
    /// Process context, the RTNL is held.
    fn unregistering(this: ArcBorrow<'_, Self>, dev: &NetDevice);

    /// The device has been unregistered, nothing else refers to it, and its NAPIs are stopped. It
    /// is freed when this returns.
    ///
    /// Process context, the RTNL is not held.
    fn destroy(this: Arc<Self>, dev: &NetDevice);
}

// SPDX-License-Identifier: GPL-2.0

//! Multicast groups of a generic netlink family, and messages to their listeners.
//!
//! C header: [`include/net/genetlink.h`](srctree/include/net/genetlink.h)

use core::ptr;
use kernel::{
    prelude::*,
    str::CStr,
    sync::atomic::ordering::Acquire, //
};

use super::{
    Family,
    Message,
    HEADERS_LEN, //
};
use crate::linux::{
    bindings,
    netdevice::NetDevice,
    netlink::Buffer,
    rcu,
    skbuff::SkBuff, //
};

/// Room for the attributes of a message to a group, in bytes.
const EVENT_LEN: usize = 512;

/// A multicast group of a family: an entry in the table of its groups.
#[repr(transparent)]
pub(crate) struct Group(bindings::genl_multicast_group);

impl Group {
    /// A group that only processes with `CAP_NET_ADMIN` in the user namespace that owns the network
    /// namespace may join. To be evaluated at compile time.
    pub(crate) const fn for_admins(name: &CStr) -> Self {
        let mut raw: bindings::genl_multicast_group = pin_init::zeroed();
        raw.name = super::padded(name);
        raw.flags = bindings::GENL_MCAST_CAP_NET_ADMIN;
        Self(raw)
    }
}

impl Family {
    /// `genl_has_listeners()`: whether anybody listens to a group, in any network namespace. False
    /// unless the family is registered. Any context.
    pub(crate) fn has_listeners(&'static self, group: u8) -> bool {
        let _guard = rcu::Guard::new();
        // Pairs with the store in `register()`. The family stays registered until the end of this
        // read-side critical section, see the drop of `Registration`.
        if !self.open.load(Acquire) {
            return false;
        }
        // SAFETY: The family is registered, and only read from then on. The function checks the
        // number of the group.
        unsafe { bindings::helper_genl_has_listeners(self.raw.get(), group.into()) }
    }

    /// `genlmsg_multicast_netns()`: sends a message with the command `cmd` to the listeners of a
    /// group in the network namespace that `dev` is in now. `fill` appends its attributes, which
    /// have room for 512 bytes.
    ///
    /// Without a listener in any namespace `fill` is not called, and nothing is allocated. A
    /// listener whose buffer is full loses the message and gets `ENOBUFS`; the same happens to all
    /// listeners if there is no memory, or `fill` fails. Does nothing unless the family is
    /// registered. Any context but a hard interrupt.
    pub(crate) fn multicast(
        &'static self,
        dev: &NetDevice,
        group: u8,
        cmd: u8,
        fill: impl FnOnce(&mut Message<'_>) -> Result,
    ) {
        // The family stays registered until the end of this read-side critical section, see the
        // drop of `Registration`.
        let _guard = rcu::Guard::new();
        if !self.has_listeners(group) {
            return;
        }
        let skb = self
            .event(cmd, fill)
            .map_or(ptr::null_mut(), SkBuff::into_raw);
        let family: *const bindings::genl_family = self.raw.get();
        // SAFETY: The family is registered, the device is valid, and RCU is read-locked. The
        // message is ours and goes to the function. Null stands for a message that is lost.
        unsafe { bindings::helper_genl_multicast(family, dev.as_raw(), skb, group.into()) };
    }

    /// Makes a message to a group. `ENOMEM`, or an error of `fill`.
    fn event(
        &'static self,
        cmd: u8,
        fill: impl FnOnce(&mut Message<'_>) -> Result,
    ) -> Result<SkBuff> {
        let mut skb = SkBuff::alloc(0, HEADERS_LEN + EVENT_LEN)?;
        match self.write(&mut skb, cmd, fill) {
            Ok(()) => Ok(skb),
            Err(error) => {
                skb.consume();
                Err(error)
            }
        }
    }

    /// Writes a message to an empty buffer.
    fn write(
        &'static self,
        skb: &mut SkBuff,
        cmd: u8,
        fill: impl FnOnce(&mut Message<'_>) -> Result,
    ) -> Result {
        let mut buffer = Buffer::new(skb)?;
        // SAFETY: The buffer is valid. The family is a static, of which the function reads the
        // number and the length of a header. The function checks for room itself.
        let attrs = unsafe { bindings::genlmsg_put(buffer.as_raw(), 0, 0, self.raw.get(), 0, cmd) };
        if attrs.is_null() {
            return Err(EMSGSIZE);
        }
        let mut message = Message { buffer, start: 0 };
        fill(&mut message)?;
        message.end();
        Ok(())
    }
}

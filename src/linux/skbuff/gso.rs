// SPDX-License-Identifier: GPL-2.0

//! Packets that stand for several (GSO), and checksums that are yet to be computed: work that the
//! sender left to the device.
//!
//! C headers: [`include/linux/skbuff.h`](srctree/include/linux/skbuff.h),
//! [`include/net/gso.h`](srctree/include/net/gso.h)

use core::ptr::NonNull;
use kernel::{
    error::to_result,
    prelude::*, //
};

use crate::linux::compat::code::EPROTONOSUPPORT;

use super::{
    bindings,
    SkBuff,
    SkbList,
    ETH_P_IP,
    ETH_P_IPV6, //
};
use crate::linux::netdevice::NetDevice;

/// Bytes of a UDP header.
pub(in crate::linux) const UDP_HEADER_LEN: usize = 8;
/// Offset of the checksum in a UDP header.
const UDP_CHECK: u16 = 6;

impl SkBuff {
    /// `skb_is_gso()`: whether the packet stands for segments that are yet to be made.
    #[inline]
    pub(crate) fn is_gso(&self) -> bool {
        self.shinfo().gso_size != 0
    }

    /// How many segments the packet stands for, at least 1.
    #[inline]
    pub(crate) fn segments(&self) -> usize {
        usize::from(self.shinfo().gso_segs).max(1)
    }

    /// Whether the inner headers, if a tunnel has noted some, are linear, and in the order in which
    /// C subtracts their offsets from one another.
    fn has_ordered_inner_headers(&self) -> bool {
        let headers = self.headers();
        headers.encapsulation() == 0
            || self.headroom() <= usize::from(headers.inner_mac_header)
                && headers.inner_mac_header <= headers.inner_network_header
                && u32::from(headers.inner_network_header) <= self.skb().tail
    }

    /// `skb_gso_segment()`: splits a GSO packet that leaves by `dev` into its segments. They may
    /// share its memory, and their checksums may be left to [`SkBuff::checksum_help`]. A packet
    /// that is not GSO comes back as the only one of the list.
    ///
    /// # Errors
    ///
    /// The packet comes back with the error: `EPROTONOSUPPORT` if it is neither IPv4 nor IPv6,
    /// `EINVAL` if its headers are out of place, or the error of the C function.
    pub(crate) fn gso_segment(mut self, dev: &NetDevice) -> Result<SkbList, (Error, SkBuff)> {
        const FEATURES: u64 = 1 << bindings::NETIF_F_SG_BIT | 1 << bindings::NETIF_F_HW_CSUM_BIT;
        if !self.is_gso() {
            let mut list = SkbList::new();
            list.push_back(self);
            return Ok(list);
        }
        if !matches!(self.protocol(), ETH_P_IP | ETH_P_IPV6) {
            return Err((EPROTONOSUPPORT, self));
        }
        if !usize::try_from(self.network_offset()).is_ok_and(|offset| offset <= self.headlen())
            || !self.has_ordered_inner_headers()
        {
            return Err((EINVAL, self));
        }
        // C reads the features of the device if the packet has a tunnel inside.
        // SAFETY: The device is borrowed for longer than this call, and the packet forgets it
        // before the call returns.
        unsafe { self.set_dev(dev.as_raw()) };
        // SAFETY: The buffer is valid and has a device. The function pulls two things off without a
        // check: the bytes in front of the network header, which are linear (see above), and the
        // headers of a tunnel, which are in order (see above). By the protocol there is no VLAN
        // header in between. The function leaves the buffer to us and returns a list of new ones.
        let segs = unsafe { bindings::__skb_gso_segment(self.as_raw(), FEATURES, true) };
        self.clear_dev();
        match kernel::error::from_err_ptr(segs) {
            Err(e) => Err((e, self)),
            Ok(segs) => match NonNull::new(segs) {
                // No segmentation was needed: header verification only.
                None => {
                    let mut list = SkbList::new();
                    list.push_back(self);
                    Ok(list)
                }
                Some(segs) => {
                    self.consume();
                    // SAFETY: The segments are a chain of new buffers that is ours.
                    Ok(unsafe { SkbList::from_raw(segs) })
                }
            },
        }
    }

    /// Makes the packet a GSO packet of `segs` datagrams of `size` bytes. Their UDP header, whose
    /// checksum is left to the device, will be right in front of the data. `None` if a clone shares
    /// the data.
    pub(in crate::linux) fn set_udp_gso(&mut self, size: u16, segs: u16) -> Option<()> {
        let shinfo = self.shinfo_mut()?;
        shinfo.gso_size = size;
        shinfo.gso_segs = segs;
        shinfo.gso_type = bindings::SKB_GSO_UDP_L4 as u32;
        // By the type invariant the cast cuts nothing off.
        let start = self.headroom().wrapping_sub(UDP_HEADER_LEN) as u16;
        let headers = self.headers_mut();
        headers.set_ip_summed(bindings::CHECKSUM_PARTIAL as u8);
        headers.__bindgen_anon_1.__bindgen_anon_1.csum_start = start;
        headers.__bindgen_anon_1.__bindgen_anon_1.csum_offset = UDP_CHECK;
        Some(())
    }

    /// Finishes a checksum that was left to the device (`CHECKSUM_PARTIAL`).
    pub(crate) fn checksum_help(&mut self) -> Result {
        if u32::from(self.headers().ip_summed()) != bindings::CHECKSUM_PARTIAL {
            return Ok(());
        }
        // SAFETY: The buffer is valid and ours.
        to_result(unsafe { bindings::skb_checksum_help(self.as_raw()) })
    }

    /// If the checksum of the packet was left to the device: the offset in the data at which it
    /// starts to sum, and the offset at which it is stored.
    ///
    /// # Errors
    ///
    /// `EINVAL` if one of the offsets is not in the linear part.
    pub(in crate::linux) fn left_checksum(&self) -> Result<Option<(usize, usize)>> {
        let headers = self.headers();
        if u32::from(headers.ip_summed()) != bindings::CHECKSUM_PARTIAL {
            return Ok(None);
        }
        // SAFETY: With `CHECKSUM_PARTIAL` the union holds these two offsets; any bits are a number.
        let left = unsafe { headers.__bindgen_anon_1.__bindgen_anon_1 };
        let start = usize::from(left.csum_start)
            .checked_sub(self.headroom())
            .ok_or(EINVAL)?;
        let place = start.wrapping_add(usize::from(left.csum_offset));
        if start > self.headlen() || place.wrapping_add(size_of::<u16>()) > self.headlen() {
            return Err(EINVAL);
        }
        Ok(Some((start, place)))
    }
}

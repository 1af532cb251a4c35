// SPDX-License-Identifier: GPL-2.0

//! Numbers of the generic netlink family `wireguard_ext`, as `netlink/specs/wireguard_ext.yaml`
//! describes it. `scripts/spec.py` compares the two.

/// The version of the family.
pub(crate) const VERSION: u32 = 1;

/// Commands.
pub(crate) mod cmd {
    pub(crate) const GET: u8 = 1;
    pub(crate) const CONFIG_NTF: u8 = 2;
    pub(crate) const SESSION_NTF: u8 = 3;
    pub(crate) const UNAUTH_NTF: u8 = 4;
    pub(crate) const DEV_SET: u8 = 5;
    pub(crate) const PEER_SET: u8 = 6;
}

/// Attributes of an interface, or of an event of an interface.
pub(crate) mod ext {
    pub(crate) const IFINDEX: u16 = 1;
    pub(crate) const IFNAME: u16 = 2;
    pub(crate) const COUNTS: u16 = 3;
    pub(crate) const LISTEN_PORT: u16 = 4;
    pub(crate) const HAS_PRIVATE_KEY: u16 = 5;
    pub(crate) const IS_UP: u16 = 6;
    pub(crate) const UNDER_LOAD: u16 = 7;
    pub(crate) const PEER: u16 = 8;
    pub(crate) const EVENT: u16 = 9;
    pub(crate) const CHANGE: u16 = 10;
    pub(crate) const LEFT_OUT: u16 = 11;
    pub(crate) const ALLOWED_IP: u16 = 12;
    pub(crate) const FROM_PUBLIC_KEY: u16 = 13;
    pub(crate) const SOURCE: u16 = 14;
    pub(crate) const REKEY_IN: u16 = 15;
    pub(crate) const SEALED: u16 = 32;
    pub(crate) const VALIDATION: u16 = 33;
    pub(crate) const LOCAL_IPV4: u16 = 34;
    pub(crate) const LOCAL_IPV6: u16 = 35;
    pub(crate) const BIND_IFINDEX: u16 = 36;
    pub(crate) const AGGREGATE_TX: u16 = 37;
    pub(crate) const AGGREGATE_RX: u16 = 38;
    pub(crate) const COPY_DSCP: u16 = 39;
    pub(crate) const COPY_FLOW_LABEL: u16 = 40;
}

/// Attributes of a peer.
pub(crate) mod peer {
    pub(crate) const PUBLIC_KEY: u16 = 1;
    pub(crate) const PAD: u16 = 2;
    pub(crate) const COUNTS: u16 = 3;
    pub(crate) const SESSION: u16 = 4;
    pub(crate) const LAST_FAILURE: u16 = 5;
    pub(crate) const LAST_FAILURE_AGE: u16 = 6;
    pub(crate) const ROUND_TRIP: u16 = 7;
    pub(crate) const ENDPOINT: u16 = 8;
    pub(crate) const LAST_HANDSHAKE_TIME: u16 = 9;
    pub(crate) const RX_BYTES: u16 = 10;
    pub(crate) const TX_BYTES: u16 = 11;
    pub(crate) const HAS_PRESHARED_KEY: u16 = 12;
    pub(crate) const PERSISTENT_KEEPALIVE: u16 = 13;
    pub(crate) const WAITING: u16 = 14;
    pub(crate) const HANDSHAKE_PENDING: u16 = 15;
    pub(crate) const ENDPOINT_STATE: u16 = 16;
    pub(crate) const LABEL: u16 = 32;
    pub(crate) const DISABLED: u16 = 33;
    pub(crate) const REQUIRE_PRESHARED_KEY: u16 = 34;
    pub(crate) const SEALED: u16 = 35;
    pub(crate) const PINNED: u16 = 36;
    pub(crate) const ENDPOINTS: u16 = 37;
}

/// Attributes of a session of a peer.
pub(crate) mod session {
    pub(crate) const SLOT: u16 = 1;
    pub(crate) const LOCAL_INDEX: u16 = 2;
    pub(crate) const REMOTE_INDEX: u16 = 3;
    pub(crate) const AGE: u16 = 4;
    pub(crate) const INITIATOR: u16 = 5;
}

/// Attributes of an allowed IP.
pub(crate) mod allowed_ip {
    pub(crate) const FAMILY: u16 = 1;
    pub(crate) const IPADDR: u16 = 2;
    pub(crate) const CIDR_MASK: u16 = 3;
}

/// Whether datagrams are aggregated.
#[allow(dead_code)]
#[repr(u8)]
pub(crate) enum Aggregation {
    /// They are not.
    Never = 0,
    /// They are.
    Always = 1,
    /// As the parameter of the module says.
    Parameter = 2,
}

/// How an interface has a peer's new address proven.
#[allow(dead_code)]
#[repr(u8)]
pub(crate) enum Validation {
    /// Not at all.
    Trusting = 0,
    /// The address is sent a little before its proof.
    Proving = 1,
    /// The address is sent no data before its proof.
    Strict = 2,
    /// As the parameter `roaming` of the module says.
    Parameter = 3,
}

/// What is known of the endpoint of a peer.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum EndpointState {
    /// It was configured, or the peer has shown that it receives there.
    Proven = 1,
    /// The newest message came from there, and there is no proof yet.
    Candidate = 2,
    /// It was pinned: nothing that arrives moves it.
    Pinned = 3,
}

/// A change of the configuration.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Change {
    /// The private key, the port, the mark or a setting of the interface was set.
    DeviceChanged = 1,
    /// The interface has a new peer.
    PeerAdded = 2,
    /// The preshared key, the endpoint, the persistent keepalive interval or a setting of a peer
    /// was set.
    PeerChanged = 3,
    /// A peer was removed. Its allowed IPs went with it.
    PeerRemoved = 4,
    /// An allowed IP that no peer had was given to a peer.
    AllowedIpAdded = 5,
    /// An allowed IP was taken from one peer and given to another.
    AllowedIpMoved = 6,
    /// An allowed IP was taken from a peer.
    AllowedIpRemoved = 7,
}

/// Multicast groups, by their place in the table of the family.
#[derive(Clone, Copy)]
#[repr(u8)]
pub(crate) enum Group {
    /// Changes of the configuration.
    Config = 0,
    /// What happens with authenticated peers.
    Session = 1,
    /// Messages that were refused, whose senders may be anybody.
    Unauth = 2,
}

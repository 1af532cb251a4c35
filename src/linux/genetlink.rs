// SPDX-License-Identifier: GPL-2.0

//! Generic netlink families.
//!
//! A [`Family`] is a static made of [`Op`]s, each of which is made of a type that implements [`DoOp`] (one request,
//! one answer) or [`DumpOp`] (one request, as many messages as it takes). While its [`Registration`] exists, the
//! core calls them, one at a time for the whole family, from process context.
//!
//! C header: [`include/net/genetlink.h`](srctree/include/net/genetlink.h)

use core::{
    mem::{
        forget,
        size_of, //
    },
    ptr, //
};
use kernel::{
    error::to_result,
    ffi::c_int,
    prelude::*,
    str::CStr,
    sync::atomic::{
        ordering::Relaxed,
        Atomic, //
    },
    types::Opaque, //
};

use super::{
    bindings,
    net_namespace::Net,
    netlink::{
        Attrs,
        Buffer,
        ExtAck,
        PolicyRef,
        Put,
        Stream, //
    }, //
};

/// Bytes of a generic netlink message in front of its attributes.
const HEADERS_LEN: usize = size_of::<bindings::nlmsghdr>() + size_of::<bindings::genlmsghdr>();

/// Who may use an operation. The core refuses everybody else with `EPERM`.
#[derive(Clone, Copy)]
pub(crate) enum Access {
    /// Everybody.
    Unprivileged,
    /// Who has `CAP_NET_ADMIN` in the initial user namespace (`GENL_ADMIN_PERM`).
    Admin,
    /// Who has `CAP_NET_ADMIN` in the user namespace that owns the sender's network namespace
    /// (`GENL_UNS_ADMIN_PERM`).
    NamespaceAdmin,
}

impl Access {
    const fn flags(self) -> u8 {
        match self {
            Self::Unprivileged => 0,
            Self::Admin => bindings::GENL_ADMIN_PERM as u8,
            Self::NamespaceAdmin => bindings::GENL_UNS_ADMIN_PERM as u8,
        }
    }
}

/// A request, as its handler sees it.
///
/// # Invariants
///
/// * `info` is valid during `'a`, and so is all it points to; `attrs` of it is a table of the attributes in the
///   request, filled by the core.
/// * Nobody else uses `extack` of it during `'a`, and nobody writes to the rest or to the request.
pub(crate) struct Request<'a> {
    info: &'a bindings::genl_info,
    /// The entries of the table of attributes.
    attrs_len: usize,
    extack: ExtAck<'a>,
}

impl<'a> Request<'a> {
    /// # Safety
    ///
    /// `info` must be as the type invariants say, and its table must be that of the types in `policy`.
    unsafe fn from_raw(info: *const bindings::genl_info, policy: PolicyRef) -> Self {
        // SAFETY: By the safety requirement.
        let info = unsafe { &*info };
        // INVARIANT: By the safety requirement.
        Self {
            info,
            attrs_len: if info.attrs.is_null() {
                0
            } else {
                usize::from(policy.max_type()).wrapping_add(1)
            },
            // SAFETY: By the safety requirement.
            extack: unsafe { ExtAck::from_raw(info.extack) },
        }
    }

    /// The attributes of the request, of the types `1..N`.
    pub(crate) fn attrs<const N: usize>(&self) -> Attrs<'a, N> {
        // SAFETY: By the type invariants the table holds pointers to attributes of the request, as many as
        // `attrs_len` says, and the request does not change during `'a`.
        unsafe { Attrs::from_raw(self.info.attrs.cast_const(), self.attrs_len) }
    }

    /// Where to say what is wrong with the request.
    pub(crate) fn extack(&self) -> &ExtAck<'a> {
        &self.extack
    }

    /// The network namespace of the socket that the request came from.
    pub(crate) fn net(&self) -> &'a Net {
        // SAFETY: By the type invariant the namespace is valid; the sender's socket, which is there as long as its
        // request is handled, has a count of it.
        unsafe { Net::from_raw(self.info._net.net) }
    }

    /// The attributes as they lie in the request.
    fn stream(&self) -> Stream {
        let message = self.info.nlhdr;
        // SAFETY: By the type invariants it is the header of the request. The core aligns messages to four bytes.
        let len = unsafe { (*message).nlmsg_len } as usize;
        // SAFETY: The core accepts no message that is shorter than its headers. The family has no header of its own.
        let attrs = unsafe { message.cast::<u8>().add(HEADERS_LEN) };
        // SAFETY: The core accepts no message that is longer than its buffer.
        unsafe { Stream::from_raw(attrs.cast_mut(), len.saturating_sub(HEADERS_LEN)) }
    }
}

/// An operation that does what a request says.
pub(crate) trait DoOp: 'static {
    /// The command that stands for it in a request.
    const CMD: u8;
    /// Who may use it.
    const ACCESS: Access;
    /// What its requests must look like. Where some may be [secret](super::netlink::Rule::secret),
    /// all attributes are zeroed when [`DoOp::doit`] is done. If it fails the request goes back to
    /// its sender, and only the secret ones are.
    const POLICY: PolicyRef;

    /// Does it. Called from process context, with the family's lock held; may sleep.
    fn doit(request: &Request<'_>) -> Result;
}

/// How far a dump has got.
pub(crate) enum Progress {
    /// There is more: [`DumpOp::dump`] is to be called again with another buffer.
    More,
    /// That was all.
    Done,
}

/// An operation that answers with as many messages as it takes.
///
/// The value is the state of one dump. It is dropped when the dump is complete or given up by its reader, whose
/// socket may then be closed already, in process context.
pub(crate) trait DumpOp: Sized + Send + 'static {
    /// The command that stands for it in a request.
    const CMD: u8;
    /// Who may use it.
    const ACCESS: Access;
    /// What its requests must look like.
    const POLICY: PolicyRef;

    /// Begins a dump. Called from process context, with the family's lock held; may sleep.
    fn start(request: &Request<'_>) -> Result<Self>;

    /// Writes messages to a buffer until it is full or there is nothing more to write.
    ///
    /// Called from process context, with the family's lock held; may sleep. `request` is the same as in
    /// [`DumpOp::start`].
    fn dump(&mut self, request: &Request<'_>, buffer: &mut DumpBuffer<'_>) -> Result<Progress>;
}

/// The buffer that messages of a dump are written to.
pub(crate) struct DumpBuffer<'a> {
    buffer: Buffer<'a>,
    cb: &'a mut bindings::netlink_callback,
    /// What the dump of `cb` was started with.
    info: &'a bindings::genl_info,
    cmd: u8,
}

impl DumpBuffer<'_> {
    /// Says of which generation the data is that is now dumped.
    ///
    /// If it is not that of the messages before, the messages that follow are marked with `NLM_F_DUMP_INTR`: the
    /// reader has seen something that never was as a whole. Generation 0 is of no use: it counts as not said.
    pub(crate) fn set_generation(&mut self, generation: u32) {
        self.cb.seq = generation;
    }

    /// Begins a message.
    ///
    /// `EMSGSIZE`: the buffer has no room for its headers.
    pub(crate) fn message(&mut self) -> Result<Message<'_>> {
        let start = self.buffer.len();
        // What `genl_dump_check_consistent()` does.
        let mut flags = bindings::NLM_F_MULTI;
        if self.cb.prev_seq != 0 && self.cb.seq != self.cb.prev_seq {
            flags |= bindings::NLM_F_DUMP_INTR;
        }
        // SAFETY: The buffer is valid by its type invariant. `family` is the one that the request was sent to, which was
        // registered and is a static. The function looks for room itself.
        let attrs = unsafe {
            bindings::genlmsg_put(
                self.buffer.as_raw(),
                self.info.snd_portid,
                self.info.snd_seq,
                self.info.family,
                flags as c_int,
                self.cmd,
            )
        };
        if attrs.is_null() {
            return Err(EMSGSIZE);
        }
        self.cb.prev_seq = self.cb.seq;
        Ok(Message {
            buffer: self.buffer.reborrow(),
            start,
        })
    }
}

/// A message that is being written. If it is dropped and not [ended](Message::end), it is taken back.
pub(crate) struct Message<'a> {
    buffer: Buffer<'a>,
    /// Where its headers are.
    start: u32,
}

impl Message<'_> {
    /// Finishes the message.
    pub(crate) fn end(mut self) {
        let len = self.buffer.len().wrapping_sub(self.start);
        // The length is the first field of the header.
        self.buffer.patch(self.start, len.to_ne_bytes());
        forget(self);
    }
}

impl Put for Message<'_> {
    fn buffer(&mut self) -> Buffer<'_> {
        self.buffer.reborrow()
    }
}

impl Drop for Message<'_> {
    fn drop(&mut self) {
        self.buffer.trim(self.start);
    }
}

/// An entry in the table of a family's operations.
#[repr(transparent)]
pub(crate) struct Op(bindings::genl_split_ops);

// SAFETY: It is only read, and refers to functions and to static policies.
unsafe impl Sync for Op {}

impl Op {
    const fn new(policy: PolicyRef, cmd: u8, flags: u8) -> Self {
        let mut raw: bindings::genl_split_ops = pin_init::zeroed();
        raw.policy = policy.as_raw();
        raw.maxattr = policy.max_type() as u32;
        raw.cmd = cmd;
        raw.flags = flags;
        Self(raw)
    }

    /// The entry of an operation that does something.
    pub(crate) const fn doing<T: DoOp>() -> Self {
        let flags = T::ACCESS.flags() | bindings::GENL_CMD_CAP_DO as u8;
        let mut op = Self::new(T::POLICY, T::CMD, flags);
        op.0.__bindgen_anon_1.__bindgen_anon_1 =
            bindings::genl_split_ops__bindgen_ty_1__bindgen_ty_1 {
                pre_doit: None,
                doit: Some(doit_callback::<T>),
                post_doit: None,
            };
        op
    }

    /// The entry of an operation that dumps something.
    pub(crate) const fn dumping<T: DumpOp>() -> Self {
        let flags = T::ACCESS.flags() | bindings::GENL_CMD_CAP_DUMP as u8;
        let mut op = Self::new(T::POLICY, T::CMD, flags);
        op.0.__bindgen_anon_1.__bindgen_anon_2 =
            bindings::genl_split_ops__bindgen_ty_1__bindgen_ty_2 {
                start: Some(start_callback::<T>),
                dumpit: Some(dumpit_callback::<T>),
                done: Some(done_callback::<T>),
            };
        op
    }
}

/// # Safety
///
/// To be called by the core only, for a request to the operation `T`.
unsafe extern "C" fn doit_callback<T: DoOp>(
    _skb: *mut bindings::sk_buff,
    info: *mut bindings::genl_info,
) -> c_int {
    let (result, stream) = {
        // SAFETY: `info` and what it points to are the core's for the duration of this call, and the table of
        // attributes is that of the operation's policy.
        let request = unsafe { Request::from_raw(info, T::POLICY) };
        (T::doit(&request), request.stream())
    };
    match result {
        Ok(()) => {
            // SAFETY: The request is in a buffer of the core that it made for the sender's message.
            // No reference to it is left: none can outlive the `request` above.
            unsafe { T::POLICY.wipe_all(stream) };
            0
        }
        // The core sends the request back with the error: only its secrets go.
        Err(errno) => {
            // SAFETY: As above.
            unsafe { T::POLICY.wipe(stream) };
            errno.to_errno()
        }
    }
}

/// What a dump was started with.
///
/// # Safety
///
/// `cb` must be the state of a dump of generic netlink.
unsafe fn dump_info(cb: *mut bindings::netlink_callback) -> *const bindings::genl_info {
    // SAFETY: By the safety requirement.
    let data = unsafe { (*cb).data }.cast::<bindings::genl_dumpit_info>();
    // SAFETY: That is what `data` of these dumps points to. Only an address is taken.
    unsafe { &raw const (*data).info }
}

/// The place where a dump of `T` keeps its state.
///
/// # Safety
///
/// `cb` must be the state of a dump.
unsafe fn dump_state<T: DumpOp>(cb: *mut bindings::netlink_callback) -> *mut *mut T {
    // SAFETY: By the safety requirement. The union is as large as six pointers, and aligned as one.
    unsafe { (&raw mut (*cb).__bindgen_anon_1).cast() }
}

/// # Safety
///
/// To be called by the core only, for a dump of the operation `T`, as the first function of that dump.
unsafe extern "C" fn start_callback<T: DumpOp>(cb: *mut bindings::netlink_callback) -> c_int {
    // SAFETY: It is a dump of generic netlink.
    let info = unsafe { dump_info(cb) };
    // SAFETY: `info` and what it points to are the core's for the duration of this call, and the table of attributes is
    // that of the operation's policy.
    let request = unsafe { Request::from_raw(info, T::POLICY) };
    let state =
        T::start(&request).and_then(|state| KBox::new(state, GFP_KERNEL).map_err(Error::from));
    match state {
        Ok(state) => {
            // SAFETY: It is a dump.
            let place = unsafe { dump_state::<T>(cb) };
            // SAFETY: The place is there and ours.
            unsafe { *place = KBox::into_raw(state) };
            0
        }
        Err(errno) => errno.to_errno(),
    }
}

/// # Safety
///
/// To be called by the core only, for a dump of the operation `T` that was started and is not done.
unsafe extern "C" fn dumpit_callback<T: DumpOp>(
    skb: *mut bindings::sk_buff,
    cb: *mut bindings::netlink_callback,
) -> c_int {
    // SAFETY: It is a dump of generic netlink.
    let info = unsafe { dump_info(cb) };
    // SAFETY: As in `start_callback()`; the request is kept as long as the dump.
    let request = unsafe { Request::from_raw(info, T::POLICY) };
    // SAFETY: It is a dump.
    let place = unsafe { dump_state::<T>(cb) };
    // SAFETY: The dump was started, so the place has its state.
    let state = unsafe { *place };
    // SAFETY: As above. The core serialises the calls for one dump.
    let state = unsafe { &mut *state };
    let mut buffer = DumpBuffer {
        // SAFETY: The buffer is the core's, linear, empty and for this call alone.
        buffer: unsafe { Buffer::from_raw(skb) },
        // SAFETY: So is the dump, the core holds a lock of it.
        cb: unsafe { &mut *cb },
        info: request.info,
        cmd: T::CMD,
    };
    match state.dump(&request, &mut buffer) {
        Ok(Progress::Done) => 0,
        // The core takes the length for "more to come".
        Ok(Progress::More) => match c_int::try_from(buffer.buffer.len()) {
            Ok(len) if len > 0 => len,
            _ => EMSGSIZE.to_errno(),
        },
        Err(errno) => errno.to_errno(),
    }
}

/// # Safety
///
/// To be called by the core only, for a dump of the operation `T` that was started, as its last function.
unsafe extern "C" fn done_callback<T: DumpOp>(cb: *mut bindings::netlink_callback) -> c_int {
    // SAFETY: It is a dump.
    let place = unsafe { dump_state::<T>(cb) };
    // SAFETY: The place is there and ours.
    let state = unsafe { place.replace(ptr::null_mut()) };
    if !state.is_null() {
        // SAFETY: It is from `KBox::into_raw()` in `start_callback()`, and was taken from its place.
        drop(unsafe { KBox::from_raw(state) });
    }
    0
}

/// A generic netlink family. To be made as a static.
///
/// It is registered once in its life. A dump that goes on when the family is unregistered still
/// reads it, as long as the reader likes, so it is never again anybody's alone to prepare for
/// another registration.
pub(crate) struct Family {
    raw: Opaque<bindings::genl_family>,
    /// Whether it was registered, or that was tried. Never cleared.
    claimed: Atomic<bool>,
}

// SAFETY: `raw` is written by the first call of `register()`, and by the core then.
unsafe impl Sync for Family {}

impl Family {
    /// Makes a family that is there in every network namespace. To be evaluated at compile time.
    ///
    /// `ops` are sorted by command, the doing before the dumping one.
    pub(crate) const fn new(name: &CStr, version: u32, ops: &'static [Op]) -> Self {
        let mut raw: bindings::genl_family = pin_init::zeroed();
        let name = name.to_bytes_with_nul();
        assert!(name.len() <= raw.name.len());
        let mut i = 0;
        while i < name.len() {
            raw.name[i] = name[i];
            i += 1;
        }
        assert!(ops.len() <= u8::MAX as usize);
        raw.version = version;
        raw.split_ops = ops.as_ptr().cast();
        raw.n_split_ops = ops.len() as u8;
        Self {
            raw: Opaque::new(raw),
            claimed: Atomic::new(false),
        }
    }

    /// Registers the family with the core. Once: `EBUSY` the next time, also when this has failed.
    ///
    /// `module` is the module that the operations are in: it is not unloaded while a dump is in progress. Process
    /// context.
    ///
    /// `EEXIST`: another family of that name is registered. `ENOMEM`.
    pub(crate) fn register(&'static self, module: &'static ThisModule) -> Result<Registration> {
        if self.claimed.xchg(true, Relaxed) {
            return Err(EBUSY);
        }
        let raw = self.raw.get();
        // SAFETY: The claim, which is made once, makes it ours, and the core has not seen it yet.
        let family = unsafe { &mut *raw };
        family.set_netnsok(1);
        family.module = module.as_ptr();
        // SAFETY: It is a family in a static, with static operations, that is not registered.
        to_result(unsafe { bindings::genl_register_family(raw) })?;
        // INVARIANT: It was just registered.
        Ok(Registration(self))
    }
}

/// A registered [`Family`], which dropping it unregisters. Afterwards no request is begun; a dump in progress goes on, and
/// keeps the module loaded.
///
/// # Invariants
///
/// The family is registered.
#[must_use]
pub(crate) struct Registration(&'static Family);

impl Drop for Registration {
    fn drop(&mut self) {
        let raw: *const bindings::genl_family = self.0.raw.get();
        // SAFETY: By the type invariant it is registered. It fails only for one that is not.
        let _ = unsafe { bindings::genl_unregister_family(raw) };
    }
}

#[kernel::macros::kunit_tests(rust_genetlink)]
mod tests {
    use super::*;
    use kernel::ModuleMetadata;

    static THIS: ThisModule = <crate::LocalModule as ModuleMetadata>::THIS_MODULE;
    static FAMILY: Family = Family::new(c"rust_kunit", 1, &[]);

    /// A family is registered once, also when the first registration has ended: a dump may go on
    /// after that.
    #[test]
    fn once() -> Result {
        let registration = FAMILY.register(&THIS)?;
        assert!(FAMILY.register(&THIS).is_err_and(|errno| errno == EBUSY));
        drop(registration);
        assert!(FAMILY.register(&THIS).is_err_and(|errno| errno == EBUSY));
        Ok(())
    }
}

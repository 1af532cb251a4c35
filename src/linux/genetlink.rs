// SPDX-License-Identifier: GPL-2.0

//! Generic netlink families.
//!
//! A [`Family`] is a static table of [`Op`]s. Each operation is a type that implements [`DoOp`]
//! (one request, one answer) or [`DumpOp`] (one request, as many messages as needed). While the
//! family's [`Registration`] exists, the core calls the operations from process context, one at a
//! time for the whole family. For the same time the family may send messages to the listeners of
//! its [`Group`]s, from any context but a hard interrupt.
//!
//! C header: [`include/net/genetlink.h`](srctree/include/net/genetlink.h)

use core::{
    mem::{
        forget,
        offset_of,
        size_of, //
    },
    ptr,
    slice, //
};
use kernel::{
    error::to_result,
    ffi::c_int,
    prelude::*,
    str::CStr,
    sync::atomic::{
        ordering::{
            Relaxed,
            Release, //
        },
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
        Put, //
    }, //
    rcu,
};

mod multicast;

pub(crate) use multicast::Group;

/// Length of the headers in front of a generic netlink message's attributes, in bytes.
const HEADERS_LEN: usize = size_of::<bindings::nlmsghdr>() + size_of::<bindings::genlmsghdr>();

/// The privilege that an operation requires. Without it the core refuses a request with `EPERM`.
#[derive(Clone, Copy)]
pub(crate) enum Access {
    /// `CAP_NET_ADMIN` in the user namespace that owns the sender's network namespace
    /// (`GENL_UNS_ADMIN_PERM`).
    NamespaceAdmin,
}

impl Access {
    const fn flags(self) -> u8 {
        match self {
            Self::NamespaceAdmin => bindings::GENL_UNS_ADMIN_PERM as u8,
        }
    }
}

/// A request, as its handler sees it.
///
/// # Invariants
///
/// * `info` and everything it points to are valid during `'a`. `attrs` are the bytes behind the
///   headers of the request, and `table` points to attributes in them.
/// * During `'a` only this value uses `info.extack`, and nothing writes to the rest of `info` or to
///   the request.
pub(crate) struct Request<'a> {
    info: &'a bindings::genl_info,
    table: &'a [*mut bindings::nlattr],
    attrs: *mut [u8],
    extack: ExtAck<'a>,
}

impl<'a> Request<'a> {
    /// # Safety
    ///
    /// `info` must be that of a request that the core has accepted by `policy`, and as the type
    /// invariants say.
    unsafe fn from_raw(info: *const bindings::genl_info, policy: PolicyRef) -> Self {
        // SAFETY: By the safety requirement.
        let info = unsafe { &*info };
        let message = info.nlhdr.cast_mut();
        // SAFETY: By the safety requirement `message` is the header of the request. The core aligns
        // messages to four bytes.
        let len = unsafe { (*message).nlmsg_len } as usize;
        // INVARIANT: By the safety requirement. The core accepts no message that is shorter than
        // its headers or longer than its buffer. The family has no header of its own.
        Self {
            info,
            table: if info.attrs.is_null() {
                &[]
            } else {
                let types = usize::from(policy.max_type()).wrapping_add(1);
                // SAFETY: By the safety requirement the core has made a table with a place for each
                // type of the policy, from 0 to its highest.
                unsafe { slice::from_raw_parts(info.attrs, types) }
            },
            attrs: ptr::slice_from_raw_parts_mut(
                message.cast::<u8>().wrapping_add(HEADERS_LEN),
                len.saturating_sub(HEADERS_LEN),
            ),
            // SAFETY: By the safety requirement.
            extack: unsafe { ExtAck::from_raw(info.extack) },
        }
    }

    /// The attributes of the request, of the types `1..N`.
    pub(crate) fn attrs<const N: usize>(&self) -> Attrs<'a, N> {
        // SAFETY: By the type invariants these bytes are valid, and nothing writes to them during
        // `'a`.
        Attrs::of(self.table, unsafe { &*self.attrs })
    }

    /// The extended acknowledgement, which takes the reason why the request fails.
    pub(crate) fn extack(&self) -> &ExtAck<'a> {
        &self.extack
    }

    /// The network namespace of the socket that the request came from.
    pub(crate) fn net(&self) -> &'a Net {
        // SAFETY: By the type invariant the namespace is valid. The sender's socket has a count of
        // it, and exists for as long as its request is handled.
        unsafe { Net::from_raw(self.info._net.net) }
    }
}

/// An operation that acts on one request.
pub(crate) trait DoOp: 'static {
    /// The number of the command in a request.
    const CMD: u8;
    /// The privilege that it requires.
    const ACCESS: Access;
    /// The policy that its requests are validated against. If the policy has
    /// [secret](super::netlink::Rule::secret) attributes, all attributes are zeroed after
    /// [`DoOp::doit`] has succeeded. If it has failed only the secret ones are, because the request
    /// goes back to its sender.
    const POLICY: PolicyRef;

    /// Handles a request. Process context, with the family's lock held; may sleep.
    fn doit(request: &Request<'_>) -> Result;
}

/// Whether a dump is complete.
pub(crate) enum Progress {
    /// More messages follow: [`DumpOp::dump`] has to be called again with another buffer.
    More,
    /// All messages are written.
    Done,
}

/// An operation that answers with as many messages as needed.
///
/// The value is the state of one dump. It is dropped in process context, when the dump is complete
/// or its reader has given up. The reader's socket may then be closed already.
pub(crate) trait DumpOp: Sized + Send + 'static {
    /// The number of the command in a request.
    const CMD: u8;
    /// The privilege that it requires.
    const ACCESS: Access;
    /// The policy that its requests are validated against.
    const POLICY: PolicyRef;

    /// Begins a dump. Process context, with the family's lock held; may sleep.
    fn start(request: &Request<'_>) -> Result<Self>;

    /// Writes messages to `buffer` until it is full or no message is left.
    ///
    /// Process context, with the family's lock held; may sleep. `request` is the same as in
    /// [`DumpOp::start`].
    fn dump(&mut self, request: &Request<'_>, buffer: &mut DumpBuffer<'_>) -> Result<Progress>;
}

/// The buffer for messages of a dump.
pub(crate) struct DumpBuffer<'a> {
    buffer: Buffer<'a>,
    /// `seq` of the dump: the generation of the data that follow.
    generation: &'a mut u32,
    /// `prev_seq` of the dump: the generation of the previous message.
    previous: &'a mut u32,
    /// The request that started the dump.
    info: &'a bindings::genl_info,
    cmd: u8,
}

impl DumpBuffer<'_> {
    /// Sets the generation of the data in the messages that follow.
    ///
    /// If the generation differs from that of the previous message, the next message is marked with
    /// `NLM_F_DUMP_INTR`: the reader has then seen a mixture of two states. Generation 0 means
    /// unknown and is never compared.
    pub(crate) fn set_generation(&mut self, generation: u32) {
        *self.generation = generation;
    }

    /// Begins a message.
    ///
    /// `EMSGSIZE`: the buffer has no room for its headers.
    pub(crate) fn message(&mut self) -> Result<Message<'_>> {
        let start = self.buffer.len();
        // As `genl_dump_check_consistent()` does.
        let mut flags = bindings::NLM_F_MULTI;
        if *self.previous != 0 && self.generation != self.previous {
            flags |= bindings::NLM_F_DUMP_INTR;
        }
        // SAFETY: The buffer is valid by its type invariant. `info.family` is the family that the
        // request was sent to: it was registered, and is a static. The function checks for room
        // itself.
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
        *self.previous = *self.generation;
        Ok(Message {
            buffer: self.buffer.reborrow(),
            start,
        })
    }
}

/// A message that is being written. Dropping it without [`Message::end`] removes it from the
/// buffer.
pub(crate) struct Message<'a> {
    buffer: Buffer<'a>,
    /// Offset of its headers in the buffer, in bytes.
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

// SAFETY: An entry is only read, and refers to functions and to static policies.
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

    /// The entry of a [`DoOp`].
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

    /// The entry of a [`DumpOp`].
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
/// Only the core may call this, for a request to the operation `T`.
unsafe extern "C" fn doit_callback<T: DoOp>(
    _skb: *mut bindings::sk_buff,
    info: *mut bindings::genl_info,
) -> c_int {
    let (result, attrs) = {
        // SAFETY: The core keeps `info` and everything it points to for the duration of this call.
        let request = unsafe { Request::from_raw(info, T::POLICY) };
        (T::doit(&request), request.attrs)
    };
    // SAFETY: The request lies in a buffer that the core made for the sender's message, so it may
    // be written to. No reference to it is left: none can outlive the `request` above.
    let attrs = unsafe { &mut *attrs };
    match result {
        Ok(()) => {
            T::POLICY.wipe_all(attrs);
            0
        }
        // The core sends the request back with the error, so only its secrets are zeroed.
        Err(errno) => {
            T::POLICY.wipe(attrs);
            errno.to_errno()
        }
    }
}

/// The parts of the core's `struct netlink_callback` that the functions of a dump use.
struct Dump<'a, T: DumpOp> {
    /// The request that started the dump.
    info: *const bindings::genl_info,
    generation: &'a mut u32,
    previous: &'a mut u32,
    /// The state of the dump, from its start to its end.
    state: &'a mut Option<KBox<T>>,
}

impl<T: DumpOp> Dump<'_, T> {
    /// # Safety
    ///
    /// `cb` must be that of a dump of the operation `T`. For as long as the new value exists,
    /// nothing else may use the structure.
    unsafe fn from_raw(cb: *mut bindings::netlink_callback) -> Self {
        // A `struct netlink_callback` has room for six pointers.
        const { assert!(size_of::<Option<KBox<T>>>() == size_of::<*mut T>()) };
        // SAFETY: By the safety requirement.
        let cb = unsafe { &mut *cb };
        let state: *mut Option<KBox<T>> = (&raw mut cb.__bindgen_anon_1).cast();
        Self {
            // `data` of a generic netlink dump points to a `struct genl_dumpit_info`.
            info: cb
                .data
                .wrapping_byte_add(offset_of!(bindings::genl_dumpit_info, info))
                .cast(),
            generation: &mut cb.seq,
            previous: &mut cb.prev_seq,
            // SAFETY: The union is as large as six pointers, and is aligned as a pointer. The core
            // has zeroed it, which is `None` of a box, and leaves it to the functions of the dump,
            // which use it as this type.
            state: unsafe { &mut *state },
        }
    }
}

/// # Safety
///
/// Only the core may call this, for a dump of the operation `T`, as the first function of that
/// dump.
unsafe extern "C" fn start_callback<T: DumpOp>(cb: *mut bindings::netlink_callback) -> c_int {
    // SAFETY: By the safety requirement `cb` is that of a dump of `T`. The core serialises the
    // calls for one dump.
    let dump = unsafe { Dump::<T>::from_raw(cb) };
    // SAFETY: The core keeps `info` and everything it points to for the duration of this call.
    let family = unsafe { (*dump.info).family };
    // SAFETY: As above; the family is registered.
    let module = unsafe { (*family).module };
    // SAFETY: The module is there, or null if it is built in.
    if !unsafe { bindings::helper_module_is_ready(module) } {
        // A module whose init fails goes, whoever uses it. A dump would outlive it.
        return EAGAIN.to_errno();
    }
    // SAFETY: The core keeps `info` and everything it points to for the duration of this call.
    let request = unsafe { Request::from_raw(dump.info, T::POLICY) };
    match T::start(&request).and_then(|state| Ok(KBox::new(state, GFP_KERNEL)?)) {
        Ok(state) => {
            *dump.state = Some(state);
            0
        }
        Err(errno) => errno.to_errno(),
    }
}

/// # Safety
///
/// Only the core may call this, for a dump of the operation `T` that was started and is not done.
unsafe extern "C" fn dumpit_callback<T: DumpOp>(
    skb: *mut bindings::sk_buff,
    cb: *mut bindings::netlink_callback,
) -> c_int {
    // SAFETY: As in `start_callback()`.
    let dump = unsafe { Dump::<T>::from_raw(cb) };
    let Some(state) = dump.state else {
        return EINVAL.to_errno();
    };
    // SAFETY: As in `start_callback()`. The core keeps the request for as long as the dump.
    let request = unsafe { Request::from_raw(dump.info, T::POLICY) };
    let mut buffer = DumpBuffer {
        // SAFETY: The core's buffer is valid, linear and empty, and only this call uses it.
        buffer: unsafe { Buffer::from_raw(skb) },
        generation: dump.generation,
        previous: dump.previous,
        info: request.info,
        cmd: T::CMD,
    };
    match state.dump(&request, &mut buffer) {
        Ok(Progress::Done) => 0,
        // A positive return value tells the core to call again.
        Ok(Progress::More) => match c_int::try_from(buffer.buffer.len()) {
            Ok(len) if len > 0 => len,
            _ => EMSGSIZE.to_errno(),
        },
        Err(errno) => errno.to_errno(),
    }
}

/// # Safety
///
/// Only the core may call this, for a dump of the operation `T` that was started, as its last
/// function.
unsafe extern "C" fn done_callback<T: DumpOp>(cb: *mut bindings::netlink_callback) -> c_int {
    // SAFETY: As in `start_callback()`.
    *unsafe { Dump::<T>::from_raw(cb) }.state = None;
    0
}

/// A generic netlink family, for use as a static.
///
/// A family can be registered only once. A dump in progress may read the structure for an unlimited
/// time after the family is unregistered, so the structure can never be prepared for another
/// registration.
pub(crate) struct Family {
    raw: Opaque<bindings::genl_family>,
    /// Set by the first attempt to register the family, and never cleared.
    claimed: Atomic<bool>,
    /// Whether messages may be sent to groups. Read in RCU read-side critical sections.
    open: Atomic<bool>,
}

// SAFETY: Only the first call of `register()` writes to `raw`, and afterwards the core.
unsafe impl Sync for Family {}

/// The name in an array of the core's, zeros behind it. To be evaluated at compile time: the name
/// has to fit.
const fn padded<const N: usize>(name: &CStr) -> [u8; N] {
    let name = name.to_bytes_with_nul();
    assert!(name.len() <= N);
    let mut padded = [0; N];
    let mut i = 0;
    while i < name.len() {
        padded[i] = name[i];
        i += 1;
    }
    padded
}

impl Family {
    /// Makes a family that every network namespace has. To be evaluated at compile time.
    pub(crate) const fn new(name: &CStr, version: u32, groups: &'static [Group]) -> Self {
        let mut raw: bindings::genl_family = pin_init::zeroed();
        raw.name = padded(name);
        assert!(groups.len() <= u8::MAX as usize);
        raw.version = version;
        raw.mcgrps = groups.as_ptr().cast();
        raw.n_mcgrps = groups.len() as u8;
        Self {
            raw: Opaque::new(raw),
            claimed: Atomic::new(false),
            open: Atomic::new(false),
        }
    }

    /// Registers the family with the core.
    ///
    /// `ops` has to be sorted by command, with a command's [`DoOp`] before its [`DumpOp`]. The
    /// operations are given here, so that code that only sends to groups need not know them.
    /// `module` is the module that has the operations: it is not unloaded while a dump is in
    /// progress. Process context.
    ///
    /// `EBUSY`: this was called before, even if that call has failed. `EEXIST`: another family of
    /// that name is registered. `EINVAL`: there are more than 255 operations. `ENOMEM`.
    pub(crate) fn register(
        &'static self,
        module: &'static ThisModule,
        ops: &'static [Op],
    ) -> Result<Registration> {
        let n_split_ops = u8::try_from(ops.len()).map_err(|_| EINVAL)?;
        if self.claimed.xchg(true, Relaxed) {
            return Err(EBUSY);
        }
        let raw = self.raw.get();
        // SAFETY: Only one call ever gets past the claim above, and the core has not seen the
        // structure yet, so this reference is exclusive.
        let family = unsafe { &mut *raw };
        family.set_netnsok(1);
        family.module = module.as_ptr();
        family.split_ops = ops.as_ptr().cast();
        family.n_split_ops = n_split_ops;
        // SAFETY: The family is a static with static operations, and is not registered.
        to_result(unsafe { bindings::genl_register_family(raw) })?;
        // The core has set the numbers of the groups. Pairs with the load in `multicast()`.
        self.open.store(true, Release);
        // INVARIANT: The family was just registered.
        Ok(Registration(self))
    }
}

/// A registered [`Family`]. Dropping the value unregisters the family. No request begins
/// afterwards; a dump in progress goes on, and keeps the module loaded. (None begins before the
/// module's init has succeeded.)
///
/// # Invariants
///
/// The family is registered.
#[must_use]
pub(crate) struct Registration(&'static Family);

impl Drop for Registration {
    fn drop(&mut self) {
        let raw: *const bindings::genl_family = self.0.raw.get();
        self.0.open.store(false, Release);
        // Whoever has seen the family open is sending now, and done a grace period later.
        rcu::synchronize_net();
        // SAFETY: By the type invariant the family is registered. The function fails only for one
        // that is not.
        let _ = unsafe { bindings::genl_unregister_family(raw) };
    }
}

#[kernel::macros::kunit_tests(rust_genetlink)]
mod tests {
    use super::*;
    use kernel::ModuleMetadata;

    static THIS: ThisModule = <crate::LocalModule as ModuleMetadata>::THIS_MODULE;
    static FAMILY: Family = Family::new(c"rust_kunit", 1, &[]);

    /// A family cannot be registered again, even after its registration has ended: a dump may still
    /// be in progress.
    #[test]
    fn once() -> Result {
        let again = || {
            FAMILY
                .register(&THIS, &[])
                .is_err_and(|errno| errno == EBUSY)
        };
        let registration = FAMILY.register(&THIS, &[])?;
        assert!(again());
        drop(registration);
        assert!(again());
        Ok(())
    }
}

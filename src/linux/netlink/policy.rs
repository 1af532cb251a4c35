// SPDX-License-Identifier: GPL-2.0

//! Policies: the rules that the attributes of a request must satisfy.

use super::{
    super::{
        bindings,
        crypto::memzero_explicit, //
    },
    StreamMut, //
};

/// Depth of nesting that the core accepts (`MAX_POLICY_RECURSION_DEPTH`). It refuses requests with
/// deeper nesting.
const MAX_DEPTH: u8 = 10;

/// An entry of a static table of `struct nla_policy`.
#[repr(transparent)]
#[derive(Clone, Copy)]
struct RawRule(bindings::nla_policy);

// SAFETY: Nothing writes to an entry, and it points only to other static tables of the same kind.
unsafe impl Sync for RawRule {}
// SAFETY: As above.
unsafe impl Send for RawRule {}

/// The properties of a rule that the C structure has no place for.
#[derive(Clone, Copy)]
struct Note {
    secret: bool,
    /// Whether this attribute or one nested in it is secret.
    holds_secrets: bool,
    children: Option<PolicyRef>,
}

/// The rule that an attribute must satisfy.
///
/// To be evaluated at compile time, so that an invalid argument is a compile error.
#[derive(Clone, Copy)]
pub(crate) struct Rule {
    raw: RawRule,
    note: Note,
}

impl Rule {
    const fn new(nla_type: u32, len: u16) -> Self {
        let mut raw: bindings::nla_policy = pin_init::zeroed();
        raw.type_ = nla_type as u8;
        raw.len = len;
        Self {
            raw: RawRule(raw),
            note: Note {
                secret: false,
                holds_secrets: false,
                children: None,
            },
        }
    }

    const fn validate(mut self, how: bindings::nla_policy_validation) -> Self {
        self.raw.0.validation_type = how as u8;
        self
    }

    const fn range(mut self, min: u16, max: u16) -> Self {
        assert!(min <= i16::MAX as u16 && max <= i16::MAX as u16);
        self.raw.0.__bindgen_anon_1.__bindgen_anon_1 =
            bindings::nla_policy__bindgen_ty_1__bindgen_ty_1 {
                min: min as i16,
                max: max as i16,
            };
        self
    }

    /// A number of one byte.
    pub(crate) const fn u8() -> Self {
        Self::new(bindings::NLA_U8, 0)
    }

    /// A number of one byte that is at most `max`.
    pub(crate) const fn u8_up_to(max: u8) -> Self {
        Self::u8()
            .validate(bindings::nla_policy_validation_NLA_VALIDATE_MAX)
            .range(0, max as u16)
    }

    /// A number of two bytes, host byte order.
    pub(crate) const fn u16() -> Self {
        Self::new(bindings::NLA_U16, 0)
    }

    /// A number of four bytes, host byte order.
    pub(crate) const fn u32() -> Self {
        Self::new(bindings::NLA_U32, 0)
    }

    /// A number of eight bytes, host byte order.
    pub(crate) const fn u64() -> Self {
        Self::new(bindings::NLA_U64, 0)
    }

    /// Flags in four bytes, host byte order. Only those in `mask` may be set.
    pub(crate) const fn flags(mask: u32) -> Self {
        let mut rule = Self::u32().validate(bindings::nla_policy_validation_NLA_VALIDATE_MASK);
        rule.raw.0.__bindgen_anon_1.mask = mask;
        rule
    }

    /// A NUL-terminated string of at most `max_len` bytes, not counting the NUL.
    pub(crate) const fn nul_string(max_len: u16) -> Self {
        Self::new(bindings::NLA_NUL_STRING, max_len)
    }

    /// Exactly `len` bytes.
    pub(crate) const fn exact_len(len: u16) -> Self {
        Self::new(bindings::NLA_BINARY, 0)
            .validate(bindings::nla_policy_validation_NLA_VALIDATE_RANGE)
            .range(len, len)
    }

    /// At least `len` bytes.
    pub(crate) const fn min_len(len: u16) -> Self {
        Self::new(bindings::NLA_BINARY, 0)
            .validate(bindings::nla_policy_validation_NLA_VALIDATE_MIN)
            .range(len, 0)
    }

    /// At most `len` bytes.
    pub(crate) const fn max_len(len: u16) -> Self {
        Self::new(bindings::NLA_BINARY, len)
    }

    const fn with_children(mut self, children: PolicyRef) -> Self {
        self.raw.0.len = children.max_type();
        self.raw.0.__bindgen_anon_1.nested_policy = children.as_raw();
        self.note.holds_secrets = children.holds_secrets;
        self.note.children = Some(children);
        self
    }

    /// An attribute that contains a list of attributes, each of which contains attributes. The
    /// types of the list's elements have no meaning.
    pub(crate) const fn nested_array(children: PolicyRef) -> Self {
        Self::new(bindings::NLA_NESTED_ARRAY, 0).with_children(children)
    }

    /// An attribute that contains attributes.
    pub(crate) const fn nested(children: PolicyRef) -> Self {
        Self::new(bindings::NLA_NESTED, 0).with_children(children)
    }

    /// Has the attribute's payload zeroed in the request's buffer after the handler has returned.
    pub(crate) const fn secret(mut self) -> Self {
        self.note.secret = true;
        self.note.holds_secrets = true;
        self
    }
}

/// The rules of the attribute types `1..N`. An attribute of a type without a rule is refused.
pub(crate) struct Policy<const N: usize> {
    raw: [RawRule; N],
    notes: [Note; N],
    holds_secrets: bool,
}

impl<const N: usize> Policy<N> {
    /// Makes a policy from pairs of a type and its rule. To be evaluated at compile time.
    pub(crate) const fn new(rules: &[(u16, Rule)]) -> Self {
        assert!(N > 0 && N <= u16::MAX as usize);
        let none = Rule::new(bindings::NLA_UNSPEC, 0);
        let mut policy = Self {
            raw: [none.raw; N],
            notes: [none.note; N],
            holds_secrets: false,
        };
        let mut i = 0;
        while i < rules.len() {
            let (ty, rule) = rules[i];
            assert!(ty != 0);
            policy.raw[ty as usize] = rule.raw;
            policy.notes[ty as usize] = rule.note;
            policy.holds_secrets |= rule.note.holds_secrets;
            i += 1;
        }
        policy
    }

    /// A reference whose type does not depend on `N`.
    pub(crate) const fn by_ref(&'static self) -> PolicyRef {
        PolicyRef {
            raw: &self.raw,
            notes: &self.notes,
            holds_secrets: self.holds_secrets,
        }
    }
}

/// A reference to a [`Policy`].
///
/// # Invariants
///
/// The two slices have the same length, which is not zero and fits 16 bits.
#[derive(Clone, Copy)]
pub(crate) struct PolicyRef {
    raw: &'static [RawRule],
    notes: &'static [Note],
    holds_secrets: bool,
}

impl PolicyRef {
    /// The table for C.
    pub(in crate::linux) const fn as_raw(&self) -> *const bindings::nla_policy {
        self.raw.as_ptr().cast()
    }

    /// The highest type that has a rule.
    pub(in crate::linux) const fn max_type(&self) -> u16 {
        // By the type invariants the difference does not wrap and fits 16 bits.
        self.raw.len().wrapping_sub(1) as u16
    }

    /// Zeroes the payload of every secret attribute in a sequence of attributes, including repeated
    /// ones.
    pub(in crate::linux) fn wipe(&self, attrs: &mut [u8]) {
        self.wipe_level(attrs, 0);
    }

    /// Zeroes the whole sequence if the policy has a secret attribute.
    pub(in crate::linux) fn wipe_all(&self, attrs: &mut [u8]) {
        if self.holds_secrets {
            memzero_explicit(attrs);
        }
    }

    fn wipe_level(&self, attrs: &mut [u8], depth: u8) {
        if !self.holds_secrets || depth >= MAX_DEPTH {
            return;
        }
        for (ty, payload) in StreamMut(attrs) {
            let ty = usize::from(ty);
            let (Some(raw), Some(note)) = (self.raw.get(ty), self.notes.get(ty)) else {
                continue;
            };
            if note.secret {
                memzero_explicit(payload);
            } else if let Some(children) = note.children {
                let depth = depth.saturating_add(1);
                if u32::from(raw.0.type_) == bindings::NLA_NESTED_ARRAY {
                    for (_, element) in StreamMut(payload) {
                        children.wipe_level(element, depth);
                    }
                } else {
                    children.wipe_level(payload, depth);
                }
            }
        }
    }
}

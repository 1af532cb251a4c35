// SPDX-License-Identifier: GPL-2.0

//! The three slots for keypairs: each keypair is in one slot, or has been given back once.

use super::Script;
use crate::protocol::keypairs::Slots;
use std::collections::BTreeSet;

/// Inserts, confirms and clears keypairs.
pub fn keypairs(bytes: &[u8]) {
    let mut script = Script(bytes);
    let mut slots = Slots::new();
    let mut gone = BTreeSet::new();
    let mut made = 0u32;
    while !script.is_empty() {
        let step = script.byte();
        let (current, next) = (slots.current().copied(), slots.next().copied());
        let displaced: Vec<Option<u32>> = match step & 3 {
            0 | 1 => {
                let displaced = slots.insert(made, step & 1 == 0).to_vec();
                made += 1;
                displaced
            }
            2 => {
                let wanted = u32::from(step >> 2);
                let displaced = slots.confirm(|next| next % 64 == wanted);
                match displaced {
                    Some(displaced) => {
                        assert!(next.is_some_and(|next| next % 64 == wanted));
                        assert_eq!((slots.current(), slots.next()), (next.as_ref(), None));
                        assert_eq!(slots.previous(), current.as_ref());
                        displaced.to_vec()
                    }
                    None => {
                        assert_eq!(
                            (slots.current().copied(), slots.next().copied()),
                            (current, next)
                        );
                        Vec::new()
                    }
                }
            }
            _ if step == 255 => slots.clear().to_vec(),
            _ => Vec::new(),
        };
        for keypair in displaced.into_iter().flatten() {
            assert!(gone.insert(keypair), "{keypair} went twice");
        }
        let kept: Vec<u32> = [slots.previous(), slots.current(), slots.next()]
            .into_iter()
            .flatten()
            .copied()
            .collect();
        assert!(kept.iter().all(|keypair| !gone.contains(keypair)));
        assert_eq!(kept.len() + gone.len(), made as usize);
        assert_eq!(kept.iter().collect::<BTreeSet<_>>().len(), kept.len());
    }
}

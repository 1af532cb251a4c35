// SPDX-License-Identifier: GPL-2.0

//! The three slots for keypairs: each keypair is in one slot, or has been given back once.

use super::Script;
use crate::protocol::keypairs::{
    Ordered,
    Slots, //
};
use std::collections::BTreeSet;

/// A keypair whose number is its order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Keypair(u32);

impl Ordered for Keypair {
    fn order(&self) -> u64 {
        self.0.into()
    }
}

/// Inserts, confirms and clears keypairs.
pub fn keypairs(bytes: &[u8]) {
    let mut script = Script(bytes);
    let mut slots = Slots::new();
    let mut gone = BTreeSet::new();
    let mut made = 0u32;
    // The keypairs of initiations that wait for their responses.
    let mut pending = Vec::new();
    while !script.is_empty() {
        let step = script.byte();
        let (current, next) = (slots.current().copied(), slots.next().copied());
        let displaced: Vec<Option<Keypair>> = match step & 7 {
            0 | 1 => {
                made += 1;
                slots.insert_as_responder(Keypair(made)).to_vec()
            }
            4 => {
                made += 1;
                pending.push(Keypair(made));
                Vec::new()
            }
            5 if !pending.is_empty() => {
                let new = pending.swap_remove(usize::from(step >> 4) % pending.len());
                let wins = step & 8 != 0;
                let displaced = slots.insert_as_initiator(new, wins).to_vec();
                let late = current.is_some_and(|current| current > new);
                assert_eq!(late, displaced.contains(&Some(new)));
                if late {
                    assert_eq!(
                        (slots.current(), slots.next()),
                        (current.as_ref(), next.as_ref())
                    );
                } else {
                    assert_eq!(slots.current(), Some(&new));
                    assert_eq!(slots.previous(), current.as_ref());
                    assert_eq!(slots.next().copied(), next.filter(|next| *next > new));
                }
                displaced
            }
            2 | 6 => {
                let wanted = u32::from(step >> 3);
                match slots.confirm(|next| next.0 % 32 == wanted) {
                    Some(confirmed) => {
                        let next = next.unwrap();
                        assert_eq!(next.0 % 32, wanted);
                        assert_eq!(slots.next(), None);
                        let (new, old) = (slots.current().copied(), slots.previous().copied());
                        if confirmed.is_current {
                            assert_eq!((new, old), (Some(next), current));
                        } else {
                            assert_eq!((new, old), (current, Some(next)));
                        }
                        confirmed.displaced.to_vec()
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
            assert!(gone.insert(keypair), "{keypair:?} went twice");
        }
        let kept: Vec<Keypair> = [slots.previous(), slots.current(), slots.next()]
            .into_iter()
            .flatten()
            .copied()
            .collect();
        assert!(kept.iter().all(|keypair| !gone.contains(keypair)));
        assert_eq!(kept.len() + gone.len() + pending.len(), made as usize);
        assert_eq!(kept.iter().collect::<BTreeSet<_>>().len(), kept.len());
    }
}

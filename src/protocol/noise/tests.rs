// SPDX-License-Identifier: GPL-2.0

//! Tests of the handshake: transcripts made by another implementation, both sides with each other,
//! and attempts that must fail.

use super::*;
use crate::{
    protocol::{
        cookie::Cookie,
        messages::DataHeader, //
    },
    testing::hex, //
};

mod transcript;
use transcript::{
    INITIATION,
    INITIATOR,
    INITIATOR_EPHEMERAL,
    INITIATOR_PUBLIC,
    PRESHARED,
    RESPONDER,
    RESPONDER_EPHEMERAL,
    RESPONDER_PUBLIC,
    WITHOUT_PSK,
    WITH_PSK, //
};

const SECOND: u64 = NSEC_PER_SEC;
const START: u64 = 1000 * SECOND;

/// A point of low order.
const LOW_ORDER: [u8; 32] = hex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800");

/// One end of a tunnel.
struct Side {
    identity: StaticIdentity,
    handshake: Handshake,
}

/// The end of a tunnel that has the private key `private` and the peer `remote`.
fn side(private: &[u8; 32], remote: &[u8; 32]) -> Side {
    let mut side = Side {
        identity: StaticIdentity::none(),
        handshake: Handshake::zeroed(),
    };
    side.handshake.set_remote_static(&PublicKey::new(*remote));
    side.identity.set_private_key(&Secret::from_bytes(private));
    side.handshake.precompute_static_static(&side.identity);
    side
}

/// Both ends of a tunnel, initiator first.
fn sides() -> [Side; 2] {
    [
        side(&INITIATOR, &RESPONDER_PUBLIC),
        side(&RESPONDER, &INITIATOR_PUBLIC),
    ]
}

/// The timestamp of an initiation that is sent when the clock reads `now`.
fn timestamp(now: u64) -> Tai64n {
    Tai64n::from_unix((now / SECOND) as i64, (now % SECOND) as u32)
}

/// An initiation of `side`, whose response names the index 1.
fn initiate(side: &mut Side, now: u64) -> Option<HandshakeInitiation> {
    side.handshake
        .create_initiation(&side.identity, timestamp(now), 1)
}

/// Lets `responder` read an initiation, as far as that needs no answer.
fn open<'a>(
    identity: &'a StaticIdentity,
    responder: &Handshake,
    message: &'a HandshakeInitiation,
) -> OpenedInitiation<'a> {
    let mut opened = OpenedInitiation::new(message, identity);
    if opened.open().is_some() {
        responder.lend_static_static(&mut opened);
        let _ = opened.authenticate();
    }
    opened
}

/// Lets `responder` answer an initiation with the index 2.
fn answer(
    responder: &mut Side,
    message: &HandshakeInitiation,
    now: u64,
    finished: &mut Finished,
) -> Result<HandshakeResponse, InitiationError> {
    let mut opened = open(&responder.identity, &responder.handshake, message);
    responder.handshake.answer(&mut opened, 2, now, finished)
}

/// [`answer`] for tests that need no session.
fn consume(
    responder: &mut Side,
    message: &HandshakeInitiation,
    now: u64,
) -> Result<HandshakeResponse, InitiationError> {
    answer(responder, message, now, &mut Finished::zeroed())
}

/// Lets `initiator` read and take a response.
fn take(initiator: &mut Side, message: &HandshakeResponse, finished: &mut Finished) -> bool {
    let mut opened = OpenedResponse::new(message);
    initiator.handshake.lend_pending(&mut opened)
        && opened.authenticate(&initiator.identity)
        && initiator.handshake.take_response(&opened, finished)
}

/// [`take`] for tests that need no session.
fn is_taken(initiator: &mut Side, message: &HandshakeResponse) -> bool {
    take(initiator, message, &mut Finished::zeroed())
}

/// A whole handshake with the present keys. Returns the sessions of both ends if it succeeds.
fn exchange(initiator: &mut Side, responder: &mut Side, now: u64) -> Option<[Session; 2]> {
    let [mut ours, mut theirs] = [Finished::zeroed(), Finished::zeroed()];
    let initiation = initiate(initiator, now)?;
    let response = answer(responder, &initiation, now, &mut theirs).ok()?;
    if !take(initiator, &response, &mut ours) {
        return None;
    }
    let mut sessions = [Session::zeroed(), Session::zeroed()];
    (ours.begin_session(&mut sessions[0], now) && theirs.begin_session(&mut sessions[1], now))
        .then_some(sessions)
}

/// Whether each end decrypts with the key that the other encrypts with, and the two directions
/// differ.
fn sessions_agree([ours, theirs]: &[Session; 2]) -> bool {
    ours.sending.ct_eq(&theirs.receiving)
        && ours.receiving.ct_eq(&theirs.sending)
        && !ours.sending.ct_eq(&ours.receiving)
        && ours.i_am_the_initiator
        && !theirs.i_am_the_initiator
        && (ours.remote_index, theirs.remote_index) == (2, 1)
}

/// Whether no initiation is pending, and nothing of one is left.
fn is_zeroed(handshake: &Handshake) -> bool {
    handshake.pending_index().is_none()
        && handshake.pending.index == 0
        && handshake.pending.ephemeral_private.is_zero()
        && handshake.pending.symmetric.is_zero()
}

/// `message` with one bit of byte `i` flipped.
fn flipped<T: FromBytes + IntoBytes + zerocopy::Immutable + Clone>(message: &T, i: usize) -> T {
    let mut message = message.clone();
    if let Some(byte) = message.as_mut_bytes().get_mut(i) {
        *byte ^= 0x04;
    }
    message
}

/// The data message with counter 0 of a session.
fn data_message<const N: usize>(session: &Session, plain: &[u8]) -> [u8; N] {
    let mut message = [0; N];
    if let Some((header, text)) = message.split_first_chunk_mut::<16>() {
        header.copy_from_slice(DataHeader::new(session.remote_index, 0).as_bytes());
        let key = session.sending.as_bytes();
        if crypto::chacha20poly1305_encrypt(text, plain, &[], 0, key).is_err() {
            text.fill(0);
        }
    }
    message
}

#[kernel::macros::kunit_tests(wireguard_noise)]
mod cases {
    use super::*;

    #[test]
    fn public_keys_of_the_transcript() {
        let [initiator, responder] = sides();
        assert!(initiator.identity.public_key() == Some(&PublicKey::new(INITIATOR_PUBLIC)));
        assert!(responder.identity.public_key() == Some(&PublicKey::new(RESPONDER_PUBLIC)));
    }

    #[test]
    fn transcript_of_another_implementation() -> Result {
        for transcript in [&WITH_PSK, &WITHOUT_PSK] {
            let [mut initiator, mut responder] = sides();
            let psk = Secret::from_bytes(&transcript.preshared);
            initiator.handshake.set_preshared_key(&psk);
            responder.handshake.set_preshared_key(&psk);

            let mut initiation = initiator
                .handshake
                .create_initiation_with(
                    &Secret::from_bytes(&INITIATOR_EPHEMERAL),
                    &initiator.identity,
                    Tai64n::from_unix(1_700_000_000, 50_331_648),
                    0x1122_3344,
                )
                .ok_or(EINVAL)?;
            Cookie::by_value(initiator.handshake.remote_static()).add_macs(&mut initiation, START);
            assert!(initiation.as_bytes() == INITIATION);

            let mut opened = OpenedInitiation::new(&initiation, &responder.identity);
            assert!(opened.open() == Some(&PublicKey::new(INITIATOR_PUBLIC)));
            responder.handshake.lend_static_static(&mut opened);
            assert!(opened.authenticate());
            assert!(responder.handshake.check_initiation(&opened, START).is_ok());

            let [mut initiated, mut answered] = [Finished::zeroed(), Finished::zeroed()];
            let mut response = responder
                .handshake
                .answer_with(
                    &Secret::from_bytes(&RESPONDER_EPHEMERAL),
                    &mut opened,
                    0x5566_7788,
                    START,
                    &mut answered,
                )
                .map_err(|_| EINVAL)?;
            Cookie::by_value(responder.handshake.remote_static()).add_macs(&mut response, START);
            assert!(response.as_bytes() == transcript.response);

            assert!(take(&mut initiator, &response, &mut initiated));

            let [mut ours, mut theirs] = [Session::zeroed(), Session::zeroed()];
            assert!(initiated.begin_session(&mut ours, START));
            assert!(answered.begin_session(&mut theirs, START));
            assert!(data_message(&ours, b"sixteen bytes it") == transcript.data);
            assert!(data_message(&theirs, b"") == transcript.keepalive);
        }
        Ok(())
    }

    #[test]
    fn both_sides_get_the_same_keys() -> Result {
        let [mut a, mut b] = sides();
        let sessions = exchange(&mut a, &mut b, START).ok_or(EINVAL)?;
        assert!(sessions_agree(&sessions));
        assert_eq!(sessions[0].birthdate, START);
        assert!(is_zeroed(&a.handshake) && is_zeroed(&b.handshake));

        // The other way round, later. Every session has keys of its own.
        let again = exchange(&mut b, &mut a, START + SECOND).ok_or(EINVAL)?;
        assert!(sessions_agree(&again));
        assert!(!again[0].sending.ct_eq(&sessions[0].sending));
        assert!(!again[0].sending.ct_eq(&sessions[0].receiving));
        Ok(())
    }

    #[test]
    fn psk_has_to_be_the_same() {
        let [mut a, mut b] = sides();
        let psk = Secret::from_bytes(&PRESHARED);
        a.handshake.set_preshared_key(&psk);
        assert!(exchange(&mut a, &mut b, START).is_none());
        b.handshake.set_preshared_key(&Secret::from_bytes(&[1; 32]));
        assert!(exchange(&mut a, &mut b, START + SECOND).is_none());
        b.handshake.set_preshared_key(&psk);
        assert!(exchange(&mut a, &mut b, START + 2 * SECOND).is_some());
    }

    #[test]
    fn psk_change_is_taken_up_by_the_next_handshake() -> Result {
        let [mut a, mut b] = sides();
        assert!(exchange(&mut a, &mut b, START).is_some());

        let psk = Secret::from_bytes(&PRESHARED);
        a.handshake.set_preshared_key(&psk);
        b.handshake.set_preshared_key(&psk);
        assert!(b.handshake.preshared_key().ct_eq(&psk));
        assert!(exchange(&mut a, &mut b, START + SECOND).is_some());

        // Removed on one side: that side uses neither the old key nor that of the old session.
        b.handshake.set_preshared_key(&Secret::zeroed());
        assert!(exchange(&mut a, &mut b, START + 2 * SECOND).is_none());

        // Changed on both sides while the initiation is under way: the new one counts.
        let now = START + 3 * SECOND;
        let initiation = initiate(&mut a, now).ok_or(EINVAL)?;
        let other = Secret::from_bytes(&[9; 32]);
        a.handshake.set_preshared_key(&other);
        b.handshake.set_preshared_key(&other);
        let response = consume(&mut b, &initiation, now).map_err(|_| EINVAL)?;
        assert!(is_taken(&mut a, &response));
        Ok(())
    }

    #[test]
    fn initiation_replay_is_refused() -> Result {
        let [mut a, mut b] = sides();
        let old = initiate(&mut a, START).ok_or(EINVAL)?;
        let new = initiate(&mut a, START + SECOND).ok_or(EINVAL)?;
        let response = consume(&mut b, &new, START + SECOND).map_err(|_| EINVAL)?;
        for (replayed, now) in [(&new, 2), (&old, 3), (&new, 1_000_000)] {
            assert!(
                consume(&mut b, replayed, START + now * SECOND).err()
                    == Some(InitiationError::Replay)
            );
        }
        assert!(is_taken(&mut a, &response));

        // The end of a handshake does not make old ones good again.
        b.handshake.clear();
        assert!(consume(&mut b, &new, START + 9 * SECOND).err() == Some(InitiationError::Replay));
        Ok(())
    }

    #[test]
    fn initiation_flood_is_refused() -> Result {
        let [mut a, mut b] = sides();
        let interval = SECOND / INITIATIONS_PER_SECOND;
        let first = initiate(&mut a, START).ok_or(EINVAL)?;
        assert!(consume(&mut b, &first, START).is_ok());
        let second = initiate(&mut a, START + SECOND).ok_or(EINVAL)?;
        assert!(consume(&mut b, &second, START).err() == Some(InitiationError::Flood));
        assert!(
            consume(&mut b, &second, START + interval - 1).err() == Some(InitiationError::Flood)
        );
        // The refusal used up neither its timestamp nor the interval.
        assert!(consume(&mut b, &second, START + interval).is_ok());
        Ok(())
    }

    #[test]
    fn forged_initiation_changes_nothing() -> Result {
        let [mut a, mut b] = sides();
        let genuine = initiate(&mut a, START).ok_or(EINVAL)?;
        // Every byte but the header and the index, which `mac1` alone covers, and the MACs.
        for i in 8..116 {
            assert!(
                consume(&mut b, &flipped(&genuine, i), START).err()
                    == Some(InitiationError::Invalid)
            );
            assert!(is_zeroed(&b.handshake));
        }
        assert!(consume(&mut b, &genuine, START).is_ok());
        Ok(())
    }

    #[test]
    fn forged_response_leaves_the_initiator_waiting() -> Result {
        let [mut a, mut b] = sides();
        let initiation = initiate(&mut a, START).ok_or(EINVAL)?;
        let genuine = consume(&mut b, &initiation, START).map_err(|_| EINVAL)?;
        for i in 12..60 {
            assert!(!is_taken(&mut a, &flipped(&genuine, i)));
        }
        assert!(is_taken(&mut a, &genuine));
        Ok(())
    }

    #[test]
    fn response_is_taken_once_and_for_the_latest_initiation() -> Result {
        let [mut a, mut b] = sides();
        let older = initiate(&mut a, START).ok_or(EINVAL)?;
        let response_to_older = consume(&mut b, &older, START).map_err(|_| EINVAL)?;
        let newer = initiate(&mut a, START + SECOND).ok_or(EINVAL)?;
        assert!(!is_taken(&mut a, &response_to_older));
        let response = consume(&mut b, &newer, START + SECOND).map_err(|_| EINVAL)?;

        // Read twice before it is taken: two workers may have a copy each.
        let [mut first, mut second] = [&response; 2].map(OpenedResponse::new);
        for opened in [&mut first, &mut second] {
            assert!(a.handshake.lend_pending(opened));
            assert!(opened.authenticate(&a.identity));
            assert!(!opened.authenticate(&a.identity));
        }
        let mut finished = Finished::zeroed();
        assert!(a.handshake.take_response(&first, &mut finished));
        assert!(!a.handshake.take_response(&second, &mut Finished::zeroed()));
        assert!(!is_taken(&mut a, &response));
        assert!(is_zeroed(&a.handshake));

        // Read before the preshared key is changed, and taken afterwards.
        let initiation = initiate(&mut a, START + 2 * SECOND).ok_or(EINVAL)?;
        let response = consume(&mut b, &initiation, START + 2 * SECOND).map_err(|_| EINVAL)?;
        let mut opened = OpenedResponse::new(&response);
        assert!(a.handshake.lend_pending(&mut opened));
        assert!(opened.authenticate(&a.identity));
        a.handshake.set_preshared_key(&Secret::from_bytes(&[7; 32]));
        assert!(!a.handshake.take_response(&opened, &mut Finished::zeroed()));
        a.handshake.set_preshared_key(&Secret::zeroed());
        assert!(a.handshake.take_response(&opened, &mut Finished::zeroed()));

        // Read before the initiation is replaced, and taken afterwards.
        let older = initiate(&mut a, START + 3 * SECOND).ok_or(EINVAL)?;
        let response = consume(&mut b, &older, START + 3 * SECOND).map_err(|_| EINVAL)?;
        let mut opened = OpenedResponse::new(&response);
        assert!(a.handshake.lend_pending(&mut opened) && opened.authenticate(&a.identity));
        assert!(initiate(&mut a, START + 3 * SECOND).is_some());
        assert!(!a.handshake.take_response(&opened, &mut finished));
        assert_eq!(a.handshake.pending_index(), Some(1));
        Ok(())
    }

    #[test]
    fn initiation_is_for_its_responder_and_from_its_peer() -> Result {
        let [mut a, mut b] = sides();
        let initiation = initiate(&mut a, START).ok_or(EINVAL)?;

        // Another responder cannot open it.
        let mut other = StaticIdentity::none();
        assert!(other.set_private_key(&Secret::from_bytes(&[3; 32])));
        assert!(OpenedInitiation::new(&initiation, &other).open().is_none());

        // Another peer's handshake does not take it.
        let mut wrong = side(&RESPONDER, other.public_key().ok_or(EINVAL)?.as_bytes());
        assert!(consume(&mut wrong, &initiation, START).err() == Some(InitiationError::Invalid));

        // Knowing the peer's public key is not enough: without the private key there is no product
        // of the static keys.
        let mut impostor = side(&INITIATOR, &RESPONDER_PUBLIC);
        let product = &mut impostor.handshake.static_static.product;
        product.copy_from(&Secret::from_bytes(&[3; 32]));
        let forged = initiate(&mut impostor, START).ok_or(EINVAL)?;
        assert!(consume(&mut b, &forged, START).err() == Some(InitiationError::Invalid));

        // An opened initiation is good for one attempt.
        let mut opened = open(&b.identity, &b.handshake, &initiation);
        let mut finished = Finished::zeroed();
        assert!(!opened.authenticate());
        assert!(b
            .handshake
            .answer(&mut opened, 2, START, &mut finished)
            .is_ok());
        assert!(
            b.handshake
                .answer(&mut opened, 2, START + SECOND, &mut finished)
                .err()
                == Some(InitiationError::Invalid)
        );
        Ok(())
    }

    #[test]
    fn points_of_low_order_are_refused() -> Result {
        let [mut a, mut b] = sides();
        let mut initiation = initiate(&mut a, START).ok_or(EINVAL)?;
        let mut response = consume(&mut b, &initiation, START).map_err(|_| EINVAL)?;

        initiation.unencrypted_ephemeral = LOW_ORDER;
        assert!(OpenedInitiation::new(&initiation, &b.identity)
            .open()
            .is_none());
        response.unencrypted_ephemeral = LOW_ORDER;
        assert!(!is_taken(&mut a, &response));

        let mut to_low_order = side(&INITIATOR, &LOW_ORDER);
        assert!(to_low_order
            .handshake
            .create_initiation(&to_low_order.identity, timestamp(START), 1)
            .is_none());
        assert!(is_zeroed(&to_low_order.handshake));
        Ok(())
    }

    #[test]
    fn nothing_works_without_keys() -> Result {
        let [mut a, mut b] = sides();
        let initiation = initiate(&mut a, START).ok_or(EINVAL)?;
        let none = StaticIdentity::none();

        assert!(OpenedInitiation::new(&initiation, &none).open().is_none());
        let response = consume(&mut b, &initiation, START).map_err(|_| EINVAL)?;
        let mut opened = OpenedResponse::new(&response);
        assert!(a.handshake.lend_pending(&mut opened));
        assert!(!opened.authenticate(&none));
        assert!(a
            .handshake
            .create_initiation(&none, timestamp(START), 1)
            .is_none());
        Ok(())
    }

    #[test]
    fn the_product_of_another_identity_is_not_used() -> Result {
        let mut new = StaticIdentity::none();
        assert!(new.set_private_key(&Secret::from_bytes(&[3; 32])));
        let none = StaticIdentity::none();
        let [_, old] = sides().map(|side| side.identity);
        for before in [&none, &old] {
            // The device of `b` has new keys, of which this handshake has not been told.
            let changed = || {
                let mut b = side(&[3; 32], &INITIATOR_PUBLIC);
                b.handshake.precompute_static_static(before);
                b
            };
            let public = new.public_key().ok_or(EINVAL)?.as_bytes();
            let [mut a, mut b] = [side(&INITIATOR, public), changed()];
            let initiation = initiate(&mut a, START).ok_or(EINVAL)?;
            assert!(consume(&mut b, &initiation, START).is_ok());

            let [mut a, mut b] = [side(&INITIATOR, public), changed()];
            let initiation = initiate(&mut b, START).ok_or(EINVAL)?;
            assert!(consume(&mut a, &initiation, START).is_ok());
        }

        // Nor does an initiation to the old keys get in with the new ones, or the other way round.
        let [mut a, mut b] = sides();
        let initiation = initiate(&mut a, START).ok_or(EINVAL)?;
        b.handshake.precompute_static_static(&new);
        assert!(OpenedInitiation::new(&initiation, &new).open().is_none());
        assert!(consume(&mut b, &initiation, START).is_ok());
        Ok(())
    }

    #[test]
    fn steps_out_of_order_do_nothing() -> Result {
        let [mut a, mut b] = sides();
        let mut session = Session::zeroed();
        let mut finished = Finished::zeroed();
        assert!(!finished.begin_session(&mut session, START));

        let initiation = initiate(&mut a, START).ok_or(EINVAL)?;
        assert!(!is_zeroed(&a.handshake) && !a.handshake.pending.symmetric.is_zero());

        // Not opened, or not authenticated.
        let mut opened = OpenedInitiation::new(&initiation, &b.identity);
        b.handshake.lend_static_static(&mut opened);
        assert!(!opened.authenticate());
        assert!(b
            .handshake
            .answer(&mut opened, 2, START, &mut finished)
            .is_err());
        let mut opened = OpenedInitiation::new(&initiation, &b.identity);
        assert!(opened.open().is_some());
        assert!(b
            .handshake
            .answer(&mut opened, 2, START, &mut finished)
            .is_err());
        assert!(!finished.begin_session(&mut session, START));

        let response = answer(&mut b, &initiation, START, &mut finished).map_err(|_| EINVAL)?;
        assert!(session.sending.is_zero() && session.receiving.is_zero());
        assert!(finished.begin_session(&mut session, START));
        assert!(!finished.begin_session(&mut Session::zeroed(), START));
        assert!(finished.symmetric.is_zero());

        // Not authenticated, or without the initiation.
        let mut unread = OpenedResponse::new(&response);
        assert!(!unread.authenticate(&a.identity));
        assert!(a.handshake.lend_pending(&mut unread));
        assert!(!a.handshake.take_response(&unread, &mut finished));

        a.handshake.clear();
        assert!(is_zeroed(&a.handshake));
        assert!(!is_taken(&mut a, &response));
        Ok(())
    }

    #[test]
    fn initiations_that_cross_do_not_disturb_each_other() -> Result {
        let [mut a, mut b] = sides();
        let (from_a, from_b) = (initiate(&mut a, START), initiate(&mut b, START));
        let (from_a, from_b) = (from_a.ok_or(EINVAL)?, from_b.ok_or(EINVAL)?);
        let [mut answered_a, mut answered_b, mut initiated_a, mut initiated_b] =
            [const { Finished::zeroed() }; 4];
        let to_b = answer(&mut a, &from_b, START, &mut answered_a).map_err(|_| EINVAL)?;
        let to_a = answer(&mut b, &from_a, START, &mut answered_b).map_err(|_| EINVAL)?;
        assert!(!is_zeroed(&a.handshake) && !is_zeroed(&b.handshake));
        assert!(take(&mut a, &to_a, &mut initiated_a) && take(&mut b, &to_b, &mut initiated_b));

        for (ours, theirs) in [
            (&mut initiated_a, &mut answered_b),
            (&mut initiated_b, &mut answered_a),
        ] {
            let mut sessions = [Session::zeroed(), Session::zeroed()];
            assert!(ours.begin_session(&mut sessions[0], START));
            assert!(theirs.begin_session(&mut sessions[1], START));
            assert!(sessions_agree(&sessions));
            assert_eq!((sessions[0].order, sessions[1].order), (1, 2));
        }

        // Exactly one side wins.
        assert!(a.handshake.wins_crossing(&a.identity) != b.handshake.wins_crossing(&b.identity));
        assert_eq!(
            a.handshake.wins_crossing(&a.identity),
            INITIATOR_PUBLIC > RESPONDER_PUBLIC
        );
        Ok(())
    }
}

//! Quotes: what is in a TPM's registers, now, and whether it is the TPM of last time.

use super::attest::{About, Clock, Untrue, verify as verify_attest};
use super::key::AttestationKey;
use super::pcr::{Pcrs, Selection};
use super::public::Name;
use crate::Verifier;

/// What a quote has to answer.
#[derive(Clone, Copy, Debug)]
pub struct Demand<'a> {
    /// What was sent, as [`binding`](super::binding) makes it; never empty, never used before.
    pub nonce: &'a [u8],
    /// The registers that were asked for: these, and in this order.
    pub selection: &'a Selection,
}

/// A quote that holds. Keep it: the next one is judged against it ([`since`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote {
    /// Qualified name of the key that signed.
    pub signer: Name,
    /// When, as the TPM counts.
    pub clock: Clock,
    /// Version of the TPM's own firmware.
    pub firmware: u64,
}

/// Registers that a quote confirmed: their values were in the TPM when it signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confirmed(Pcrs);

impl Confirmed {
    /// The registers.
    pub const fn pcrs(&self) -> &Pcrs {
        &self.0
    }

    /// For what is not asked whether it is true.
    pub(crate) const fn untested(pcrs: Pcrs) -> Self {
        Self(pcrs)
    }
}

/// Why a quote does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoQuote {
    /// It is not true.
    #[error(transparent)]
    Untrue(#[from] Untrue),
    /// It is another attestation.
    #[error("it is signed, but it is no quote")]
    OtherKind,
    /// It is about other registers.
    #[error("it is about other PCRs than were asked for")]
    OtherSelection,
    /// The values that came along are of other registers.
    #[error("the values that came with it are of other PCRs than were asked for")]
    OtherValues,
    /// The values that came along are not those that the TPM has.
    #[error("the values that came with it are not those in the TPM: the digest over them differs")]
    Digest,
}

/// Checks a quote (a TPMS_ATTEST and a TPMT_SIGNATURE): signature, kind, nonce, selection, and that `pcrs` are the values in
/// the TPM. Whether those values are good ones is another question ([`super::measured`]).
pub fn quote(
    attest: &[u8],
    signature: &[u8],
    pcrs: Pcrs,
    key: &AttestationKey,
    demand: &Demand<'_>,
    verifier: &dyn Verifier,
) -> Result<(Quote, Confirmed), NoQuote> {
    let attest = verify_attest(attest, signature, key, demand.nonce, verifier)?;
    let About::Quote(selection, digest) = &attest.about else {
        return Err(NoQuote::OtherKind);
    };
    if selection != demand.selection || selection.is_empty() {
        return Err(NoQuote::OtherSelection);
    }
    if pcrs.selection() != selection {
        return Err(NoQuote::OtherValues);
    }
    // The digest is that of the signing scheme (Part 3 §18.4).
    if pcrs.digest(key.scheme().digest(), verifier) != *digest {
        return Err(NoQuote::Digest);
    }
    let quote = Quote { signer: attest.signer, clock: attest.clock, firmware: attest.firmware };
    Ok((quote, Confirmed(pcrs)))
}

/// What happened between two quotes of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Since {
    /// The machine was booted: what was measured before says nothing any more.
    pub rebooted: bool,
    /// The TPM was restarted or resumed: the machine hibernated or slept.
    pub resumed: bool,
    /// The TPM's own firmware is another one.
    pub other_firmware: bool,
}

/// Why a quote cannot come after the last one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Backwards {
    /// Fewer boots than before.
    #[error(
        "the TPM was reset {now} times, and {last} times before: an older state of it was restored, or it was cleared"
    )]
    Resets {
        /// Of the last quote.
        last: u32,
        /// Of this one.
        now: u32,
    },
    /// Fewer restarts than before, in one boot.
    #[error(
        "the TPM was restarted {now} times since its reset, and {last} times before: an older state of it was restored"
    )]
    Restarts {
        /// Of the last quote.
        last: u32,
        /// Of this one.
        now: u32,
    },
    /// Its clock went back.
    #[error(
        "the TPM's clock says {now_ms} ms, and said {last_ms} ms before: an older state of it was restored"
    )]
    Clock {
        /// Of the last quote.
        last_ms: u64,
        /// Of this one.
        now_ms: u64,
    },
    /// Another key.
    #[error("it is signed by {now}, and the last one by {last}")]
    OtherSigner {
        /// Of the last quote.
        last: Name,
        /// Of this one.
        now: Name,
    },
}

/// Milliseconds that a TPM's clock may fall back when it lost its power: it is kept at least that often (Part 1, Timing
/// Components).
const CLOCK_LOST_MS_MAX: u64 = 1 << 22;

/// Judges a quote against the last one of the same key that counted. A TPM's counts only grow (Part 1, Timing Components), so what is less
/// than before comes from a copy of an older state. The clock alone may fall back: a little, over a reset, when the TPM itself
/// says that it is not sure.
pub fn since(last: &Quote, now: &Quote) -> Result<Since, Backwards> {
    let (old, new) = (&last.clock, &now.clock);
    if last.signer != now.signer {
        return Err(Backwards::OtherSigner { last: last.signer.clone(), now: now.signer.clone() });
    }
    if new.resets < old.resets {
        return Err(Backwards::Resets { last: old.resets, now: new.resets });
    }
    let rebooted = new.resets > old.resets;
    if !rebooted && new.restarts < old.restarts {
        return Err(Backwards::Restarts { last: old.restarts, now: new.restarts });
    }
    let lost_ms = old.clock_ms.saturating_sub(new.clock_ms);
    let may_be_lost = rebooted && !new.safe && lost_ms <= CLOCK_LOST_MS_MAX;
    if lost_ms > 0 && !may_be_lost {
        return Err(Backwards::Clock { last_ms: old.clock_ms, now_ms: new.clock_ms });
    }
    Ok(Since {
        rebooted,
        resumed: !rebooted && new.restarts > old.restarts,
        other_firmware: last.firmware != now.firmware,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(resets: u32, restarts: u32, clock_ms: u64, safe: bool) -> Quote {
        let signer = Name::read(&[&[0, 0x0b][..], &[7; 32]].concat()).unwrap();
        Quote { signer, clock: Clock { clock_ms, resets, restarts, safe }, firmware: 1 }
    }

    #[test]
    fn counts_only_grow() {
        let last = at(5, 2, 10_000_000, true);
        let still = Since::default();
        assert_eq!(since(&last, &last), Ok(still));
        assert_eq!(since(&last, &at(5, 2, 10_000_001, true)), Ok(still));
        assert_eq!(since(&last, &at(5, 3, 10_000_001, true)), Ok(Since { resumed: true, ..still }));
        assert_eq!(
            since(&last, &at(6, 0, 10_000_001, true)),
            Ok(Since { rebooted: true, ..still })
        );
        let other = Quote { firmware: 2, ..last.clone() };
        assert_eq!(since(&last, &other), Ok(Since { other_firmware: true, ..still }));
        assert_eq!(
            since(&last, &at(4, 9, 20_000_000, true)),
            Err(Backwards::Resets { last: 5, now: 4 })
        );
        assert_eq!(
            since(&last, &at(5, 1, 20_000_000, true)),
            Err(Backwards::Restarts { last: 2, now: 1 })
        );
        let clock = |now_ms| Err(Backwards::Clock { last_ms: 10_000_000, now_ms });
        assert_eq!(since(&last, &at(5, 2, 9_999_999, true)), clock(9_999_999));
        assert_eq!(since(&last, &at(5, 2, 9_999_999, false)), clock(9_999_999), "no reset");
        assert_eq!(since(&last, &at(6, 0, 9_999_999, true)), clock(9_999_999), "it is sure");
        let least = 10_000_000 - CLOCK_LOST_MS_MAX;
        assert!(since(&last, &at(6, 0, least, false)).unwrap().rebooted);
        assert_eq!(since(&last, &at(6, 0, least - 1, false)), clock(least - 1));
        let mut other = last.clone();
        other.signer = Name::read(&[&[0, 0x0b][..], &[8; 32]].concat()).unwrap();
        assert!(matches!(since(&last, &other), Err(Backwards::OtherSigner { .. })));
    }
}

//! Lists of revoked certificates, to every site: whoever terminates connections of devices there refuses them, with or without us.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Bytes;
use model::Timestamp;
use model::line::{Frame, RevocationList};
use pki::{Number, Pem};

use super::Line;
use super::bundles::encode;
use crate::published::{Lists, NotPublished};

/// Complete lists up to this long come with every change: brokers and proxies that know no deltas refuse at once.
const COMPLETE_BYTES: usize = 256 << 10;
/// Longer ones come again after this long, in nanoseconds; they count for a day.
const COMPLETE_NANOS: i64 = 12 * 3_600 * 1_000_000_000;

/// What a site was sent, by authority (its certificate).
#[derive(Debug, Default)]
pub(super) struct Sent(BTreeMap<Bytes, Known>);

#[derive(Clone, Copy, Debug)]
struct Known {
    complete: Number,
    at: Timestamp,
    delta: Number,
}

impl Sent {
    /// What of today's lists a site lacks; none: nothing.
    fn missing(
        &mut self,
        lists: &[Lists],
        now: Timestamp,
    ) -> Result<Option<Vec<RevocationList>>, NotPublished> {
        let known = |of: &Lists| self.0.get(&of.authority).copied();
        if lists.len() == self.0.len()
            && lists.iter().all(|of| known(of).is_some_and(|known| known.delta == of.delta.number))
        {
            return Ok(None);
        }
        let (mut all, mut next) = (Vec::new(), BTreeMap::new());
        for of in lists {
            let rests = known(of).filter(|known| {
                let age = now.as_nanos().saturating_sub(known.at.as_nanos());
                of.complete.der.len() > COMPLETE_BYTES
                    && of.delta.base.is_some_and(|base| base <= known.complete)
                    && (0..COMPLETE_NANOS).contains(&age)
            });
            let pem = |list: &[u8]| Pem::write("X509 CRL", list);
            all.push(RevocationList {
                authority: Pem::write("CERTIFICATE", &of.authority)?,
                complete: rests.is_none().then(|| pem(&of.complete.der)).transpose()?,
                delta: pem(&of.delta.der)?,
            });
            let (complete, at) =
                rests.map_or((of.complete.number, now), |known| (known.complete, known.at));
            next.insert(of.authority.clone(), Known { complete, at, delta: of.delta.number });
        }
        self.0 = next;
        Ok(Some(all))
    }
}

impl Line {
    fn missing(
        &self,
        sent: &mut Sent,
    ) -> Result<Option<(String, Vec<RevocationList>)>, NotPublished> {
        let Some(lists) = sent.missing(&self.published.lists()?, self.hub.now())? else {
            return Ok(None);
        };
        let anchors = self.authority.anchors();
        let pem = anchors.iter().map(|anchor| Pem::write("CERTIFICATE", anchor.der()));
        Ok(Some((pem.collect::<Result<_, _>>()?, lists)))
    }

    /// The next frame with lists, where something changed or a list would run out.
    pub(super) async fn lists(self: &Arc<Self>, sent: &mut Sent) -> Option<Bytes> {
        let (line, mut was) = (Arc::clone(self), std::mem::take(sent));
        // Lists of a hundred thousand are signed now and then.
        let made = tokio::task::spawn_blocking(move || {
            let missing = line.missing(&mut was);
            (missing, was)
        });
        let (missing, now) = made.await.ok()?;
        *sent = now;
        match missing {
            Ok(None) => None,
            Ok(Some((authorities, lists))) => encode(&Frame::Revoked { authorities, lists }),
            Err(error) => {
                self.note(&format!("no lists of revoked certificates for sites: {error}"));
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::published::List;

    fn lists(numbers: (u64, u64, u64), bytes: usize) -> Lists {
        let (complete, base, delta) = numbers;
        let list = |number: u64, base: Option<u64>, bytes| {
            let der = Bytes::from(vec![0x30; bytes]);
            List::for_tests(
                der,
                Number::from(u128::from(number).to_be_bytes()),
                base.map(|base| Number::from(u128::from(base).to_be_bytes())),
            )
        };
        Lists {
            authority: Bytes::from_static(b"one"),
            complete: list(complete, None, bytes),
            delta: list(delta, Some(base), 1),
        }
    }

    #[test]
    fn short_lists_come_whole_and_long_ones_when_deltas_do_not_fit_them() {
        let at = |hours: i64| Timestamp::from_secs(1_800_000_000 + hours * 3_600, 0);
        let long = COMPLETE_BYTES + 1;
        for (bytes, expected) in [
            (COMPLETE_BYTES, [Some(true), None, Some(true), Some(true), Some(true)]),
            (long, [Some(true), None, Some(false), Some(true), Some(true)]),
        ] {
            let mut sent = Sent::default();
            let steps = [
                (0, (1, 1, 2)),
                (1, (1, 1, 2)),
                (2, (3, 1, 3)),
                // A newer base than what was sent; then what was sent is old.
                (3, (4, 3, 4)),
                (16, (5, 3, 5)),
            ];
            for ((hour, numbers), whole) in steps.into_iter().zip(expected) {
                let missing = sent.missing(&[lists(numbers, bytes)], at(hour)).unwrap();
                let said = missing.map(|all| all.iter().all(|of| of.complete.is_some()));
                assert_eq!(said, whole, "{bytes} bytes after {hour} hours");
            }
        }
    }

    #[test]
    fn an_authority_that_is_gone_is_told_of() {
        let (mut sent, at) = (Sent::default(), Timestamp::from_secs(1_800_000_000, 0));
        assert!(sent.missing(&[lists((1, 1, 2), 9)], at).unwrap().is_some());
        assert_eq!(sent.missing(&[], at).unwrap(), Some(Vec::new()));
        assert_eq!(sent.missing(&[], at).unwrap(), None);
    }
}

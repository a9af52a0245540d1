//! When a certificate is renewed: at two thirds of its life, a little later for some than for others.

use model::Timestamp;

/// When to ask for the next certificate. `random`: any number, all equally likely; it spreads sites that were enrolled in one hour over a
/// twelfth of the life of their certificates.
pub fn due(not_before: Timestamp, not_after: Timestamp, random: u64) -> Timestamp {
    let life = i128::from(not_after.as_nanos()) - i128::from(not_before.as_nanos());
    let life = life.max(0);
    let later = (life / 12).saturating_mul(i128::from(random)) >> 64;
    let after = (life / 3).saturating_mul(2).saturating_add(later);
    not_before.plus_nanos(i64::try_from(after).unwrap_or(i64::MAX))
}

/// Nanoseconds between two tries: what cannot be renewed now has a third of its life to be.
pub const AGAIN_NANOS: i64 = 600 * 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn between_two_thirds_and_three_quarters_of_its_life() {
        let at = |days: i64| Timestamp::from_secs(days * 86_400, 0);
        assert_eq!(due(at(100), at(460), 0), at(340));
        let latest = due(at(100), at(460), u64::MAX);
        assert!(latest > at(369) && latest < at(370), "{latest}");
        assert_eq!(due(at(5), at(4), 7), at(5));
        assert!(due(Timestamp::MIN, Timestamp::MAX, u64::MAX) < Timestamp::MAX);
    }
}

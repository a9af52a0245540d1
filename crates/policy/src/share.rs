//! Which devices are in a share: a stable choice by id, so that a growing share never drops a device.

/// The device with this id is among the first `percent` (0 to 100) of all.
pub fn holds(id: &str, percent: u8) -> bool {
    // FNV-1a, then mixed: the choice must never change between versions.
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    for byte in id.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash ^= hash >> 32;
    hash = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (hash >> 32) % 100 < u64::from(percent)
}

/// Percent in an annotation: `10%`.
pub(crate) fn percent(text: &str) -> Option<u8> {
    let number = text.trim().strip_suffix('%')?.trim().parse().ok()?;
    (number <= 100).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_grow_and_are_what_they_say() {
        let ids: Vec<String> = (0..10_000).map(|n| format!("device-{n}")).collect();
        for percent in [0, 1, 10, 50, 99, 100] {
            let held = ids.iter().filter(|id| holds(id, percent)).count();
            let expect = usize::from(percent) * 100;
            assert!(held.abs_diff(expect) <= 200, "{percent} %: {held}");
            let more = percent.saturating_add(1).min(100);
            assert!(ids.iter().all(|id| !holds(id, percent) || holds(id, more)));
        }
        assert!(ids.iter().all(|id| !holds(id, 0) && holds(id, 100)));
    }

    #[test]
    fn the_choice_never_changes() {
        let chosen: Vec<u32> = (0..40).filter(|n| holds(&format!("cam-{n}"), 20)).collect();
        assert_eq!(chosen, [2, 8, 17, 18, 19, 21, 25, 29, 30, 33]);
    }

    #[test]
    fn percents() {
        assert_eq!(percent("10%"), Some(10));
        assert_eq!(percent(" 100 % "), Some(100));
        for wrong in ["", "10", "101%", "-1%", "a%", "%"] {
            assert_eq!(percent(wrong), None, "{wrong}");
        }
    }
}

//! Which of several files describes a device: its firmware decides (RFC 8520 §3.10, §3.11).

use super::Mud;

/// The answer, with its reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The file (by index) that names the device's firmware or software version.
    Version(usize),
    /// None names the version; this one names none at all.
    General(usize),
    /// None names the version, all name another one, or several fit equally: a person decides.
    Unclear,
}

/// Chooses among files for one device. `announced` is the URL the device announces, `version` its
/// firmware as the inventory knows it. Only files of the announced URL are looked at, when there are any.
pub fn select(files: &[Mud], announced: Option<&str>, version: Option<&str>) -> Choice {
    let of_url = |mud: &Mud| announced.is_none_or(|url| same_url(&mud.url, url));
    let named = files.iter().any(of_url);
    let fits = |mud: &Mud| !named || of_url(mud);
    let versions = |mud: &Mud| {
        let both = [&mud.firmware_rev, &mud.software_rev];
        both.into_iter().flatten().map(|v| plain(v)).collect::<Vec<_>>()
    };
    let these = |test: &dyn Fn(&Mud) -> bool| -> Vec<usize> {
        files.iter().enumerate().filter(|(_, m)| fits(m) && test(m)).map(|(i, _)| i).collect()
    };
    if let Some(version) = version.map(plain) {
        let exact = these(&|mud| versions(mud).contains(&version));
        match newest(files, &exact) {
            Some(one) => return Choice::Version(one),
            None if !exact.is_empty() => return Choice::Unclear,
            None => {}
        }
    }
    newest(files, &these(&|mud| versions(mud).is_empty())).map_or(Choice::Unclear, Choice::General)
}

/// The one that was updated last; `None` when there is none, or two at once.
fn newest(files: &[Mud], these: &[usize]) -> Option<usize> {
    let updated = |i: &usize| files.get(*i).and_then(Mud::updated);
    let last = these.iter().max_by_key(|i| updated(i))?;
    let as_late = these.iter().filter(|i| updated(i) == updated(last)).count();
    (as_late == 1).then_some(*last)
}

/// `V5.3.0 ` and `v5.3.0` are one version.
fn plain(version: &str) -> String {
    let text = version.trim().to_lowercase();
    match text.strip_prefix('v') {
        Some(rest) if rest.starts_with(|c: char| c.is_ascii_digit()) => rest.to_owned(),
        _ => text,
    }
}

/// URLs that differ by a last `/` only are one.
pub(super) fn same_url(a: &str, b: &str) -> bool {
    a.trim_end_matches('/').eq_ignore_ascii_case(b.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(url: &str, firmware: Option<&str>, updated: &str) -> Mud {
        Mud {
            url: url.to_owned(),
            firmware_rev: firmware.map(str::to_owned),
            last_update: updated.to_owned(),
            ..Mud::default()
        }
    }

    #[test]
    fn the_version_decides_then_the_general_file() {
        let (a, b) = ("https://x.example/a", "https://x.example/b");
        let (old, new) = ("2030-01-01T00:00:00Z", "2031-01-01T00:00:00Z");
        let files = [
            file(a, Some("5.2.0"), old),
            file(a, Some("V5.3.0"), old),
            file(a, None, old),
            file(b, Some("5.3.0"), new),
        ];
        assert_eq!(select(&files, Some(a), Some("v5.3.0")), Choice::Version(1));
        assert_eq!(select(&files, Some("https://x.example/a/"), Some("5.2.0")), Choice::Version(0));
        assert_eq!(select(&files, Some(a), Some("9.9")), Choice::General(2));
        assert_eq!(select(&files, Some(a), None), Choice::General(2));
        assert_eq!(select(&files, Some(b), Some("5.2.0")), Choice::Unclear);
        // Nobody has a file under the announced URL: all are looked at, the newest of a version wins.
        assert_eq!(select(&files, None, Some("5.3.0")), Choice::Version(3));
        let twins = [file(a, Some("1"), old), file(a, Some("1"), old)];
        assert_eq!(select(&twins, Some(a), Some("1")), Choice::Unclear);
        assert_eq!(select(&[], None, None), Choice::Unclear);
    }
}

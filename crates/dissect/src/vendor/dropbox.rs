//! Dropbox LAN sync (UDP 17500): computers announce themselves in JSON.

use crate::scan::json;
use crate::{Ctx, Malformed, Outcome, Sink};

/// How every announcement begins.
pub(super) fn probe(bytes: &[u8]) -> bool {
    bytes.starts_with(b"{\"host_int\":")
}

/// The port is also used by others: all of the announcement's parts must be there.
pub(super) fn run(payload: &[u8], _ctx: &Ctx, sink: &mut dyn Sink) -> Outcome {
    if payload.first() != Some(&b'{') {
        return Err(Malformed::NotMine);
    }
    let (mut host, mut port, mut version) = (false, false, Vec::new());
    json::walk(payload, &mut |path, value| match path {
        "host_int" => host = value.bytes().all(|b| b.is_ascii_digit()),
        "port" => port = value.parse::<u16>().is_ok(),
        _ if path.starts_with("version.") => version.push(value.to_owned()),
        _ => {}
    })?;
    if !host || !port || version.len() != 2 {
        return Err(Malformed::NotMine);
    }
    sink.says("dropbox.lansync", version.join("."));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vendor::tests::check;

    #[test]
    fn only_a_whole_announcement_counts() {
        let announcement = br#"{"host_int": 12345678901, "version": [2, 0], "displayname": "",
            "port": 17500, "namespaces": [1, 2]}"#;
        check(run, (17500, 17500), announcement, Ok(&["sender says dropbox.lansync = 2.0"]));
        assert!(probe(announcement));
        let coap = b"\x43\x03\x35\x01{\"messageType\":\"UPDATE\"}";
        check(run, (17500, 17500), coap, Err(Malformed::NotMine));
        check(run, (17500, 17500), br#"{"port": 1}"#, Err(Malformed::NotMine));
    }
}

//! Entry point for fuzzing the message path: what devices and upstreams send, in any order.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use model::observation::Transport;
use model::ruleset::{Class, ClassId, Member, Mode, NamePermit, Ruleset, Terms};

use crate::{Action, Core, Policy, Return, Settings};

/// Reads `input` as a row of messages, each with its length and where it comes from in front, and
/// follows what becomes of them. An answer of an upstream gets the id and the question that were
/// asked, so that it is read to its end.
pub fn messages(input: &[u8]) {
    let member = Member {
        device: match model::DeviceId::new("d1") {
            Ok(device) => device,
            Err(_) => return,
        },
        mac: model::Mac([2, 0, 0, 0, 0, 1]),
        ip: IpAddr::from([10, 0, 0, 1]),
        class: ClassId(1),
    };
    let permit = NamePermit {
        from: ClassId(1),
        name: "*.example".to_owned(),
        transport: Transport::Tcp,
        first_port: 443,
        last_port: 443,
        rule: "r".to_owned(),
        terms: Terms::default(),
    };
    let class = Class { name: "zone/1".to_owned(), mode: Mode::Enforce };
    let ruleset = Ruleset {
        generation: 1,
        parent: None,
        classes: [(ClassId(1), class)].into(),
        members: vec![member],
        peers: Vec::new(),
        permits: Vec::new(),
        exceptions: Vec::new(),
        names: vec![permit],
        proposed: Vec::new(),
    };
    let settings = Settings::new(vec![SocketAddr::from(([192, 0, 2, 1], 53))]);
    let policy = Arc::new(Policy::of(&ruleset, BTreeSet::new()));
    let mut core = Core::new(settings, policy, [1; 32]);
    let peer = SocketAddr::from(([10, 0, 0, 1], 4_000));
    let (mut now, mut rest) = (0, input);
    let mut asked: Option<(u64, Vec<u8>)> = None;
    while let [length, kind, more @ ..] = rest {
        let (message, next) = more.split_at_checked(usize::from(*length)).unwrap_or((more, &[]));
        rest = next;
        let mut out = Vec::new();
        match (kind % 4, asked.as_ref()) {
            (0, _) | (_, None) => {
                let to = Return { peer, socket: 0, tcp: kind & 8 != 0 };
                core.question(now, to, message, &mut out);
            }
            (1, Some((ask, bytes))) => {
                // The rest of an answer to the very question that is out.
                let question = bytes.get(12..bytes.len().saturating_sub(11)).unwrap_or_default();
                let counts = message.get(..6).unwrap_or_default();
                let head = [bytes.get(..2).unwrap_or_default(), &[0x84, kind >> 4, 0, 1], counts];
                let answer = [&head.concat(), question, message.get(6..).unwrap_or_default()];
                core.heard(now, *ask, &answer.concat(), &mut out);
            }
            (2, Some((ask, _))) => core.heard(now, *ask, message, &mut out),
            _ => {
                now += 700;
                core.tick(now, &mut out);
            }
        }
        let mut at = 0;
        while let Some(action) = out.get(at).cloned() {
            at += 1;
            match action {
                Action::Ask { ask, bytes, .. } => asked = Some((ask, bytes)),
                Action::PutInForce { release: Some(release), .. } => {
                    core.acknowledged(now, release, Ok(()), &mut out);
                }
                _ => {}
            }
        }
    }
}

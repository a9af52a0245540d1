//! The fence put to the proof: a road of three namespaces with judged traffic on it, and what is
//! done to the fence meanwhile. Tests run these shortly, `./x bench enforcer` at full length.
//!
//! ```text
//!   sender ── dev0 ┐ gateway ┌ out0 ── victim
//!                  └──fence──┘
//! ```
//!
//! The sender sends with the source address of any device (all have its link address); the victim
//! only counts what arrives. Nothing is answered.

mod kill;
mod swap;

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::time::Duration;

use enforcer::netlink::Place;
use enforcer::{Fence, Options};
use model::observation::Transport;
use model::ruleset::{Class, ClassId, Member, Mode, Peer, Permit, Ruleset, Terms};
use model::{DeviceId, Mac, Timestamp};

use crate::build::{ip, settings};
use crate::{LabError, Netns, sys, wait};

pub use kill::{Kills, apply_forever, kills};
pub use swap::{Swaps, swaps};

/// The victim's address.
pub const VICTIM: Ipv4Addr = Ipv4Addr::new(10, 91, 0, 2);
/// Always permitted by [`ruleset`].
pub const ALWAYS: u16 = 7_002;
/// Never permitted.
pub const NEVER: u16 = 7_003;
/// Permitted by even generations, and by odd ones.
pub const IN_TURN: [u16; 2] = [7_000, 7_001];

const SENDER_MAC: Mac = Mac([0x02, 0, 0, 0x90, 0, 2]);
const GATEWAY_MAC: &str = "02:00:00:90:00:01";
const OUTER_MAC: &str = "02:00:00:91:00:01";
const VICTIM_MAC: &str = "02:00:00:91:00:02";

/// Sender, gateway and victim.
#[derive(Debug)]
pub struct Road {
    /// Where devices are.
    pub sender: Netns,
    /// Where the fence is.
    pub gateway: Netns,
    /// Where packets are judged.
    pub victim: Netns,
}

impl Road {
    /// Builds it; there is no fence yet.
    pub fn new() -> Result<Self, LabError> {
        let make =
            |name: &str| Netns::new(name).map_err(|e| LabError::failed("make a namespace", e));
        let road = Self {
            sender: make("rf-sender")?,
            gateway: make("rf-gateway")?,
            victim: make("rf-victim")?,
        };
        let (sender, victim) = (road.sender.path(), road.victim.path());
        let (sender, victim) = (sender.display(), victim.display());
        ip(
            &road.gateway,
            &format!(
                "link add dev0 address {GATEWAY_MAC} type veth peer name eth0 address {SENDER_MAC} netns {sender}\n\
                 link add out0 address {OUTER_MAC} type veth peer name eth0 address {VICTIM_MAC} netns {victim}\n\
                 addr add 10.90.0.1/16 dev dev0\naddr add 10.91.0.1/24 dev out0\n\
                 link set lo up\nlink set dev0 up\nlink set out0 up\n\
                 neigh replace {VICTIM} lladdr {VICTIM_MAC} dev out0 nud permanent\n"
            ),
        )?;
        settings(&road.gateway, &[("net/ipv4/ip_forward", "1")])?;
        ip(
            &road.sender,
            &format!(
                "link set lo up\naddr add 10.90.0.2/16 dev eth0\nlink set eth0 up\n\
                 neigh replace 10.90.0.1 lladdr {GATEWAY_MAC} dev eth0 nud permanent\n\
                 route replace default via 10.90.0.1\n"
            ),
        )?;
        ip(
            &road.victim,
            &format!("link set lo up\naddr add {VICTIM}/24 dev eth0\nlink set eth0 up\n"),
        )?;
        Ok(road)
    }

    /// Lets answers of the victim come as far as the sender's link: their flows are established then,
    /// though no device of the sender hears them.
    pub fn answers(&self) -> Result<(), LabError> {
        let mut back =
            format!("neigh replace 10.90.0.2 lladdr {SENDER_MAC} dev dev0 nud permanent\n");
        // All but 10.90.0.0/24, where the sender itself is.
        for bits in 0..8 {
            let (third, length) = (1 << bits, 24 - bits);
            back += &format!("route replace 10.90.{third}.0/{length} via 10.90.0.2\n");
        }
        ip(&self.gateway, &back)?;
        ip(
            &self.victim,
            &format!(
                "neigh replace 10.91.0.1 lladdr {OUTER_MAC} dev eth0 nud permanent\n\
                 route replace default via 10.91.0.1\n"
            ),
        )
    }

    /// The gateway's enforcement point.
    pub fn fence(&self) -> Fence {
        Fence::new(Place::netns(&self.gateway.path()), "ringfence")
    }

    /// A socket that sends as device `n`, connected to the victim's `port`.
    pub fn device(&self, n: usize, port: u16) -> Result<UdpSocket, LabError> {
        let source = source(n);
        let socket = self.sender.enter(|| {
            let socket = sys::udp_as(source)?;
            socket.connect((VICTIM, port))?;
            Ok(socket)
        });
        let flat = socket.and_then(|socket: std::io::Result<UdpSocket>| socket);
        flat.map_err(|e| LabError::failed("open a device's socket", e))
    }

    /// Sockets of devices 0 to `count`, to the victim's `port`.
    pub fn devices(&self, count: usize, port: u16) -> Result<Vec<UdpSocket>, LabError> {
        sys::open_files(u64::try_from(count).unwrap_or(0).saturating_mul(8).saturating_add(1_024));
        (0..count).map(|n| self.device(n, port)).collect()
    }

    /// What arrives at the victim's `port`.
    pub fn listen(&self, port: u16) -> Result<UdpSocket, LabError> {
        let socket = self.victim.enter(|| {
            let socket = UdpSocket::bind((VICTIM, port))?;
            sys::receive_buffer(&socket, 64 << 20)?;
            socket.set_read_timeout(Some(Duration::from_millis(20)))?;
            Ok(socket)
        });
        let flat = socket.and_then(|socket: std::io::Result<UdpSocket>| socket);
        flat.map_err(|e| LabError::failed("listen as the victim", e))
    }
}

/// Time that one packet of each socket takes in the socket call, which carries it all the way.
pub fn time(sockets: &[UdpSocket]) -> Duration {
    let begin = wait::now();
    for socket in sockets {
        // A full queue at the victim is nobody's failure.
        let _ = socket.send(&[0; 16]);
    }
    wait::now() - begin
}

/// Source address of device `n`; those below 60,000 are on the road.
pub fn source(n: usize) -> Ipv4Addr {
    let n = u32::try_from(n).unwrap_or(0);
    let base = if n < 60_000 { Ipv4Addr::new(10, 90, 1, 0) } else { Ipv4Addr::new(11, 0, 0, 0) };
    Ipv4Addr::from_bits(base.to_bits() + n)
}

/// `devices` devices of one class that may reach the victim: at [`ALWAYS`], and at the one of
/// [`IN_TURN`] whose turn it is.
pub fn ruleset(generation: u64, devices: usize) -> Ruleset {
    let (from, to) = (ClassId(1), ClassId(2));
    let turn = IN_TURN.into_iter().nth(usize::from(generation % 2 == 1)).unwrap_or(ALWAYS);
    let permit = |port: u16| Permit {
        from,
        to,
        transport: Transport::Udp,
        first_port: port,
        last_port: port,
        rule: format!("udp-{port}"),
        terms: Terms::default(),
    };
    let class = |name: &str| Class { name: name.to_owned(), mode: Mode::Enforce };
    Ruleset {
        generation,
        parent: generation.checked_sub(1),
        classes: [(from, class("devices")), (to, class("victim"))].into(),
        members: (0..devices).filter_map(member).collect(),
        peers: vec![Peer { ip: IpAddr::V4(VICTIM), prefix: 32, class: to }],
        permits: vec![permit(ALWAYS), permit(turn)],
        exceptions: Vec::new(),
        names: Vec::new(),
        proposed: Vec::new(),
    }
}

/// Device `n` as a member.
pub fn member(n: usize) -> Option<Member> {
    let device = DeviceId::new(&format!("d{n}")).ok()?;
    let far = u32::try_from(n).unwrap_or(0).to_be_bytes();
    let mac = if n < 60_000 { SENDER_MAC } else { Mac([0x02, 1, far[0], far[1], far[2], far[3]]) };
    Some(Member { device, mac, ip: IpAddr::V4(source(n)), class: ClassId(1) })
}

/// Options for the road's fence.
pub fn options() -> Options {
    Options { input: false, ..Options::new("dev0", Timestamp::from_secs(1_700_000_000, 0)) }
}

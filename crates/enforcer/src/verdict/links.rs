//! Interfaces by number.

use std::collections::HashMap;

use crate::netlink::{Attributes, NetlinkError, Place, Protocol, Socket};

/// `RTM_GETLINK` and the answer's `RTM_NEWLINK`.
const GET_LINK: u16 = 18;
const NEW_LINK: u16 = 16;
/// Bytes of `struct ifinfomsg`, and where its index is.
const INFO: usize = 16;
const IFLA_IFNAME: u16 = 3;

/// Names of the interfaces of one network namespace, asked for when a number is new.
///
/// A number keeps the name it had when it was first met: interfaces that are renamed while their
/// packets are logged are rare, and the kernel never uses a number twice.
#[derive(Debug)]
pub struct Links {
    place: Place,
    names: HashMap<u32, String>,
}

impl Links {
    /// Nothing is asked yet.
    pub fn new(place: Place) -> Self {
        Self { place, names: HashMap::new() }
    }

    /// The name of interface `index`; `#7` for one that is gone already.
    pub fn name(&mut self, index: u32) -> String {
        if !self.names.contains_key(&index) {
            if let Ok(found) = self.ask() {
                self.names.extend(found);
            }
            self.names.entry(index).or_insert_with(|| format!("#{index}"));
        }
        self.names.get(&index).cloned().unwrap_or_default()
    }

    fn ask(&self) -> Result<HashMap<u32, String>, NetlinkError> {
        let mut socket = Socket::open(Protocol::Route, &self.place)?;
        socket.dump(
            GET_LINK,
            |e| e.raw(&[0; INFO]),
            |out: &mut HashMap<u32, String>, message| {
                if message.kind == NEW_LINK {
                    out.extend(link(message.payload));
                }
            },
        )
    }
}

fn link(payload: &[u8]) -> Option<(u32, String)> {
    let (info, attributes) = payload.split_at_checked(INFO)?;
    let index = u32::from_ne_bytes(*info.get(4..)?.first_chunk()?);
    Some((index, Attributes::new(attributes).text(IFLA_IFNAME)?))
}

//! nf_tables over netlink: our values as the kernel's messages, and back.
//!
//! Numbers are those of linux/netfilter/nf_tables.h; layouts were compared with what the nft
//! program sends (`nft --debug=netlink,mnl`), so that `nft list` shows our tables in its words.

pub(crate) mod expression;
pub(crate) mod held;
pub(crate) mod write;

/// `NFNL_SUBSYS_NFTABLES`.
pub(crate) const SUBSYSTEM: u8 = 10;

/// Messages.
pub(crate) mod message {
    pub(crate) const NEW_TABLE: u8 = 0;
    pub(crate) const GET_TABLE: u8 = 1;
    pub(crate) const DELETE_TABLE: u8 = 2;
    pub(crate) const NEW_CHAIN: u8 = 3;
    pub(crate) const GET_CHAIN: u8 = 4;
    pub(crate) const DELETE_CHAIN: u8 = 5;
    pub(crate) const NEW_RULE: u8 = 6;
    pub(crate) const GET_RULE: u8 = 7;
    pub(crate) const DELETE_RULE: u8 = 8;
    pub(crate) const NEW_SET: u8 = 9;
    pub(crate) const GET_SET: u8 = 10;
    pub(crate) const DELETE_SET: u8 = 11;
    pub(crate) const NEW_ELEMENT: u8 = 12;
    pub(crate) const GET_ELEMENT: u8 = 13;
    pub(crate) const DELETE_ELEMENT: u8 = 14;
    pub(crate) const GET_GENERATION: u8 = 16;
    pub(crate) const NEW_OBJECT: u8 = 18;
    pub(crate) const GET_OBJECT: u8 = 19;
    pub(crate) const DELETE_OBJECT: u8 = 20;
}

/// `NLM_F_CREATE`.
pub(crate) const CREATE: u16 = 0x400;
/// `NLM_F_EXCL`.
pub(crate) const EXCLUSIVE: u16 = 0x200;
/// `NLM_F_APPEND`.
pub(crate) const APPEND: u16 = 0x800;

/// `NFTA_LIST_ELEM`.
pub(crate) const LIST_ITEM: u16 = 1;

/// nf_tables' number of an address family.
pub(crate) fn family(name: &str) -> u8 {
    if name == "bridge" { 7 } else { 1 }
}

/// The word for a message about `code`, for errors.
pub(crate) fn word(code: u8) -> &'static str {
    match code {
        message::NEW_TABLE => "add table",
        message::DELETE_TABLE => "delete table",
        message::NEW_CHAIN => "add chain",
        message::DELETE_CHAIN => "delete chain",
        message::NEW_RULE => "add rule to chain",
        message::DELETE_RULE => "delete rules of chain",
        message::NEW_SET => "add set",
        message::DELETE_SET => "delete set",
        message::NEW_ELEMENT => "add elements to set",
        message::DELETE_ELEMENT => "delete elements of set",
        message::NEW_OBJECT => "add counter",
        message::DELETE_OBJECT => "delete counter",
        _ => "message",
    }
}

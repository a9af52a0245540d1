//! `ringfence site` with the real program, kernel and packets: on the lab's gateway, judged at the
//! victims.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on says where"
)]

mod exceptions;
mod headquarters;
mod names;
mod netns;
mod privileges;

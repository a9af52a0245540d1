//! Placeholder

pub mod import;
pub mod oui;
pub mod rules;
pub mod vendors;

//! Every bound of the system in one place. Reaching one is a finding, never a silent drop.

/// Longest value of one fact that is kept, in bytes of UTF-8; longer ones are cut.
pub const FACT_VALUE_BYTES_MAX: usize = 512;
/// Facts one dissector may report for one packet or message.
pub const FACTS_PER_MESSAGE_MAX: usize = 256;
/// Nesting depth of names, objects and tunnels.
pub const DEPTH_MAX: usize = 16;
/// Bytes buffered per direction of one TCP connection while a message is incomplete.
pub const STREAM_BUFFER_BYTES_MAX: usize = 32 * 1024;
/// Distinct MAC addresses one sensor tracks.
pub const LINKS_MAX: usize = 2_000_000;
/// Distinct identity values (host names, client ids…) one device may accumulate per field.
pub const VALUES_PER_FIELD_MAX: usize = 16;
/// Network addresses remembered per device.
pub const ADDRESSES_PER_DEVICE_MAX: usize = 64;
/// Evidence items kept per attribute value.
pub const EVIDENCE_PER_VALUE_MAX: usize = 8;
/// Children (backplane modules, routed instances…) of one device.
pub const CHILDREN_PER_DEVICE_MAX: usize = 4_096;
/// Open conversations tracked at once by one sensor.
pub const FLOWS_MAX: usize = 1_000_000;
/// IP fragments waiting for reassembly.
pub const FRAGMENTS_MAX: usize = 1_024;

//! The bridge's traffic as a capture file (pcap, nanoseconds, Ethernet).

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::{Lab, LabError, sys, wait};

/// A running recording; ends on [`Recording::stop`] or drop.
#[derive(Debug)]
pub struct Recording {
    stop: Arc<AtomicBool>,
    writer: Option<JoinHandle<Option<io::Result<Recorded>>>>,
}

/// What is in the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// Frames.
    pub frames: u64,
    /// Bytes of frames.
    pub bytes: u64,
}

/// Records what crosses the lab's bridge to `path`, until stopped.
pub fn start(lab: &Lab, path: &Path) -> Result<Recording, LabError> {
    let doing = || format!("record to {}", path.display());
    let failed = |error: io::Error| LabError::failed(doing(), error);
    let mut file = BufWriter::new(File::create(path).map_err(failed)?);
    file.write_all(&header()).map_err(failed)?;
    let bridge = lab.bridge_interface();
    let socket = lab.gateway().enter(|| sys::packet_socket(bridge, true));
    let socket = File::from(socket.and_then(|socket| socket).map_err(failed)?);
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    let writer = lab.gateway().thread("record", move || write(socket, file, &flag));
    Ok(Recording { stop, writer: Some(writer.map_err(failed)?) })
}

/// Records for `time`.
pub fn record(lab: &Lab, path: &Path, time: Duration) -> Result<Recorded, LabError> {
    let recording = start(lab, path)?;
    wait::pass(time)?;
    recording.stop()
}

impl Recording {
    /// Ends it; all frames so far are in the file.
    pub fn stop(mut self) -> Result<Recorded, LabError> {
        self.stop.store(true, Ordering::SeqCst);
        let failed = |why: &dyn ToString| LabError::failed("write the recording", why.to_string());
        let writer = self.writer.take().ok_or_else(|| failed(&"already stopped"))?;
        let result = writer.join().ok().flatten().ok_or_else(|| failed(&"the writer panicked"))?;
        result.map_err(|error| failed(&error))
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

fn write(mut socket: File, mut file: BufWriter<File>, stop: &AtomicBool) -> io::Result<Recorded> {
    let mut frame = vec![0u8; 1 << 17];
    let mut out = Recorded::default();
    loop {
        let last = stop.load(Ordering::SeqCst);
        let wait = if last { Duration::ZERO } else { Duration::from_millis(50) };
        while sys::readable(&socket, wait)? {
            let length = socket.read(&mut frame)?;
            let Some(bytes) = frame.get(..length) else {
                continue;
            };
            #[expect(
                clippy::disallowed_methods,
                reason = "a capture carries the time of its packets"
            )]
            let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let seconds = u32::try_from(at.as_secs()).unwrap_or(u32::MAX);
            let size = u32::try_from(length).unwrap_or(u32::MAX);
            for field in [seconds, at.subsec_nanos(), size, size] {
                file.write_all(&field.to_le_bytes())?;
            }
            file.write_all(bytes)?;
            out.frames += 1;
            out.bytes += u64::from(size);
            if !last && stop.load(Ordering::SeqCst) {
                break;
            }
        }
        if last {
            file.flush()?;
            return Ok(out);
        }
    }
}

/// Magic for nanoseconds, version 2.4, zone and accuracy 0, snap length, link type Ethernet.
fn header() -> Vec<u8> {
    let mut out = 0xa1b2_3c4du32.to_le_bytes().to_vec();
    out.extend(2u16.to_le_bytes());
    out.extend(4u16.to_le_bytes());
    for field in [0u32, 0, 1 << 17, 1] {
        out.extend(field.to_le_bytes());
    }
    out
}

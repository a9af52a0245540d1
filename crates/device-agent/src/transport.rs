//! Bytes to a TPM and back: the device of the kernel's resource manager, or a socket of swtpm.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Bytes of the longest command and the longest response (TPM2_PT_MAX_RESPONSE_SIZE is 4,096 for PC clients).
pub const MESSAGE_BYTES_MAX: usize = 4_096;
/// Longest time that a command may take: an RSA key on slow hardware.
const PATIENCE: Duration = Duration::from_secs(120);
/// Tag, size and code.
const HEADER: usize = 10;

/// Takes one command, and gives its response.
pub trait Transport: Send {
    /// Sends a whole command, and reads one whole response. An error leaves the connection unusable.
    fn exchange(&mut self, command: &[u8]) -> io::Result<Vec<u8>>;
}

/// Opens a TPM: `unix:PATH` and `tcp:HOST:PORT` are sockets of swtpm, anything else is a device file such as `/dev/tpmrm0`.
pub fn open(place: &str) -> io::Result<Box<dyn Transport>> {
    if let Some(path) = place.strip_prefix("unix:") {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        return Ok(Box::new(Socket(stream)));
    }
    if let Some(address) = place.strip_prefix("tcp:") {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        return Ok(Box::new(Socket(stream)));
    }
    let file = OpenOptions::new().read(true).write(true).open(place)?;
    Ok(Box::new(Device(file)))
}

/// A device file: one write is a command, one read its response.
struct Device(File);

impl Transport for Device {
    fn exchange(&mut self, command: &[u8]) -> io::Result<Vec<u8>> {
        self.0.write_all(command)?;
        let mut response = vec![0; MESSAGE_BYTES_MAX];
        let size = self.0.read(&mut response)?;
        response.truncate(size);
        Ok(response)
    }
}

/// A stream of bytes, in which a response says how long it is.
struct Socket<S>(S);

impl<S: Read + Write + Send> Transport for Socket<S> {
    fn exchange(&mut self, command: &[u8]) -> io::Result<Vec<u8>> {
        self.0.write_all(command)?;
        self.0.flush()?;
        let mut response = vec![0; HEADER];
        self.0.read_exact(&mut response)?;
        let size = response.get(2..6).and_then(|size| size.try_into().ok()).map(u32::from_be_bytes);
        let size = size.and_then(|size| usize::try_from(size).ok()).unwrap_or_default();
        if !(HEADER..=MESSAGE_BYTES_MAX).contains(&size) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a response of an odd size"));
        }
        response.resize(size, 0);
        if let Some(body) = response.get_mut(HEADER..) {
            self.0.read_exact(body)?;
        }
        Ok(response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Played {
        says: io::Cursor<Vec<u8>>,
    }

    impl Read for Played {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            // In pieces, as a stream may give them.
            let most = buffer.len().min(3);
            self.says.read(buffer.get_mut(..most).unwrap_or_default())
        }
    }

    impl Write for Played {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_response_says_how_long_it_is() {
        let said =
            |bytes: &[u8]| Socket(Played { says: io::Cursor::new(bytes.to_vec()) }).exchange(&[1]);
        let whole = [0x80, 1, 0, 0, 0, 12, 0, 0, 0, 0, 7, 8, 9];
        assert_eq!(said(&whole).unwrap(), whole[..12]);
        assert!(said(&whole[..11]).is_err(), "cut");
        for size in [9u32, 4_097, u32::MAX] {
            let odd = [&[0x80, 1][..], &size.to_be_bytes(), &[0; 5_000]].concat();
            assert!(said(&odd).is_err(), "{size}");
        }
    }
}

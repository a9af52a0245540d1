//! A sliding view of a byte stream: bounded, refilled in large pieces.

use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes asked from the reader at once. Small enough to stay in a second-level cache while it is
/// dissected, large enough that system calls do not count.
const PIECE_BYTES: usize = 256 * 1024;

/// Bytes of a stream from the current position on.
pub(super) struct Window {
    reader: Box<dyn Read + Send>,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Offset of `buffer[start]` in the stream.
    offset: u64,
    ended: bool,
    error: Option<io::Error>,
}

impl Window {
    pub(super) fn new(reader: Box<dyn Read + Send>) -> Self {
        Self {
            reader,
            buffer: vec![0; PIECE_BYTES],
            start: 0,
            end: 0,
            offset: 0,
            ended: false,
            error: None,
        }
    }

    /// Makes `n` bytes visible in [`Self::rest`]; `false` when the stream ends before that.
    #[inline]
    pub(super) fn ensure(&mut self, n: usize) -> bool {
        self.end - self.start >= n || self.fill(n)
    }

    /// The first `N` bytes.
    #[inline]
    pub(super) fn peek<const N: usize>(&mut self) -> Option<&[u8; N]> {
        self.ensure(N);
        self.rest().first_chunk()
    }

    /// All bytes that are visible now.
    #[inline]
    pub(super) fn rest(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// Position in the buffer, for [`Self::at`]; good until the next `ensure`.
    #[inline]
    pub(super) const fn start(&self) -> usize {
        self.start
    }

    /// Bytes at a position of the buffer, also those already consumed.
    #[inline]
    pub(super) fn at(&self, start: usize, len: usize) -> Option<&[u8]> {
        self.buffer.get(start..start.checked_add(len)?)
    }

    /// Passes over at most `n` visible bytes.
    #[inline]
    pub(super) fn consume(&mut self, n: usize) {
        let n = n.min(self.end - self.start);
        self.start += n;
        self.offset = self.offset.saturating_add(n as u64);
    }

    /// Passes over `n` bytes, visible or not; `false` when the stream ends before that.
    pub(super) fn skip(&mut self, mut n: u64) -> bool {
        loop {
            let here = self.rest().len();
            let step = usize::try_from(n).unwrap_or(usize::MAX).min(here);
            self.consume(step);
            n -= step as u64;
            if n == 0 {
                return true;
            }
            if !self.ensure(1) {
                return false;
            }
        }
    }

    /// Offset of the current position in the stream.
    #[inline]
    pub(super) const fn offset(&self) -> u64 {
        self.offset
    }

    /// The stream ends with the visible bytes.
    pub(super) const fn is_last(&self) -> bool {
        self.ended
    }

    /// Ends the stream here.
    pub(super) const fn close(&mut self) {
        self.start = self.end;
        self.ended = true;
    }

    /// The error that ended the stream, once.
    pub(super) const fn take_error(&mut self) -> Option<io::Error> {
        self.error.take()
    }

    #[cold]
    fn fill(&mut self, n: usize) -> bool {
        if self.ended {
            return false;
        }
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if n > self.buffer.len() {
            self.buffer.resize(n, 0);
        }
        while self.end < n {
            match self.reader.read(self.buffer.get_mut(self.end..).unwrap_or_default()) {
                Ok(0) => {
                    self.ended = true;
                    return false;
                }
                Ok(got) => self.end = self.end.saturating_add(got).min(self.buffer.len()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.error = Some(error);
                    self.ended = true;
                    return false;
                }
            }
        }
        true
    }
}

/// What a decompressor reads.
impl Read for Window {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if !self.ensure(1) {
            return self.error.take().map_or(Ok(0), Err);
        }
        let rest = self.rest();
        let n = rest.len().min(out.len());
        for (to, from) in out.iter_mut().zip(rest) {
            *to = *from;
        }
        self.consume(n);
        Ok(n)
    }
}

impl fmt::Debug for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Window")
            .field("offset", &self.offset)
            .field("visible", &self.rest().len())
            .finish_non_exhaustive()
    }
}

/// How much of a file was read, counted below decompression.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    position: Arc<AtomicU64>,
    size: Option<u64>,
}

impl Progress {
    pub(super) fn of(size: Option<u64>) -> Self {
        Self { position: Arc::default(), size }
    }

    pub(super) fn position(&self) -> u64 {
        self.position.load(Ordering::Relaxed)
    }

    pub(super) const fn size(&self) -> Option<u64> {
        self.size
    }

    /// `reader`, counting what is read from it.
    pub(super) fn counting(&self, reader: Box<dyn Read + Send>) -> Box<dyn Read + Send> {
        Box::new(Counting { reader, position: Arc::clone(&self.position) })
    }
}

struct Counting {
    reader: Box<dyn Read + Send>,
    position: Arc<AtomicU64>,
}

impl Read for Counting {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = self.reader.read(out)?;
        self.position.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

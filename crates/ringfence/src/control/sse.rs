//! Server-Sent Events (WHATWG HTML §9.2): bytes in, messages out.

/// Bytes of one message; a longer one is left out.
const MESSAGE_BYTES_MAX: usize = 32 << 20;

/// One message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Message {
    /// `change`, `missed`.
    pub(crate) event: String,
    pub(crate) data: String,
}

/// What was read so far of a stream.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    line: Vec<u8>,
    message: Message,
    too_long: bool,
}

impl Reader {
    /// Takes bytes and gives the messages that are whole by now.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Vec<Message> {
        let mut messages = Vec::new();
        for byte in bytes {
            match byte {
                b'\n' => {
                    let line = std::mem::take(&mut self.line);
                    messages
                        .extend(self.line(String::from_utf8_lossy(&line).trim_end_matches('\r')));
                }
                _ if self.line.len() < MESSAGE_BYTES_MAX => self.line.push(*byte),
                _ => self.too_long = true,
            }
        }
        messages
    }

    fn line(&mut self, line: &str) -> Option<Message> {
        if line.is_empty() {
            let message = std::mem::take(&mut self.message);
            let whole = !std::mem::take(&mut self.too_long) && !message.data.is_empty();
            return whole.then_some(message);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.message.event),
            "data" if self.message.data.len().saturating_add(value.len()) >= MESSAGE_BYTES_MAX => {
                self.too_long = true;
            }
            "data" => {
                if !self.message.data.is_empty() {
                    self.message.data.push('\n');
                }
                self.message.data.push_str(value);
            }
            // Comments keep the connection alive; ids are in the data.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_whole_however_they_are_cut() {
        let text = b": alive\n\nid: 7\nevent: change\ndata: {\"a\":1}\n\nevent: missed\r\ndata:3\r\ndata: 4\r\n\r\ndata: cut";
        let expect = [("change", "{\"a\":1}"), ("missed", "3\n4")]
            .map(|(event, data)| Message { event: event.to_owned(), data: data.to_owned() });
        for size in 1..text.len() {
            let mut reader = Reader::default();
            let read: Vec<_> = text.chunks(size).flat_map(|part| reader.take(part)).collect();
            assert_eq!(read, expect, "in parts of {size}");
        }
    }

    #[test]
    fn a_message_without_end_takes_no_more_than_its_bound() {
        let mut reader = Reader::default();
        let line = [b"data: ".as_slice(), &vec![b'x'; MESSAGE_BYTES_MAX / 2], b"\n"].concat();
        for _ in 0..4 {
            assert_eq!(reader.take(&line), []);
        }
        assert!(reader.message.data.len() <= MESSAGE_BYTES_MAX);
        assert_eq!(reader.take(b"\n"), []);
        assert_eq!(reader.take(b"data: next\n\n")[0].data, "next");
    }
}

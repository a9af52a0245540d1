//! `dhcpd.leases` of ISC dhcpd (dhcpd.leases(5)), IPv4: blocks `lease ADDRESS { … }`, appended; the last one of an address counts. Times are in UTC, or
//! seconds since the epoch (`db-time-format local`). Blocks of other kinds are stepped over; those of IPv6 are named, because nobody
//! should believe that they were read.

use std::net::IpAddr;

use model::Mac;

use super::{Lease, Leases, Until, WORD_BYTES_MAX, epoch_s, mac, name};

/// Words of one statement that are kept; the rest says nothing here.
const WORDS_MAX: usize = 8;

pub(super) fn read(bytes: &[u8], leases: &mut Leases) {
    let mut tokens = Tokens { bytes, at: 0, line: 1 };
    let mut begun: Option<Begun> = None;
    let mut depth = 0_u32;
    let mut words: Vec<String> = Vec::new();
    let mut line = 1;
    while let Some(token) = tokens.next() {
        if words.is_empty() {
            line = tokens.line;
        }
        match token {
            Token::Word(_) if words.len() >= WORDS_MAX => {}
            Token::Word(word) => words.push(word),
            Token::Open => {
                if depth == 0 {
                    begun = open(&words, line, leases);
                }
                depth = depth.saturating_add(1);
                words.clear();
            }
            Token::End => {
                if let (1, Some(begun)) = (depth, &mut begun) {
                    begun.says(&words);
                }
                words.clear();
            }
            Token::Close => {
                depth = depth.saturating_sub(1);
                if depth == 0
                    && let Some(begun) = begun.take()
                {
                    leases.take(begun.lease());
                }
                words.clear();
            }
        }
    }
    if let Some(begun) = begun {
        leases.refuse(begun.line, "its block does not end");
    }
}

fn open(words: &[String], line: u64, leases: &mut Leases) -> Option<Begun> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["lease", address] => match address.parse::<IpAddr>() {
            Ok(address) => return Some(Begun::new(line, address)),
            Err(_) => leases.refuse(line, "its address is none"),
        },
        ["ia-na" | "ia-ta" | "ia-pd", ..] => {
            leases.refuse(line, "leases of IPv6 are not read from this format");
        }
        _ => {}
    }
    None
}

/// A block as far as it is read.
struct Begun {
    line: u64,
    address: IpAddr,
    mac: Option<Mac>,
    hostname: Option<String>,
    starts_s: Option<i64>,
    heard_s: Option<i64>,
    ends: Until,
    is_given: bool,
}

impl Begun {
    const fn new(line: u64, address: IpAddr) -> Self {
        Self {
            line,
            address,
            mac: None,
            hostname: None,
            starts_s: None,
            heard_s: None,
            ends: Until::Never,
            is_given: true,
        }
    }

    fn says(&mut self, words: &[String]) {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["starts", time @ ..] => self.starts_s = instant(time),
            ["cltt", time @ ..] => self.heard_s = instant(time),
            ["ends", "never"] => self.ends = Until::Never,
            // An end that is not understood is no reason to believe that it holds.
            ["ends", time @ ..] => self.ends = instant(time).map_or(Until::Ended, Until::At),
            ["binding", "state", state] => self.is_given = *state == "active",
            ["abandoned"] => self.is_given = false,
            ["hardware", "ethernet", address] => self.mac = mac(address),
            ["client-hostname", called] => self.hostname = name(called),
            _ => {}
        }
    }

    fn lease(self) -> Lease {
        Lease {
            line: self.line,
            mac: self.mac,
            duid: None,
            address: self.address,
            hostname: self.hostname,
            until: if self.is_given { self.ends } else { Until::Ended },
            heard_s: self.heard_s.or(self.starts_s),
        }
    }
}

/// `4 2024/05/02 10:00:00`, or `epoch 1714644000`.
fn instant(words: &[&str]) -> Option<i64> {
    let numbers = |text: &str, between: char| {
        let mut parts = text.split(between).map(|part| part.parse::<i64>().ok());
        let three = [parts.next()??, parts.next()??, parts.next()??];
        parts.next().is_none().then_some(three)
    };
    match words {
        ["epoch", seconds] => seconds.parse().ok(),
        [_weekday, date, time] => epoch_s(numbers(date, '/')?, numbers(time, ':')?),
        _ => None,
    }
}

enum Token {
    Word(String),
    Open,
    Close,
    End,
}

struct Tokens<'b> {
    bytes: &'b [u8],
    at: usize,
    line: u64,
}

impl Tokens<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn step(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at = self.at.saturating_add(1);
        self.line = self.line.saturating_add(u64::from(byte == b'\n'));
        Some(byte)
    }

    fn next(&mut self) -> Option<Token> {
        loop {
            match self.peek()? {
                b'#' => while self.step().is_some_and(|byte| byte != b'\n') {},
                byte if byte.is_ascii_whitespace() => drop(self.step()),
                _ => break,
            }
        }
        match self.peek()? {
            b'{' => self.step().map(|_| Token::Open),
            b'}' => self.step().map(|_| Token::Close),
            b';' => self.step().map(|_| Token::End),
            b'"' => Some(Token::Word(self.quoted())),
            _ => {
                let from = self.at;
                while self
                    .peek()
                    .is_some_and(|byte| !byte.is_ascii_whitespace() && !b"{};\"#".contains(&byte))
                {
                    self.step();
                }
                let word = self.bytes.get(from..self.at).unwrap_or_default();
                let word = word.get(..WORD_BYTES_MAX).unwrap_or(word);
                Some(Token::Word(String::from_utf8_lossy(word).into_owned()))
            }
        }
    }

    /// A string: `\"`, `\\` and `\ooo` stand for a byte.
    fn quoted(&mut self) -> String {
        self.step();
        let mut bytes = Vec::new();
        while let Some(byte) = self.step() {
            let byte = match byte {
                b'"' => break,
                b'\\' => self.escaped(),
                byte => byte,
            };
            if bytes.len() < WORD_BYTES_MAX {
                bytes.push(byte);
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn escaped(&mut self) -> u8 {
        let digits = self.bytes.get(self.at..self.at.saturating_add(3)).unwrap_or_default();
        let octal = std::str::from_utf8(digits).ok().filter(|text| text.len() == 3);
        match octal.and_then(|text| u8::from_str_radix(text, 8).ok()) {
            Some(byte) => {
                self.at = self.at.saturating_add(3);
                byte
            }
            None => self.step().unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Format, Leases, Until};

    const TEXT: &str = r#"# The format of this file is documented in the dhcpd.leases(5) manual page.
authoring-byte-order little-endian;
failover peer "a" state { my state normal at 4 2024/05/02 10:00:00; }
lease 10.0.0.5 {
  starts 4 2024/05/02 08:00:00;
  ends 4 2024/05/02 20:00:00;
  cltt 4 2024/05/02 08:00:00;
  binding state active;
  next binding state free;
  hardware ethernet 24:0a:c4:01:02:03;
  uid "\001$\012\304\001\002\003";
  set vendor-class-identifier = "cam { \"x\" }";
  on expiry { execute("lease 10.0.0.99 {"); }
  client-hostname "cam-\063";
}
lease 10.0.0.6 {
  starts epoch 1714644000; # Thu May  2 10:00:00 2024
  ends never;
  hardware ethernet 24:0a:c4:01:02:04;
}
lease 10.0.0.5 {
  starts 4 2024/05/02 10:00:00;
  ends 4 2024/05/02 22:00:00;
  hardware ethernet 24:0a:c4:01:02:03;
  client-hostname "cam-3b";
}
lease 10.0.0.7 {
  ends 4 2024/05/02 22:00:00;
  binding state free;
  hardware ethernet 24:0a:c4:01:02:05;
}
lease 10.0.0.8 { ends 4 soon; hardware ethernet 24:0a:c4:01:02:06; }
lease 10.0.0.9 { ends never; }
ia-na "\001\002\003\004\000\001" { iaaddr fd00::5 { ends never; } }
lease 10.0.0.10 { ends never; hardware ethernet 24:0a:c4:01:02:07;
"#;

    #[test]
    fn blocks_are_read_and_what_is_none_is_named() {
        let read = Leases::read(Format::Isc, TEXT.as_bytes());
        let shown: Vec<_> = read
            .leases
            .iter()
            .map(|l| (l.line, l.address.to_string(), l.hostname.as_deref(), l.until, l.heard_s))
            .collect();
        let day = 19_845 * 86_400;
        assert_eq!(
            shown,
            [
                (16, "10.0.0.6".to_owned(), None, Until::Never, Some(1_714_644_000)),
                (
                    21,
                    "10.0.0.5".to_owned(),
                    Some("cam-3b"),
                    Until::At(day + 22 * 3_600),
                    Some(day + 10 * 3_600)
                ),
                (27, "10.0.0.7".to_owned(), None, Until::Ended, None),
                (32, "10.0.0.8".to_owned(), None, Until::Ended, None),
            ]
        );
        let refused: Vec<_> = read.refused.iter().map(|r| (r.line, r.why.as_str())).collect();
        assert_eq!(
            refused,
            [
                (33, "it names no client: neither a link address nor a DUID"),
                (34, "leases of IPv6 are not read from this format"),
                (35, "its block does not end"),
            ]
        );
    }

    #[test]
    fn escapes_are_undone() {
        let first = TEXT.split_inclusive("}\nlease 10.0.0.6").next().unwrap();
        let read = Leases::read(Format::Isc, first.as_bytes());
        assert_eq!(read.leases[0].hostname.as_deref(), Some("cam-3"));
        assert_eq!(read.leases[0].heard_s, Some(19_845 * 86_400 + 8 * 3_600));
    }
}

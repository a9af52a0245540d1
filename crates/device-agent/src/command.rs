//! Commands and responses as bytes (TPM 2.0 Part 1 §18, Part 3 §4).

use std::io;

use crate::tpm::Auth;

const NO_SESSIONS: u16 = 0x8001;
const SESSIONS: u16 = 0x8002;
/// TPM_RS_PW: a password, which is empty here.
const PASSWORD: u32 = 0x4000_0009;

/// Why a TPM did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum TpmError {
    /// It cannot be reached.
    #[error("the TPM cannot be reached: {0}")]
    Io(#[from] io::Error),
    /// It says no.
    #[error("the TPM refused {command}: {code:#05x}{}", said(*.code))]
    Refused {
        /// Which command.
        command: &'static str,
        /// TPM_RC (Part 2 §6.6).
        code: u32,
    },
    /// Its answer cannot be read.
    #[error("the TPM answered {command} with something else: {why}")]
    Odd {
        /// Which command.
        command: &'static str,
        /// What is wrong.
        why: String,
    },
}

impl TpmError {
    /// Whether there is no such object or index (TPM_RC_HANDLE).
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if code & 0xbf == 0x8b)
    }
}

impl TpmError {
    /// Whether the same command has to be sent again (TPM_RC_RETRY, TPM_RC_YIELDED).
    pub(crate) const fn is_retry(&self) -> bool {
        matches!(self, Self::Refused { code: 0x922 | 0x908, .. })
    }
}

/// What a code means, where it is one that people meet.
fn said(code: u32) -> &'static str {
    // Format one has in its upper bits which handle, session or parameter is meant (Part 2 §6.6.2).
    match if code & 0x80 != 0 { code & 0xbf } else { code } {
        0x8b => " (there is no such object)",
        0x8e => " (the authorisation is wrong)",
        0x84 => " (a value that it does not take)",
        0x95 => " (a size that it does not take)",
        0x9d => " (a policy that does not fit)",
        0x9f => " (it was made by another TPM, or changed)",
        0xa2 => " (the authorisation is wrong, and no dictionary is involved)",
        0x100 => " (it was not started)",
        0x902 => " (it has no memory for one more object)",
        0x903 => " (it has no memory for one more session)",
        0x90a => " (it is testing itself)",
        0x921 => " (it is locked after wrong passwords)",
        0x922 => " (try again)",
        _ => "",
    }
}

/// A command that is being written.
pub(crate) struct Command {
    name: &'static str,
    code: u32,
    handles: Vec<u8>,
    /// TPMS_AUTH_COMMANDs, in the order of their handles.
    sessions: Vec<u8>,
    parameters: Vec<u8>,
}

impl Command {
    pub(crate) fn new(name: &'static str, code: u32) -> Self {
        let (handles, sessions, parameters) = (Vec::new(), Vec::new(), Vec::new());
        Self { name, code, handles, sessions, parameters }
    }

    /// One more handle, without authorisation.
    pub(crate) fn handle(mut self, handle: u32) -> Self {
        self.handles.extend(handle.to_be_bytes());
        self
    }

    /// One more handle; those with authorisation come first.
    pub(crate) fn authorised(mut self, handle: u32, auth: Auth) -> Self {
        let session = match auth {
            Auth::Empty => PASSWORD,
            Auth::Session(session) => session,
        };
        self.sessions.extend(session.to_be_bytes());
        // No nonce, no attributes (a session ends with its use), no password and no HMAC.
        self.sessions.extend([0; 5]);
        self.handle(handle)
    }

    pub(crate) fn bytes(mut self, bytes: &[u8]) -> Self {
        self.parameters.extend(bytes);
        self
    }

    pub(crate) fn u16(self, number: u16) -> Self {
        self.bytes(&number.to_be_bytes())
    }

    pub(crate) fn u32(self, number: u32) -> Self {
        self.bytes(&number.to_be_bytes())
    }

    /// A buffer behind its length; nothing that is sent is as long as 64 KiB.
    pub(crate) fn sized(self, bytes: &[u8]) -> Self {
        self.u16(u16::try_from(bytes.len()).unwrap_or(u16::MAX)).bytes(bytes)
    }

    pub(crate) fn write(&self) -> Vec<u8> {
        let tag = if self.sessions.is_empty() { NO_SESSIONS } else { SESSIONS };
        let long = |n: usize| u32::try_from(n).unwrap_or(u32::MAX).to_be_bytes();
        let mut body = self.handles.clone();
        if !self.sessions.is_empty() {
            body.extend(long(self.sessions.len()));
            body.extend(&self.sessions);
        }
        body.extend(&self.parameters);
        let size = long(body.len().saturating_add(10));
        [&tag.to_be_bytes()[..], &size, &self.code.to_be_bytes(), &body].concat()
    }

    /// What the TPM answered: its handle where it gives one, and its parameters.
    pub(crate) fn read(&self, response: &[u8], gives_handle: bool) -> Result<Response, TpmError> {
        let odd = |why: String| TpmError::Odd { command: self.name, why };
        let mut all = Response { command: self.name, rest: response.to_vec() };
        let (tag, size, code) = (all.u16()?, all.u32()?, all.u32()?);
        if usize::try_from(size).ok() != Some(response.len()) {
            return Err(odd(format!("it is {} bytes long and says {size}", response.len())));
        }
        if code != 0 {
            return Err(TpmError::Refused { command: self.name, code });
        }
        let handle = if gives_handle { all.take(4)? } else { Vec::new() };
        let expected = if self.sessions.is_empty() { NO_SESSIONS } else { SESSIONS };
        if tag != expected {
            return Err(odd(format!("its tag is {tag:#06x}")));
        }
        if tag == SESSIONS {
            // Behind the parameters come authorisations, which say nothing here.
            let size = usize::try_from(all.u32()?).unwrap_or(usize::MAX);
            all.rest = all.take(size)?;
        }
        all.rest.splice(0..0, handle);
        Ok(all)
    }
}

/// Parameters that are still to be read.
#[derive(Debug)]
pub(crate) struct Response {
    command: &'static str,
    rest: Vec<u8>,
}

impl Response {
    pub(crate) fn take(&mut self, size: usize) -> Result<Vec<u8>, TpmError> {
        if size > self.rest.len() {
            return Err(self.odd("it ends too early"));
        }
        let rest = self.rest.split_off(size);
        Ok(std::mem::replace(&mut self.rest, rest))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], TpmError> {
        let bytes = self.take(N)?;
        bytes.try_into().map_err(|_| self.odd("it ends too early"))
    }

    pub(crate) fn u16(&mut self) -> Result<u16, TpmError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, TpmError> {
        self.array().map(u32::from_be_bytes)
    }

    /// A buffer behind its length.
    pub(crate) fn sized(&mut self) -> Result<Vec<u8>, TpmError> {
        let size = self.u16()?;
        self.take(usize::from(size))
    }

    /// Everything that is left.
    pub(crate) fn rest(self) -> Vec<u8> {
        self.rest
    }

    /// There is nothing left.
    pub(crate) fn end(&self) -> Result<(), TpmError> {
        match self.rest.len() {
            0 => Ok(()),
            more => Err(self.odd(&format!("{more} bytes follow it"))),
        }
    }

    pub(crate) fn odd(&self, why: &str) -> TpmError {
        TpmError::Odd { command: self.command, why: why.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_written_as_the_specification_has_it() {
        // TPM2_PCR_Read, without sessions.
        let read = Command::new("PCR_Read", 0x17e).bytes(&[0, 0, 0, 0]);
        assert_eq!(read.write(), [0x80, 1, 0, 0, 0, 14, 0, 0, 1, 0x7e, 0, 0, 0, 0]);
        // TPM2_FlushContext has its handle among the parameters.
        let quote = Command::new("Quote", 0x158).authorised(0x8000_0001, Auth::Empty).sized(&[7]);
        let expected = [
            &[0x80, 2, 0, 0, 0, 30, 0, 0, 1, 0x58, 0x80, 0, 0, 1, 0, 0, 0, 9][..],
            &[0x40, 0, 0, 9, 0, 0, 0, 0, 0, 0, 1, 7],
        ]
        .concat();
        assert_eq!(quote.write(), expected);
    }

    #[test]
    fn a_response_is_read_whole() {
        let plain = Command::new("ReadPublic", 0x173).handle(1);
        let answer = [0x80, 1, 0, 0, 0, 14, 0, 0, 0, 0, 0, 2, 5, 6];
        let mut response = plain.read(&answer, false).unwrap();
        assert_eq!(response.sized().unwrap(), [5, 6]);
        response.end().unwrap();
        for cut in 0..answer.len() {
            assert!(plain.read(&answer[..cut], false).is_err(), "{cut}");
        }
        let refused = [0x80, 1, 0, 0, 0, 10, 0, 0, 1, 0x8b];
        let error = plain.read(&refused, false).unwrap_err();
        assert!(error.is_absent());
        assert_eq!(
            error.to_string(),
            "the TPM refused ReadPublic: 0x18b (there is no such object)"
        );
        let authorised = Command::new("CreatePrimary", 0x131).authorised(1, Auth::Empty);
        let answer = [
            &[0x80, 2, 0, 0, 0, 25, 0, 0, 0, 0, 0x80, 0, 0, 0][..],
            &[0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0],
        ]
        .concat();
        let mut response = authorised.read(&answer, true).unwrap();
        assert_eq!((response.u32().unwrap(), response.sized().unwrap()), (0x8000_0000, vec![]));
        response.end().unwrap();
        assert!(plain.read(&answer, true).is_err(), "a tag of another kind");
    }
}

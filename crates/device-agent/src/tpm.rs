//! The commands of a TPM 2.0 that are used (Part 3).

use pki::Digest;
use pki::tpm::{Challenge, Name, Pcrs, Public, Selection};

use crate::command::{Command, Response, TpmError};
use crate::transport::Transport;

/// TPM_RH_OWNER, TPM_RH_NULL, TPM_RH_ENDORSEMENT (Part 2 §7.4).
pub(crate) const OWNER: u32 = 0x4000_0001;
const NOTHING: u32 = 0x4000_0007;
pub(crate) const ENDORSEMENT: u32 = 0x4000_000b;
/// TPM_ALG_NULL: in the way that the key has.
const NULL: u16 = 0x0010;
/// Bytes of an NV index that are read at once; every TPM gives as many.
const NV_CHUNK: u16 = 512;
/// Bytes of an NV index that is read at all: a certificate.
const NV_BYTES_MAX: u16 = 8_192;
/// Times that a command is sent again because the TPM asks for it: it has to note first that a key is used that locks after
/// wrong passwords (Part 1, Dictionary Attack Protection).
const RETRIES: usize = 16;
/// Times that registers are read again because they changed meanwhile.
const PCR_ATTEMPTS: usize = 5;

/// A TPM that listens.
pub struct Tpm {
    transport: Box<dyn Transport>,
}

/// An object in the TPM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handle(pub u32);

/// What lets the TPM use an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {
    /// The empty password.
    Empty,
    /// A policy session; it ends with its use.
    Session(u32),
}

/// A key below another one, as it can be kept outside of the TPM: the private part is encrypted by its parent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created {
    /// TPMT_PUBLIC.
    pub public: Vec<u8>,
    /// TPM2B_PRIVATE, without its length.
    pub private: Vec<u8>,
}

/// What a key of the TPM signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// TPMS_ATTEST.
    pub attest: Vec<u8>,
    /// TPMT_SIGNATURE.
    pub signature: Vec<u8>,
}

impl std::fmt::Debug for Tpm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tpm")
    }
}

impl Tpm {
    /// Over a transport. The TPM has to be started (TPM2_Startup), as a kernel or a firmware does.
    pub fn new(transport: Box<dyn Transport>) -> Self {
        Self { transport }
    }

    fn run(&mut self, command: &Command, gives_handle: bool) -> Result<Response, TpmError> {
        let bytes = command.write();
        let mut answer = command.read(&self.transport.exchange(&bytes)?, gives_handle);
        for _ in 0..RETRIES {
            match &answer {
                Err(error) if error.is_retry() => {
                    answer = command.read(&self.transport.exchange(&bytes)?, gives_handle);
                }
                _ => break,
            }
        }
        answer
    }

    /// Uses an object that stays in the TPM only for that long.
    pub fn using<T, E: From<TpmError>>(
        &mut self,
        handle: Handle,
        work: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, E> {
        let done = work(self);
        let flushed = self.flush(handle.0);
        let done = done?;
        flushed?;
        Ok(done)
    }

    /// TPM2_FlushContext.
    fn flush(&mut self, handle: u32) -> Result<(), TpmError> {
        self.run(&Command::new("FlushContext", 0x165).u32(handle), false)?.end()
    }

    /// TPM2_CreatePrimary: the key that a hierarchy has for this template (a TPMT_PUBLIC), the same at every time.
    pub fn create_primary(
        &mut self,
        hierarchy: u32,
        template: &[u8],
    ) -> Result<(Handle, Vec<u8>), TpmError> {
        let command = Command::new("CreatePrimary", 0x131).authorised(hierarchy, Auth::Empty);
        let mut response = self.run(&creation(command, template), true)?;
        Ok((Handle(response.u32()?), response.sized()?))
    }

    /// TPM2_Create: a new key below a parent.
    pub fn create(
        &mut self,
        parent: Handle,
        auth: Auth,
        template: &[u8],
    ) -> Result<Created, TpmError> {
        let command = Command::new("Create", 0x153).authorised(parent.0, auth);
        let mut response = self.authorised(&creation(command, template), auth, false)?;
        let private = response.sized()?;
        Ok(Created { public: response.sized()?, private })
    }

    /// TPM2_Load.
    pub fn load(&mut self, parent: Handle, auth: Auth, key: &Created) -> Result<Handle, TpmError> {
        let command = Command::new("Load", 0x157).authorised(parent.0, auth);
        let command = command.sized(&key.private).sized(&key.public);
        let mut response = self.authorised(&command, auth, true)?;
        let handle = Handle(response.u32()?);
        let _name = response.sized()?;
        response.end()?;
        Ok(handle)
    }

    /// TPM2_ReadPublic: a TPMT_PUBLIC, and the qualified name.
    pub fn read_public(&mut self, object: Handle) -> Result<(Vec<u8>, Name), TpmError> {
        let mut response = self.run(&Command::new("ReadPublic", 0x173).handle(object.0), false)?;
        let (public, _name, qualified) = (response.sized()?, response.sized()?, response.sized()?);
        response.end()?;
        let name = Name::read(&qualified).map_err(|e| response.odd(&e.to_string()))?;
        Ok((public, name))
    }

    /// TPM2_Quote, in the way that the key signs.
    pub fn quote(
        &mut self,
        key: Handle,
        nonce: &[u8],
        selection: &Selection,
    ) -> Result<Signed, TpmError> {
        let command = Command::new("Quote", 0x158).authorised(key.0, Auth::Empty);
        let command = command.sized(nonce).u16(NULL).bytes(&selection.write());
        self.signed(&command)
    }

    /// TPM2_Certify: `key` says that `object` is in the same TPM.
    pub fn certify(
        &mut self,
        object: Handle,
        key: Handle,
        nonce: &[u8],
    ) -> Result<Signed, TpmError> {
        let command = Command::new("Certify", 0x148).authorised(object.0, Auth::Empty);
        let command = command.authorised(key.0, Auth::Empty).sized(nonce).u16(NULL);
        self.signed(&command)
    }

    fn signed(&mut self, command: &Command) -> Result<Signed, TpmError> {
        let mut response = self.run(command, false)?;
        Ok(Signed { attest: response.sized()?, signature: response.rest() })
    }

    /// TPM2_Sign: over a digest, in the way that the key signs. The answer is a TPMT_SIGNATURE.
    pub fn sign(&mut self, key: Handle, digest: &[u8]) -> Result<Vec<u8>, TpmError> {
        let command = Command::new("Sign", 0x15d).authorised(key.0, Auth::Empty);
        // No ticket: what a restricted key would need.
        let command = command.sized(digest).u16(NULL).u16(0x8024).u32(NOTHING).sized(&[]);
        Ok(self.run(&command, false)?.rest())
    }

    /// TPM2_ActivateCredential: the secret in a challenge, when both keys are in this TPM.
    pub fn activate(
        &mut self,
        attestation: Handle,
        endorsement: Handle,
        auth: Auth,
        challenge: &Challenge,
    ) -> Result<Vec<u8>, TpmError> {
        let command = Command::new("ActivateCredential", 0x147);
        let command = command.authorised(attestation.0, Auth::Empty);
        let command = command.authorised(endorsement.0, auth);
        let command = command.bytes(&challenge.blob).bytes(&challenge.seed);
        let mut response = self.authorised(&command, auth, false)?;
        let secret = response.sized()?;
        response.end()?;
        Ok(secret)
    }

    /// A policy session in which the endorsement hierarchy's password was shown: what endorsement keys of the low range ask
    /// for (TPM2_StartAuthSession, TPM2_PolicySecret).
    pub fn endorsement_session(&mut self) -> Result<Auth, TpmError> {
        // Nothing is salted or bound, so nothing depends on the nonce.
        let start = Command::new("StartAuthSession", 0x176).handle(NOTHING).handle(NOTHING);
        let start = start.sized(&[0; 16]).sized(&[]).bytes(&[1]).u16(NULL).u16(0x000b);
        let session = self.run(&start, true)?.u32()?;
        let secret = Command::new("PolicySecret", 0x151).authorised(ENDORSEMENT, Auth::Empty);
        let secret = secret.handle(session).sized(&[]).sized(&[]).sized(&[]).u32(0);
        match self.run(&secret, false) {
            Ok(_) => Ok(Auth::Session(session)),
            Err(error) => {
                let _ = self.flush(session);
                Err(error)
            }
        }
    }

    /// Runs a command; a session that it did not use up is taken away.
    fn authorised(
        &mut self,
        command: &Command,
        auth: Auth,
        gives_handle: bool,
    ) -> Result<Response, TpmError> {
        let response = self.run(command, gives_handle);
        if let (Err(_), Auth::Session(session)) = (&response, auth) {
            let _ = self.flush(session);
        }
        response
    }

    /// TPM2_PCR_Read, as often as it takes for all of them, and none changed meanwhile.
    pub fn read_pcrs(&mut self, selection: &Selection) -> Result<Pcrs, TpmError> {
        let mut last = None;
        for _ in 0..PCR_ATTEMPTS {
            match self.read_pcrs_once(selection) {
                Ok(Some(pcrs)) => return Ok(pcrs),
                Ok(None) => {}
                Err(error @ TpmError::Refused { .. }) => return Err(error),
                Err(error) => last = Some(error),
            }
        }
        let changing =
            || TpmError::Odd { command: "PCR_Read", why: "they keep changing".to_owned() };
        Err(last.unwrap_or_else(changing))
    }

    /// `None` where one of them changed between two commands.
    fn read_pcrs_once(&mut self, selection: &Selection) -> Result<Option<Pcrs>, TpmError> {
        let (mut values, mut count, mut first) = (Vec::new(), 0, None);
        let all: Vec<(Digest, u8)> = selection.registers().collect();
        while let Some(rest) = all.get(count..).filter(|rest| !rest.is_empty()) {
            let asked =
                rest.iter().fold(Selection::default(), |s, (bank, pcr)| s.and(*bank, [*pcr]));
            let command = Command::new("PCR_Read", 0x17e).bytes(&asked.write());
            let mut response = self.run(&command, false)?;
            let update = response.u32()?;
            if *first.get_or_insert(update) != update {
                return Ok(None);
            }
            // Behind the selection that it answers stand up to eight values of it, in its order.
            let banks = usize::try_from(response.u32()?).unwrap_or(usize::MAX);
            for _ in 0..banks {
                let (_bank, size) = (response.u16()?, response.take(1)?);
                response.take(usize::from(size.first().copied().unwrap_or_default()))?;
            }
            let given = usize::try_from(response.u32()?).unwrap_or(usize::MAX);
            if given == 0 || given > rest.len() {
                return Err(response.odd("it lacks a PCR that was asked for"));
            }
            for _ in 0..given {
                values.extend(response.sized()?);
            }
            response.end()?;
            count = count.saturating_add(given);
        }
        let odd = |why: String| TpmError::Odd { command: "PCR_Read", why };
        Pcrs::new(selection.clone(), &values).map(Some).map_err(|e| odd(e.to_string()))
    }

    /// What an NV index holds, read with the owner's authorisation; `None` where there is no such index
    /// (TPM2_NV_ReadPublic, TPM2_NV_Read).
    pub fn read_nv(&mut self, index: u32) -> Result<Option<Vec<u8>>, TpmError> {
        let mut public = match self.run(&Command::new("NV_ReadPublic", 0x169).handle(index), false)
        {
            Err(error) if error.is_absent() => return Ok(None),
            public => public?,
        };
        // TPM2B_NV_PUBLIC (Part 2 §13.5): its size stands last.
        let area = public.sized()?;
        let size = area.last_chunk().map(|size| u16::from_be_bytes(*size)).unwrap_or_default();
        if size > NV_BYTES_MAX {
            return Err(public.odd("it is longer than any certificate"));
        }
        let mut bytes = Vec::new();
        while let Some(left) = usize::from(size).checked_sub(bytes.len()).filter(|left| *left > 0) {
            let chunk = NV_CHUNK.min(u16::try_from(left).unwrap_or(NV_CHUNK));
            let offset = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
            let read = Command::new("NV_Read", 0x14e).authorised(OWNER, Auth::Empty).handle(index);
            let mut response = self.run(&read.u16(chunk).u16(offset), false)?;
            let given = response.sized()?;
            if given.len() != usize::from(chunk) {
                return Err(response.odd("it gives less than was asked for"));
            }
            bytes.extend(given);
        }
        Ok(Some(bytes))
    }

    /// TPM2_PCR_Extend, in the banks of these digests.
    pub fn extend(&mut self, pcr: u8, digests: &[(Digest, &[u8])]) -> Result<(), TpmError> {
        let command = Command::new("PCR_Extend", 0x182).authorised(u32::from(pcr), Auth::Empty);
        let count = u32::try_from(digests.len()).unwrap_or(u32::MAX);
        let command = digests.iter().fold(command.u32(count), |command, (bank, digest)| {
            let id = match bank {
                Digest::Sha256 => 0x000b,
                Digest::Sha384 => 0x000c,
                Digest::Sha512 => 0x000d,
            };
            command.u16(id).bytes(digest)
        });
        self.run(&command, false)?.end()
    }
}

/// No password and no data, this template, nothing from outside, no registers.
fn creation(command: Command, template: &[u8]) -> Command {
    command.sized(&[0; 4]).sized(template).sized(&[]).u32(0)
}

/// A public area, as a response has it.
pub(crate) fn public(command: &'static str, bytes: &[u8]) -> Result<Public, TpmError> {
    Public::read(bytes).map_err(|e| TpmError::Odd { command, why: e.to_string() })
}

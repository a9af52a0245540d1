//! The passphrase that private keys of the state folder are under, and where it comes from.
//!
//! Somebody keeps it elsewhere and gives it in a file (a systemd credential is one), or the folder keeps it itself: then it keeps keys from whoever
//! gets hold of one file, and not from whoever takes the whole folder.
//!
//! A key that is under none, or under the passphrase of before, is put under this one when the folder is opened. Each is replaced whole; what a
//! crash leaves undone, the next start does.

use std::fs;
use std::path::PathBuf;

use crypto::PrivateKey;
use crypto::sealed::{Passphrase, SealError};

use crate::state::{LOG_KEY, StateError, StateFolder, io_error};

/// The folder's own passphrase.
pub const OWN: &str = "passphrase";
/// Name of the systemd credential that has it.
pub const CREDENTIAL: &str = "ringfence-passphrase";
/// How the name of a private key below `pki/` ends.
const ENDING: &str = ".key.pem";
/// How the name of a file ends whose write broke off.
const UNFINISHED: &str = ".new";
/// The word that every private key has.
const PRIVATE: &str = "PRIVATE KEY-----";

/// Who keeps the passphrase.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keeper {
    /// A file, whose first line it is; `None`: the folder itself.
    pub file: Option<PathBuf>,
    /// The file with the one of before, while keys are under that.
    pub before: Option<PathBuf>,
}

/// The passphrase, with every private key of the folder under it.
pub(crate) fn open(folder: &StateFolder, keeper: &Keeper) -> Result<Passphrase, StateError> {
    let own = own(folder)?;
    let passphrase = match (&keeper.file, &own) {
        (Some(file), _) => given(file)?,
        (None, Some(own)) => own.clone(),
        (None, None) => match (&keeper.before, sealed(folder)?) {
            (None, Some(path)) => return Err(StateError::NoPassphrase { path }),
            _ => make(folder)?,
        },
    };
    let mut before = Vec::new();
    if let Some(file) = &keeper.before {
        before.push(given(file)?);
    }
    if keeper.file.is_some() {
        before.extend(own.clone());
    }
    for name in names(folder)? {
        keep(folder, &name, &passphrase, &before)?;
    }
    // Nothing is under it any more.
    if keeper.file.is_some() && own.is_some() {
        folder.remove(OWN)?;
    }
    Ok(passphrase)
}

/// The first line of a file.
fn given(path: &std::path::Path) -> Result<Passphrase, StateError> {
    let wrong = |why: String| StateError::Passphrase { path: path.to_owned(), why };
    let bytes = fs::read(path).map_err(|error| wrong(error.to_string()))?;
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    Passphrase::chosen(line).map_err(|error| wrong(error.to_string()))
}

fn own(folder: &StateFolder) -> Result<Option<Passphrase>, StateError> {
    let Some(bytes) = folder.read(OWN)? else { return Ok(None) };
    let text = String::from_utf8_lossy(&bytes);
    let read = Passphrase::was_random(text.trim_end());
    read.map(Some).map_err(|error| wrong(folder, &error))
}

fn make(folder: &StateFolder) -> Result<Passphrase, StateError> {
    let (passphrase, text) = Passphrase::random().map_err(|error| wrong(folder, &error))?;
    folder.write(OWN, format!("{text}\n").as_bytes(), 0o600)?;
    Ok(passphrase)
}

fn wrong(folder: &StateFolder, error: &SealError) -> StateError {
    StateError::Passphrase { path: folder.file(OWN), why: error.to_string() }
}

/// A key that is under a passphrase.
fn sealed(folder: &StateFolder) -> Result<Option<PathBuf>, StateError> {
    for name in names(folder)? {
        if folder.read(&name)?.is_some_and(|bytes| PrivateKey::is_sealed(&bytes)) {
            return Ok(Some(folder.file(&name)));
        }
    }
    Ok(None)
}

/// Files with private keys, in order.
fn names(folder: &StateFolder) -> Result<Vec<String>, StateError> {
    let mut names = vec![LOG_KEY.to_owned()];
    let pki = folder.file("pki");
    let listed = match fs::read_dir(&pki) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(names),
        listed => listed.map_err(io_error("look at", &pki))?,
    };
    for entry in listed {
        let name = entry.map_err(io_error("look at", &pki))?.file_name();
        let name = name.to_str().map(|name| name.strip_suffix(UNFINISHED).unwrap_or(name));
        let key = name.filter(|name| name.ends_with(ENDING));
        names.extend(key.map(|name| format!("pki/{name}")));
    }
    names.sort();
    names.dedup();
    Ok(names)
}

/// Puts one key under the passphrase, if it is not.
fn keep(
    folder: &StateFolder,
    name: &str,
    passphrase: &Passphrase,
    before: &[Passphrase],
) -> Result<(), StateError> {
    // It may have a key in the clear.
    folder.remove(&format!("{name}{UNFINISHED}"))?;
    let Some(bytes) = folder.read(name)? else { return Ok(()) };
    if !String::from_utf8_lossy(&bytes).contains(PRIVATE) {
        return Ok(());
    }
    let is_sealed = PrivateKey::is_sealed(&bytes);
    // Under which is seen when it is used: to look takes a while.
    if is_sealed && before.is_empty() {
        return Ok(());
    }
    let read = PrivateKey::from_sealed(&bytes, passphrase);
    let key = match read {
        Ok(_) if is_sealed => return Ok(()),
        Ok(plain) => plain,
        Err(error) => {
            let mut older = before.iter();
            older
                .find_map(|before| PrivateKey::from_sealed(&bytes, before).ok())
                .ok_or_else(|| folder.key_error(name, &error))?
        }
    };
    let sealed = key.sealed(passphrase).map_err(|error| folder.key_error(name, &error))?;
    folder.write(name, sealed.as_bytes(), 0o600)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

    use pki::KeyKind;

    use super::*;

    const KEYS: [&str; 3] = ["key.pem", "pki/issuing.key.pem", "pki/root.key.pem"];

    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("rf-keys-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(path.join("hq/pki")).unwrap();
            Self(path)
        }

        fn hq(&self) -> PathBuf {
            self.0.join("hq")
        }

        fn said(&self, name: &str, text: &str) -> Option<PathBuf> {
            let path = self.0.join(name);
            fs::write(&path, text).unwrap();
            Some(path)
        }

        /// Keys as they were before they were under anything.
        fn plain(&self) -> Vec<pki::Key> {
            KEYS.map(|name| {
                let (key, pem) = PrivateKey::generate(KeyKind::P256).unwrap();
                fs::write(self.hq().join(name), pem).unwrap();
                key.public()
            })
            .to_vec()
        }

        fn open(&self, keeper: &Keeper) -> Result<Vec<pki::Key>, StateError> {
            let folder = StateFolder::open_with(&self.hq(), keeper)?;
            let keys = KEYS.iter().filter_map(|name| folder.key(name).transpose());
            keys.map(|key| Ok(key?.public())).collect()
        }

        fn sealed(&self) -> Vec<bool> {
            let sealed = |name| PrivateKey::is_sealed(&fs::read(self.hq().join(name)).unwrap());
            KEYS.map(sealed).to_vec()
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn plain_keys_are_under_a_passphrase_after_the_next_start() {
        let place = Place::new("plain");
        let keys = place.plain();
        fs::write(place.hq().join("pki/notes.key.pem"), "no key at all").unwrap();
        // What a write left that broke off long ago.
        let left = ["key.pem.new", "pki/root-1.key.pem.new"].map(|name| place.hq().join(name));
        for path in &left {
            fs::copy(place.hq().join("key.pem"), path).unwrap();
        }
        assert_eq!(place.open(&Keeper::default()).unwrap(), keys);
        assert_eq!(place.sealed(), [true; 3]);
        assert!(left.iter().all(|path| !path.exists()));
        assert_eq!(mode(&place.hq().join(OWN)), 0o600);
        assert_eq!(mode(&place.hq().join(KEYS[2])), 0o600);
        let first = fs::read(place.hq().join(KEYS[0])).unwrap();
        assert_eq!(place.open(&Keeper::default()).unwrap(), keys);
        assert_eq!(fs::read(place.hq().join(KEYS[0])).unwrap(), first, "once is enough");
        // One that was in a safe comes back plain.
        let (key, pem) = PrivateKey::generate(KeyKind::P384).unwrap();
        fs::write(place.hq().join(KEYS[2]), pem).unwrap();
        assert_eq!(place.open(&Keeper::default()).unwrap()[2], key.public());
        assert_eq!(place.sealed(), [true; 3]);
    }

    #[test]
    fn a_passphrase_moves_out_of_the_folder_and_changes() {
        let place = Place::new("moves");
        let keys = place.plain();
        place.open(&Keeper::default()).unwrap();
        let first = Keeper { file: place.said("first", "correct horse battery\n"), before: None };
        assert_eq!(place.open(&first).unwrap(), keys);
        assert!(!place.hq().join(OWN).exists());
        let error = place.open(&Keeper::default()).unwrap_err();
        assert!(error.to_string().contains("--passphrase-file"), "{error}");
        assert!(!place.hq().join(OWN).exists(), "nothing is made that opens nothing");
        let other =
            Keeper { file: place.said("other", "another horse entirely\r\n"), ..first.clone() };
        let error = place.open(&other).unwrap_err();
        assert!(error.to_string().contains("does not open"), "{error}");
        assert_eq!(place.open(&first).unwrap(), keys, "and nothing was lost by that");
        let both = Keeper { before: first.file.clone(), ..other.clone() };
        assert_eq!(place.open(&both).unwrap(), keys);
        assert_eq!(place.open(&other).unwrap(), keys);
        assert!(place.open(&first).is_err());
        // And back into the folder.
        let back = Keeper { file: None, before: other.file };
        assert_eq!(place.open(&back).unwrap(), keys);
        assert_eq!(place.open(&Keeper::default()).unwrap(), keys);
    }

    #[test]
    fn a_file_that_gives_none_is_named() {
        let place = Place::new("none");
        place.plain();
        for (file, why) in [
            (Some(place.0.join("nowhere")), "No such file"),
            (place.said("empty", ""), "0 bytes"),
            (place.said("short", "eleven byte\nand more"), "11 bytes"),
        ] {
            let name = file.clone().unwrap().display().to_string();
            let error = place.open(&Keeper { file, before: None }).unwrap_err().to_string();
            assert!(error.contains(&name) && error.contains(why), "{error}");
            assert_eq!(place.sealed(), [false; 3]);
        }
    }

    /// A write can fail, or the machine stop, before each of the files: no key is lost, and the next start ends it.
    #[test]
    fn what_breaks_off_goes_on() {
        for (at, name) in KEYS.iter().enumerate() {
            let place = Place::new(&format!("breaks-{at}"));
            let keys = place.plain();
            let block = place.hq().join(format!("{name}.new"));
            let blocked = |keeper: &Keeper| {
                fs::create_dir(&block).unwrap();
                assert!(matches!(place.open(keeper), Err(StateError::Io { .. })));
                fs::remove_dir(&block).unwrap();
            };
            blocked(&Keeper::default());
            let done: Vec<bool> = (0..KEYS.len()).map(|i| i < at).collect();
            assert_eq!(place.sealed(), done);
            // Half of a file, as a crash leaves it.
            fs::write(&block, "-----BEGIN ENCRY").unwrap();
            assert_eq!(place.open(&Keeper::default()).unwrap(), keys);
            assert!(!block.exists());

            // Out of the folder: the old one stays until nothing is under it.
            let keeper =
                Keeper { file: place.said("elsewhere", "correct horse battery"), before: None };
            blocked(&keeper);
            assert!(place.hq().join(OWN).exists());
            assert_eq!(place.open(&keeper).unwrap(), keys);
            assert!(!place.hq().join(OWN).exists());
        }
    }
}

//! Which controller is asked, how it is known, and as whom: named contexts in one file that only its owner reads.
//!
//! `$RINGFENCE_CONFIG`, or `ringfence/contexts.toml` in `$XDG_CONFIG_HOME` or `~/.config`. For programs, the environment has
//! precedence: `RINGFENCE_CONTEXT`, `RINGFENCE_SERVER`, `RINGFENCE_CA`, `RINGFENCE_TOKEN`.

use std::collections::BTreeMap;
use std::env;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use hyper::Uri;
use pki::Certificate;
use serde::{Deserialize, Serialize};

use super::fault::Fault;
use crate::exit;

/// Bytes of a file with contexts, certificates or a secret.
const BYTES_MAX: u64 = 1 << 20;
/// What to do without a context.
const LOGIN: &str = "`ringfence login --server https://HOST:8443 --ca FILE` makes a context";

/// One controller, and somebody there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Context {
    /// `https://HOST:PORT`.
    pub(crate) server: String,
    /// Its root certificate, PEM.
    pub(crate) root: String,
    /// Who logged in; empty for a token.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) login: String,
    /// Session or API token; absent: logged out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) credential: Option<String>,
    /// Until when it is good, as far as the controller said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expires_at: Option<String>,
    /// Policy folders here → content of the version in force that each was made from.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) folders: BTreeMap<String, String>,
}

/// All of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Contexts {
    /// The one that is meant when none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) current: Option<String>,
    #[serde(default)]
    pub(crate) contexts: BTreeMap<String, Context>,
}

impl Contexts {
    /// Reads the file; where there is none, there are no contexts.
    pub(crate) fn read() -> Result<Self, Fault> {
        Self::read_from(&place()?)
    }

    fn read_from(path: &Path) -> Result<Self, Fault> {
        let file = match fs::File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(Fault::file(path, error, "")),
        };
        let mode = file.metadata().map_err(|error| Fault::file(path, error, ""))?.mode();
        if mode & 0o077 != 0 {
            let why = "it holds secrets, and others may read it";
            return Err(Fault::file(path, why, format!("chmod 600 {}", path.display())));
        }
        let text = bounded(path, file)?;
        toml::from_str(&text).map_err(|error| {
            Fault::file(path, error.message(), "mend it, or remove it and log in again")
        })
    }

    /// Writes the file whole, readable by its owner only.
    pub(crate) fn write(&self) -> Result<(), Fault> {
        self.write_to(&place()?)
    }

    fn write_to(&self, path: &Path) -> Result<(), Fault> {
        let wrong = |error: std::io::Error| Fault::file(path, error, "");
        let text = toml::to_string(self).map_err(|error| Fault::file(path, error, ""))?;
        if let Some(above) = path.parent().filter(|above| !above.as_os_str().is_empty()) {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(above).map_err(wrong)?;
        }
        let aside = path.with_extension(format!("{}.new", std::process::id()));
        let _ = fs::remove_file(&aside); // Of an earlier, interrupted write.
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(&aside);
        let mut file = file.map_err(wrong)?;
        let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
        written.and_then(|()| fs::rename(&aside, path)).map_err(|error| {
            // What could not be finished holds secrets.
            let _ = fs::remove_file(&aside);
            wrong(error)
        })
    }

    /// The context of a name.
    pub(crate) fn get(&self, name: &str) -> Result<&Context, Fault> {
        self.contexts.get(name).ok_or_else(|| {
            let names: Vec<&str> = self.contexts.keys().map(String::as_str).collect();
            let help = match names.is_empty() {
                true => LOGIN.to_owned(),
                false => format!("there are {}", names.join(", ")),
            };
            let what = format!("context `{name}`");
            Fault::new("not_found", what, "there is none of this name", help).exit(exit::NOT_FOUND)
        })
    }
}

/// What a command goes by: a context, and what the environment says instead.
#[derive(Clone, Debug)]
pub(crate) struct Chosen {
    /// Name of the context; none: all is from the environment.
    pub(crate) name: Option<String>,
    /// What holds.
    pub(crate) context: Context,
}

impl Chosen {
    /// The context that an option, the environment or the file names.
    pub(crate) fn find(asked: Option<&str>) -> Result<Self, Fault> {
        Self::of(asked, &Contexts::read()?, |name| {
            env::var(name).ok().filter(|value| !value.is_empty())
        })
    }

    fn of(
        asked: Option<&str>,
        contexts: &Contexts,
        env: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, Fault> {
        let server = env("RINGFENCE_SERVER").map(|text| server(&text)).transpose()?;
        let name = asked.map(str::to_owned).or_else(|| env("RINGFENCE_CONTEXT"));
        let name = name.or_else(|| contexts.current.clone());
        let mut context = match (&name, &server) {
            (Some(name), _) => contexts.get(name)?.clone(),
            (None, Some(_)) => Context::default(),
            (None, None) => {
                let why = "no context is in use, and RINGFENCE_SERVER is not set";
                return Err(Fault::new("no_context", "which controller", why, LOGIN));
            }
        };
        if let Some(server) = server {
            // What was said to one server is not said to another.
            if context.server != server {
                context.credential = None;
                context.expires_at = None;
            }
            context.server = server;
        }
        if let Some(path) = env("RINGFENCE_CA") {
            context.root = root_of(Path::new(&path))?;
        }
        if let Some(token) = env("RINGFENCE_TOKEN") {
            context.credential = Some(token);
            context.login = String::new();
            context.expires_at = None;
        }
        if context.root.is_empty() {
            let why = "nothing says which certificate is right";
            let help = "RINGFENCE_CA names the file with the estate's root certificate (PEM)";
            return Err(Fault::new("no_root", "the controller's identity", why, help));
        }
        Ok(Self { name, context })
    }
}

/// The file.
pub(crate) fn place() -> Result<PathBuf, Fault> {
    let of = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(path) = of("RINGFENCE_CONFIG") {
        return Ok(path);
    }
    let base = of("XDG_CONFIG_HOME").filter(|path| path.is_absolute());
    let base = base.or_else(|| of("HOME").map(|home| home.join(".config")));
    base.map(|base| base.join("ringfence/contexts.toml")).ok_or_else(|| {
        let help = "RINGFENCE_CONFIG names the file for contexts";
        Fault::new("no_place", "contexts", "there is no home directory", help)
    })
}

/// `https://HOST:PORT`, as it is kept.
pub(crate) fn server(text: &str) -> Result<String, Fault> {
    let wrong = |why: &str| Fault::usage(format!("the server `{text}`"), why);
    let whole = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    let uri: Uri = whole.parse().map_err(|_| wrong("write https://HOST:8443"))?;
    if uri.scheme_str() != Some("https") {
        return Err(wrong("only https is spoken"));
    }
    let host = uri.host().filter(|host| !host.is_empty());
    let host = host.ok_or_else(|| wrong("write https://HOST:8443"))?;
    let at = uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
    if at || !matches!(uri.path(), "" | "/") || uri.query().is_some() {
        return Err(wrong("write nothing but host and port"));
    }
    Ok(format!("https://{host}:{}", uri.port_u16().unwrap_or(8443)))
}

/// The first certificate of a PEM file, as PEM.
pub(crate) fn root_of(path: &Path) -> Result<String, Fault> {
    let file = fs::File::open(path).map_err(|error| Fault::file(path, error, ""))?;
    let text = bounded(path, file)?;
    let help =
        "name the estate's root certificate: `pki/root.pem` in the controller's state folder";
    let all = Certificate::read_all(text.as_bytes());
    let all = all.map_err(|error| Fault::file(path, error, help))?;
    let first = all.first().ok_or_else(|| Fault::file(path, "no certificate is in it", help))?;
    pem(first)
}

/// A certificate as text.
pub(crate) fn pem(certificate: &Certificate) -> Result<String, Fault> {
    pki::Pem::write("CERTIFICATE", certificate.der())
        .map_err(|error| Fault::new("root", "the root certificate", error, ""))
}

/// A secret from a file: one line.
pub(crate) fn secret(path: &Path) -> Result<String, Fault> {
    let file = fs::File::open(path).map_err(|error| Fault::file(path, error, ""))?;
    let text = bounded(path, file)?;
    let line = text.lines().next().unwrap_or_default();
    match line.is_empty() {
        true => Err(Fault::file(path, "it is empty", "")),
        false => Ok(line.to_owned()),
    }
}

fn bounded(path: &Path, file: fs::File) -> Result<String, Fault> {
    let mut text = String::new();
    let read = file.take(BYTES_MAX.saturating_add(1)).read_to_string(&mut text);
    let read = read.map_err(|error| Fault::file(path, error, ""))?;
    match u64::try_from(read).unwrap_or(u64::MAX) > BYTES_MAX {
        true => Err(Fault::file(path, format!("it is larger than {BYTES_MAX} bytes"), "")),
        false => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hq() -> Contexts {
        let context = Context {
            server: "https://hq:8443".to_owned(),
            root: "PEM".to_owned(),
            login: "anna".to_owned(),
            credential: Some("rfs_1".to_owned()),
            ..Context::default()
        };
        Contexts { current: Some("hq".to_owned()), contexts: [("hq".to_owned(), context)].into() }
    }

    fn chosen(asked: Option<&str>, env: &[(&str, &str)]) -> Result<Chosen, Fault> {
        Chosen::of(asked, &hq(), |name| {
            env.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn servers_are_kept_in_one_form() {
        for (text, kept) in [
            ("hq", "https://hq:8443"),
            ("hq:1", "https://hq:1"),
            ("https://hq/", "https://hq:8443"),
            ("https://[::1]:9", "https://[::1]:9"),
        ] {
            assert_eq!(server(text).unwrap(), kept);
        }
        for text in ["", "http://hq", "https://", "https://hq/v1", "https://a@hq", "https://hq?x=1"]
        {
            assert_eq!(server(text).unwrap_err().code_of_exit(), exit::USAGE, "{text}");
        }
    }

    #[test]
    fn a_session_goes_to_no_other_server() {
        let same = chosen(None, &[("RINGFENCE_SERVER", "hq")]).unwrap();
        assert_eq!(same.context.credential.as_deref(), Some("rfs_1"));
        let other = chosen(None, &[("RINGFENCE_SERVER", "elsewhere")]).unwrap();
        assert_eq!(other.context.credential, None);
        let token = chosen(None, &[("RINGFENCE_SERVER", "x"), ("RINGFENCE_TOKEN", "rft_2")]);
        assert_eq!(token.unwrap().context.credential.as_deref(), Some("rft_2"));
    }

    #[test]
    fn what_is_not_there_is_said_with_what_there_is() {
        let gone = chosen(Some("lab"), &[]).unwrap_err();
        assert_eq!((gone.code_of_exit(), gone.todo()), (exit::NOT_FOUND, "there are hq"));
        let none = Chosen::of(None, &Contexts::default(), |_| None).unwrap_err();
        assert!(none.todo().contains("ringfence login"), "{none}");
        let no_root = Chosen::of(None, &Contexts::default(), |name| {
            (name == "RINGFENCE_SERVER").then(|| "hq".to_owned())
        });
        assert!(no_root.unwrap_err().todo().contains("RINGFENCE_CA"));
    }

    #[test]
    fn the_file_is_its_owners_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = env::temp_dir().join(format!("rf-contexts-{}", std::process::id()));
        let path = folder.join("deep/contexts.toml");
        hq().write_to(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(Contexts::read_from(&path).unwrap(), hq());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let open = Contexts::read_from(&path).unwrap_err();
        assert!(open.todo().contains("chmod 600"), "{open}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "current = 7\n").unwrap();
        assert!(Contexts::read_from(&path).unwrap_err().todo().contains("log in again"));
        fs::remove_dir_all(folder).unwrap();
    }
}

//! The control socket: one JSON line asks, one JSON line answers. Who asks is what the kernel says
//! about the other end; the socket belongs to the site's user and to nobody else.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::status::Status;

/// Name of the socket in the state directory.
pub const SOCKET: &str = "control.sock";
/// Longest line, in bytes.
const LINE_MAX: u64 = 1 << 16;
/// How long one asker may take to ask, and to read the answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long an answer may take: the kernel may be busy with a large ruleset.
const ANSWER: Duration = Duration::from_secs(120);

/// What can be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// How things stand.
    Status,
    /// Read the folder again.
    Reload {
        /// Roll back unless confirmed within this many seconds.
        confirm_within_s: Option<u32>,
    },
    /// Keep what waits for a confirmation.
    Confirm,
    /// Open the paths from and to a zone for a while.
    BreakGlass {
        /// The zone.
        zone: String,
        /// For how long.
        seconds: u64,
        /// Why.
        reason: String,
    },
    /// End that early.
    EndBreakGlass {
        /// The zone.
        zone: String,
    },
    /// From shadow to enforce.
    Promote {
        /// The zone.
        zone: String,
    },
    /// Back to shadow.
    StepBack {
        /// The zone.
        zone: String,
        /// Why.
        reason: String,
    },
    /// End the process; the fence stays.
    Stop,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// Why not; none: it was done.
    pub refused: Option<String>,
    /// Faults of a folder, a line each.
    #[serde(default)]
    pub faults: Vec<String>,
    /// How things stand now.
    pub status: Option<Box<Status>>,
}

/// A request with who asked, and where the answer goes.
#[derive(Debug)]
pub struct Asked {
    /// What.
    pub request: Request,
    /// Who: `root (0)`, `anna (1000)`.
    pub by: String,
    /// Takes the answer.
    pub answer: Sender<Answer>,
}

/// Why nobody could be asked.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Nobody listens.
    #[error("no site is running with the state directory {}: {source}; start one (`ringfence site run`) or name another with --state", path.display())]
    NotRunning {
        /// The state directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The socket belongs to somebody else.
    #[error("not allowed to ask the site at {}: it answers its own user only; use sudo", .0.display())]
    NotPermitted(PathBuf),
    /// It stopped answering.
    #[error("the site at {} did not answer: {why}", path.display())]
    NoAnswer {
        /// The state directory.
        path: PathBuf,
        /// What happened.
        why: String,
    },
}

/// Asks the site with the state directory `state`.
pub fn ask(state: &Path, request: &Request) -> Result<Answer, ControlError> {
    let path = state.to_owned();
    let socket = state.join(SOCKET);
    let mut stream = UnixStream::connect(&socket).map_err(|source| match source.kind() {
        io::ErrorKind::PermissionDenied => ControlError::NotPermitted(path.clone()),
        _ => ControlError::NotRunning { path: path.clone(), source },
    })?;
    let no_answer = |why: String| ControlError::NoAnswer { path: path.clone(), why };
    let io = |error: io::Error| no_answer(error.to_string());
    stream.set_read_timeout(Some(ANSWER + PATIENCE)).map_err(io)?;
    let mut line = serde_json::to_string(request).map_err(|e| no_answer(e.to_string()))?;
    line.push('\n');
    stream.write_all(line.as_bytes()).map_err(io)?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).map_err(io)?;
    serde_json::from_str(&answer).map_err(|e| no_answer(e.to_string()))
}

/// Listens in the state directory, for as long as `asked` has a receiver.
pub fn listen<T: From<Asked> + Send + 'static>(state: &Path, asked: Sender<T>) -> io::Result<()> {
    let path = state.join(SOCKET);
    // The state directory is locked, so a socket that is there is a dead one's.
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    thread::Builder::new().name("control".to_owned()).spawn(move || {
        for stream in listener.incoming().flatten() {
            // One at a time: nobody can make the site hold many.
            if let Ok(false) = serve(stream, &asked) {
                return;
            }
        }
    })?;
    Ok(())
}

/// `false`: nobody is there to answer any more.
fn serve<T: From<Asked>>(mut stream: UnixStream, asked: &Sender<T>) -> io::Result<bool> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let peer = rustix::net::sockopt::socket_peercred(&stream)?;
    let mut line = String::new();
    BufReader::new((&stream).take(LINE_MAX)).read_line(&mut line)?;
    let refuse = |why: String| Answer { refused: Some(why), faults: Vec::new(), status: None };
    let answer = match serde_json::from_str(&line) {
        Err(error) => refuse(format!("this is no request: {error}")),
        Ok(request) => {
            let (sender, receiver) = mpsc::channel();
            let by = user(peer.uid.as_raw());
            if asked.send(T::from(Asked { request, by, answer: sender })).is_err() {
                return Ok(false);
            }
            let late = |_| refuse("the site is busy; ask for its status later".to_owned());
            receiver.recv_timeout(ANSWER).unwrap_or_else(late)
        }
    };
    let mut text = serde_json::to_string(&answer)?;
    text.push('\n');
    stream.write_all(text.as_bytes())?;
    Ok(true)
}

/// A user's name and number, as the journal has them.
fn user(uid: u32) -> String {
    let table = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = table.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid.to_string()).then(|| name.to_owned())
    });
    match name {
        Some(name) => format!("{name} ({uid})"),
        None => format!("uid {uid}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_and_answers_over_the_socket() {
        let state = std::env::temp_dir().join(format!("rf-control-{}", std::process::id()));
        let _ = fs::remove_dir_all(&state);
        fs::create_dir_all(&state).unwrap();
        assert!(matches!(ask(&state, &Request::Status), Err(ControlError::NotRunning { .. })));
        let (sender, receiver) = mpsc::channel::<Asked>();
        listen(&state, sender).unwrap();
        let mode = fs::metadata(state.join(SOCKET)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let site = thread::spawn(move || {
            let asked = receiver.recv().unwrap();
            assert_eq!(asked.request, Request::Confirm);
            assert!(!asked.by.is_empty());
            let refused = Some(format!("not now, {}", asked.by));
            asked.answer.send(Answer { refused, faults: Vec::new(), status: None }).unwrap();
        });
        let answer = ask(&state, &Request::Confirm).unwrap();
        assert!(answer.refused.unwrap().starts_with("not now, "));
        site.join().unwrap();
        // Nonsense is answered, not followed.
        let mut stream = UnixStream::connect(state.join(SOCKET)).unwrap();
        stream.write_all(b"{\"do\":\"rm\"}\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        assert!(text.contains("this is no request"), "{text}");
        fs::remove_dir_all(state).unwrap();
    }
}

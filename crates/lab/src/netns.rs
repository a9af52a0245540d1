//! One network namespace.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

use enforcer::runner::{Host, Output, Runner};

use crate::process::Process;
use crate::sys;

/// A network namespace. It lives as long as a clone of this, a thread or a program in it.
#[derive(Clone)]
pub struct Netns(Arc<Inner>);

struct Inner {
    name: String,
    fd: Arc<OwnedFd>,
    /// To the thread that spawns programs. It lives as long as the namespace, because programs
    /// die with the thread that spawned them.
    jobs: mpsc::Sender<Job>,
}

type Job = (Command, mpsc::Sender<io::Result<Child>>);

impl Netns {
    /// Makes a namespace; `name` is for people (`rf-4711-camera`).
    pub fn new(name: &str) -> io::Result<Self> {
        let (ready, made) = mpsc::channel();
        let (jobs, inbox) = mpsc::channel::<Job>();
        let keeper = thread::Builder::new().name(name.to_owned());
        keeper.spawn(move || {
            let made = sys::unshare_net()
                .and_then(|()| File::open("/proc/thread-self/ns/net"))
                .map(OwnedFd::from);
            let failed = made.is_err();
            if ready.send(made).is_err() || failed {
                return;
            }
            while let Ok((mut command, answer)) = inbox.recv() {
                sys::die_with_parent(&mut command);
                let _ = answer.send(command.spawn());
            }
        })?;
        let fd = made.recv().map_err(io::Error::other)??;
        Ok(Self(Arc::new(Inner { name: name.to_owned(), fd: Arc::new(fd), jobs })))
    }

    /// Its name, for people.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// A path that names it while this process lives: for `nsenter --net=…` and `ip link … netns …`.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), self.0.fd.as_raw_fd()))
    }

    /// Runs `work` on a thread inside, and waits for it.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> io::Result<T> {
        let fd = &self.0.fd;
        thread::scope(|scope| {
            let inside = scope.spawn(move || sys::set_netns(fd).map(|()| work()));
            inside.join().unwrap_or_else(|_| Err(io::Error::other("the work panicked")))
        })
    }

    /// Runs `work` on a thread inside, beside the caller. The namespace is entered before this
    /// returns; `work` never runs anywhere else.
    pub fn thread<T: Send + 'static>(
        &self,
        name: &str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<JoinHandle<Option<T>>> {
        let fd = Arc::clone(&self.0.fd);
        let (ready, entered) = mpsc::channel();
        let builder = thread::Builder::new().name(format!("{name}@{}", self.0.name));
        let handle = builder.spawn(move || {
            let entered = sys::set_netns(&fd);
            drop(fd);
            let inside = entered.is_ok();
            let _ = ready.send(entered);
            inside.then(work)
        })?;
        entered.recv().map_err(io::Error::other)??;
        Ok(handle)
    }

    /// Starts a program inside.
    pub fn spawn(&self, name: &str, command: Command) -> io::Result<Process> {
        let (answer, child) = mpsc::channel();
        self.0.jobs.send((command, answer)).map_err(io::Error::other)?;
        Ok(Process::new(name, child.recv().map_err(io::Error::other)??))
    }
}

/// Programs of the enforcement point run inside.
impl Runner for Netns {
    fn run(&self, argv: &[&str], stdin: &str) -> io::Result<Output> {
        self.enter(|| Host::here().run(argv, stdin))?
    }
}

impl fmt::Debug for Netns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Netns({} {})", self.0.name, self.path().display())
    }
}

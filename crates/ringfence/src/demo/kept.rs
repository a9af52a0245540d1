//! What keeps the fence true, shown on the one in force: verdicts that say why, a rule put in by hand,
//! a device that is cut off.

use std::collections::{BTreeMap, HashMap};
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use enforcer::cut::quarantine;
use enforcer::drift::{Expected, Finding, Guard};
use enforcer::netlink::Place;
use enforcer::runner::Runner as _;
use enforcer::verdict::{GROUP, Log, Namer, Seen};
use enforcer::{EnforceError, Fence, Options};
use lab::Lab;
use lab::probe::{self, Probe};
use miette::{IntoDiagnostic, Result, miette};
use model::ruleset::Ruleset;
use model::verdict::{Kind, VerdictRecord};
use model::{SiteId, Timestamp};
use policy::evaluate::Evaluator;
use policy::folder::Folder;

/// Records kept; a scan makes some hundreds.
const RECORDS_MAX: usize = 20_000;
/// Denials shown.
const SHOWN: usize = 3;
/// Longest wait for what the kernel tells.
const PATIENCE: Duration = Duration::from_millis(100);
/// Looks for a change that was made by hand.
const LOOKS: usize = 50;

/// Reads what the kernel logs while something else goes on.
pub(super) struct Listener {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Heard, EnforceError>>,
}

struct Heard {
    log: Log,
    seen: Vec<Seen>,
    lost: u64,
}

impl Listener {
    pub(super) fn start(lab: &Lab) -> Result<Self> {
        let mut log = Log::open(&place(lab), GROUP).into_diagnostic()?;
        let stop = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let (mut seen, mut lost) = (Vec::new(), 0);
            loop {
                let last = ends.load(Ordering::SeqCst);
                let gap = log.read(PATIENCE, |record, _| {
                    if seen.len() < RECORDS_MAX {
                        seen.push(record.clone());
                    } else {
                        lost += 1;
                    }
                })?;
                lost += gap.map_or(0, |gap| gap.records.max(1));
                if last {
                    return Ok(Heard { log, seen, lost });
                }
            }
        });
        Ok(Self { stop, thread })
    }

    /// How often something was denied, and of some who, what and why.
    pub(super) fn end(self, ruleset: &Ruleset, folder: &Folder) -> Result<(String, Vec<String>)> {
        self.stop.store(true, Ordering::SeqCst);
        let heard =
            self.thread.join().map_err(|_| miette!("the verdicts' reader stopped early"))?;
        let Heard { mut log, seen, lost } = heard.into_diagnostic()?;
        let evaluator = Evaluator::new(ruleset);
        let site = SiteId::new("warehouse").into_diagnostic()?;
        let namer = Namer::new(site, ruleset, &evaluator);
        let named = seen.iter().filter_map(|s| namer.name(s, log.links(), Timestamp::EPOCH));
        let denied: Vec<VerdictRecord> = named.filter(|r| r.verdict == Kind::Denied).collect();
        let gone = if lost == 0 { "none was lost".to_owned() } else { format!("{lost} were lost") };
        let told = format!("the kernel told {} denials, {gone}", denied.len());
        Ok((told, examples(&denied, folder)))
    }
}

/// Denials between devices, each service once.
fn examples(denied: &[VerdictRecord], folder: &Folder) -> Vec<String> {
    let names: HashMap<&str, &str> =
        folder.estate.devices.iter().map(|d| (d.id.as_str(), d.name.as_str())).collect();
    let mut shown: BTreeMap<String, String> = BTreeMap::new();
    for record in denied {
        let name = |end: &model::verdict::End| {
            let id = end.device.as_ref()?.as_str();
            Some(names.get(id).copied().filter(|name| !name.is_empty()).unwrap_or(id).to_owned())
        };
        let (Some(from), Some(to)) = (name(&record.from), name(&record.to)) else {
            continue;
        };
        let why = match (&record.why.differs, &record.why.nearest) {
            (Some(differs), Some(rule)) => format!("{differs} from the nearest rule, {rule}"),
            (Some(differs), None) => differs.to_string(),
            (None, _) => continue,
        };
        let port = record.port.map_or(String::new(), |port| format!("/{port}"));
        let line = format!("{from} → {to} {}{port}: {why}", record.transport.word());
        shown.entry(port).or_insert(line);
    }
    shown.into_values().take(SHOWN).collect()
}

/// Somebody opens everything by hand: what becomes of it.
pub(super) fn by_hand(
    lab: &Lab,
    fence: &Fence,
    ruleset: &Ruleset,
    options: &Options,
) -> Result<String> {
    let mut guard =
        Guard::open(&place(lab), &options.table, std::process::id(), Expected::default())
            .into_diagnostic()?;
    guard.watch().is_own_port(fence.port().into_diagnostic()?);
    let mut restore = || {
        fence.apply(ruleset, options)?;
        fence.verify(ruleset, options).map(drop)
    };
    guard.step(Duration::ZERO, &mut restore).into_diagnostic()?;
    let rule = format!("insert rule bridge {} forward accept", options.table);
    let hand = lab.gateway().run(&["nft", &rule], "").into_diagnostic()?;
    if hand.code != 0 {
        let said = hand.stderr.lines().next().unwrap_or_default();
        return Ok(format!("the kernel refuses: the table has an owner ({said})"));
    }
    for _ in 0..LOOKS {
        let found = guard.step(PATIENCE, &mut restore).into_diagnostic()?;
        if let Some(told) = found.iter().find(|f| matches!(f, Finding::Changed { .. })) {
            return Ok(told.to_string());
        }
    }
    Err(miette!("a rule that was put in by hand was not noticed"))
}

/// Cuts `name` off while it serves somebody: what ended, and what still passes.
pub(super) fn cut_off(
    lab: &Lab,
    fence: &Fence,
    ruleset: &Ruleset,
    name: &str,
    (client, port): (&str, u16),
) -> Result<(String, usize)> {
    let device = lab.device(name).into_diagnostic()?;
    let to = SocketAddr::from((device.ip, port));
    let opened = lab.device(client).into_diagnostic()?.netns.enter(|| TcpStream::connect(to));
    let mut open = opened.into_diagnostic()?.into_diagnostic()?;
    open.set_read_timeout(Some(Duration::from_millis(500))).into_diagnostic()?;
    let members: Vec<_> =
        ruleset.members.iter().filter(|m| m.ip == IpAddr::V4(device.ip)).cloned().collect();
    let cut = quarantine(fence, &place(lab), &members).into_diagnostic()?;
    if !cut.cut.is_verified() {
        return Err(miette!("open flows of {name} are left: {:?}", cut.cut.left));
    }
    let goes_on = open.write_all(b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n").is_ok()
        && open.read(&mut [0; 64]).is_ok_and(|n| n > 0);
    let everything: Vec<Probe> =
        probe::everything(lab).into_iter().filter(|p| p.from == name || p.to == name).collect();
    let verdicts = probe::matrix(lab, &everything).into_diagnostic()?;
    let passes = verdicts.iter().filter(|v| v.outcome.passed()).count() + usize::from(goes_on);
    let line = format!(
        "its elements and {} open flows gone and read back in {} ms; of {} probes to and from it {passes} pass",
        cut.cut.deleted,
        cut.took.as_millis(),
        verdicts.len()
    );
    Ok((line, passes))
}

fn place(lab: &Lab) -> Place {
    Place::netns(&lab.gateway().path())
}

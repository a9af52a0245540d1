//! A folder as text.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use model::Assurance;
use model::inspect::Scope;
use model::ruleset::Mode;

use super::{
    CLAIMS_FILE, Claim, ESTATE_FILE, EXCEPTIONS_FILE, Estate, Exception, FORMAT, Folder,
    SCHEMA_FILE, Service, TESTS_FILE, Tests,
};
use crate::cards::{self, CARDS_FILE};
use crate::text::{line, toml_array, toml_string};

pub(super) fn files(
    folder: &Folder,
    notes: &BTreeMap<String, Vec<String>>,
) -> BTreeMap<String, String> {
    let mut files = BTreeMap::from([
        (SCHEMA_FILE.to_owned(), folder.schema.clone()),
        (ESTATE_FILE.to_owned(), estate(&folder.estate)),
        (TESTS_FILE.to_owned(), tests(&folder.tests)),
        (CLAIMS_FILE.to_owned(), claims(&folder.claims, notes.get(CLAIMS_FILE))),
        (EXCEPTIONS_FILE.to_owned(), exceptions(&folder.exceptions)),
    ]);
    if !folder.cards.is_empty() {
        files.insert(CARDS_FILE.to_owned(), cards::write(&folder.cards));
    }
    let own = folder
        .policies
        .iter()
        .filter(|p| p.file != CARDS_FILE && !crate::packs::is_pack_file(&p.file));
    for policy in own {
        let text = files.entry(policy.file.clone()).or_default();
        if !text.is_empty() {
            text.push('\n');
        }
        let _ = write!(text, "{policy}");
    }
    for (path, lines) in notes.iter().filter(|(path, _)| path.starts_with("policies/")) {
        let text = files.entry(path.clone()).or_default();
        if !text.is_empty() {
            text.push('\n');
        }
        for note in lines {
            let _ = writeln!(text, "// {}", line_free(note));
        }
    }
    files
}

/// A comment must stay on its line.
fn line_free(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Builds TOML tables: `key = value` lines, defaults left out.
struct Toml(String);

impl Toml {
    fn comment(&mut self, text: &str) {
        for part in text.lines() {
            let _ = writeln!(self.0, "{}", format!("# {part}").trim_end());
        }
    }

    fn table(&mut self, name: &str) {
        let _ = writeln!(self.0, "\n{name}");
    }

    fn text(&mut self, key: &str, value: &str) {
        let _ = writeln!(self.0, "{key} = {}", toml_string(value));
    }

    fn text_unless(&mut self, key: &str, value: &str, default: &str) {
        if value != default {
            self.text(key, value);
        }
    }

    fn list<T: ToString>(&mut self, key: &str, items: &[T]) {
        if !items.is_empty() {
            let _ = writeln!(self.0, "{key} = {}", toml_array(items));
        }
    }

    /// Also when it is empty: the key says something by itself.
    fn list_under<T: ToString>(&mut self, key: &str, items: &[T]) {
        let _ = writeln!(self.0, "{} = {}", toml_string(key), toml_array(items));
    }

    fn raw(&mut self, key: &str, value: impl ToString) {
        let _ = writeln!(self.0, "{key} = {}", value.to_string());
    }
}

/// Services as `estate.toml` holds them.
pub(super) fn services_text(these: &[Service]) -> String {
    let mut t = Toml(String::new());
    services(&mut t, &Estate { services: these.to_vec(), ..Estate::default() });
    t.0.trim_start().to_owned()
}

fn estate(estate: &Estate) -> String {
    let mut t = Toml(String::new());
    t.comment("What exists. Fill in `owner`: a device whose owner is \"\" stays out of sensitive services.");
    t.text("format", FORMAT);
    t.list("packs", &estate.packs);
    if let Some(observed) = &estate.observed {
        t.table("[observed]");
        t.text("first", &observed.first.to_string());
        t.text("last", &observed.last.to_string());
        t.list("inputs", &observed.inputs);
        t.list("unseen", &observed.unseen);
    }
    t.0.push('\n');
    t.comment("Teams that are answerable, for example:\n[[owner]]\nid = \"plant-network\"\ncontact = \"plant-network@example.com\"");
    for owner in &estate.owners {
        t.table("[[owner]]");
        t.text("id", &owner.id);
        t.text("contact", &owner.contact);
    }
    for site in &estate.sites {
        t.table("[[site]]");
        t.text("id", site.id.as_str());
    }
    for zone in &estate.zones {
        t.table("[[zone]]");
        t.text("id", &zone.id);
        if let Some(site) = &zone.site {
            t.text("site", site.as_str());
        }
        t.text("class", &zone.class);
        t.text_unless("subnet", &zone.subnet, "");
        t.text("mode", mode_word(zone.mode));
        if let Some(share) = zone.share {
            t.raw("share", share);
        }
        if let Some(level) = zone.security_level {
            t.raw("security_level", level);
        }
        t.text("owner", &zone.owner);
        if let Some(below) = &zone.below {
            t.text("assurance_min", below.assurance_min.word());
            t.text("otherwise", &below.otherwise);
        }
        if let Some(vlan) = zone.vlan {
            t.raw("vlan", vlan);
        }
        let declared = zone.treatment.all();
        if declared.iter().any(|(_, treatment)| treatment.is_some()) {
            t.table("[zone.treatment]");
        }
        for (protocol, treatment) in declared {
            if let Some(treatment) = treatment {
                t.text(protocol, treatment.word());
            }
        }
    }
    devices(&mut t, estate);
    services(&mut t, estate);
    for group in &estate.groups {
        t.table("[[group]]");
        t.text("id", &group.id);
        t.list("services", &group.services);
    }
    if !estate.controllers.is_empty() {
        t.table("[controllers]");
    }
    for (uri, ids) in &estate.controllers {
        t.list_under(uri, ids);
    }
    for conduit in &estate.conduits {
        t.table("[[conduit]]");
        t.text("rule", &conduit.rule);
        t.text("from", &conduit.from);
        t.text("to", &conduit.to);
        t.raw("devices", conduit.devices);
        t.raw("flows", conduit.flows.min(i64::MAX as u64));
        t.text("first_seen", &conduit.first_seen.to_string());
        t.text("last_seen", &conduit.last_seen.to_string());
    }
    for window in &estate.maintenance {
        t.table("[[maintenance]]");
        t.text("site", window.site.as_str());
        t.list("days", &window.days);
        t.raw("from", window.from);
        t.raw("to", window.to);
    }
    t.0
}

fn devices(t: &mut Toml, estate: &Estate) {
    for device in &estate.devices {
        t.table("[[device]]");
        t.text("id", device.id.as_str());
        t.text_unless("name", &device.name, "");
        t.text("type", &device.kind);
        t.text("zone", device.meant());
        t.list("macs", &device.macs);
        t.list("addresses", &device.addresses);
        if let Some(behind) = &device.behind {
            t.text("behind", behind.as_str());
        }
        t.text_unless("owner", &device.owner, "");
        t.text_unless("assurance", device.assurance.word(), Assurance::Observed.word());
        t.text_unless("support", &device.support, "unknown");
        t.text_unless("exposure", &device.exposure, "unknown");
        t.text_unless("posture", &device.posture, "normal");
        if let Some(url) = &device.mud_url {
            t.text("mud_url", url);
        }
    }
}

fn services(t: &mut Toml, estate: &Estate) {
    for service in &estate.services {
        t.table("[[service]]");
        t.text("id", service.id.as_str());
        t.text_unless("name", &service.name, "");
        t.text("scope", scope_word(service.scope));
        t.text("zone", &service.zone);
        if let Some(device) = &service.device {
            t.text("device", device.as_str());
        }
        t.list("addresses", &service.addresses);
        t.list("dns_names", &service.dns_names);
        t.text("protocol", service.transport.word());
        t.raw("port", service.port);
        t.text_unless("application", &service.application, "");
        t.text_unless("owner", &service.owner, "");
        if service.sensitive {
            t.raw("sensitive", true);
        }
        t.text("assurance_min", service.assurance_min.word());
    }
}

fn tests(tests: &Tests) -> String {
    let mut t = Toml(String::new());
    t.comment("What must stay true of the policies. A plan that breaks a line is refused.");
    for (name, paths) in [("[[allow]]", &tests.allow), ("[[deny]]", &tests.deny)] {
        for path in paths {
            t.table(name);
            t.text("from", path.from.as_str());
            t.text("to", path.to.as_str());
            t.text("because", &path.because);
        }
    }
    for reach in &tests.reach {
        t.table("[[reach]]");
        let (key, name) = reach.of.parts();
        t.text(key, name);
        for (key, max) in [("services_max", reach.services_max), ("devices_max", reach.devices_max)]
        {
            if max < u64::MAX {
                t.raw(key, max.min(i64::MAX as u64));
            }
        }
    }
    t.0
}

fn claims(claims: &[Claim], notes: Option<&Vec<String>>) -> String {
    let mut t = Toml(String::new());
    t.comment("Standing claims about classes. `hops = true`: also not through devices taken over on the way.");
    for claim in claims {
        t.table("[[claim]]");
        t.text("id", &claim.id);
        t.text("from", &claim.from);
        t.text("never", &claim.never);
        t.raw("hops", claim.hops);
        t.text("because", &claim.because);
    }
    for note in notes.into_iter().flatten() {
        t.0.push('\n');
        t.comment(&line(note));
    }
    t.0
}

fn exceptions(exceptions: &[Exception]) -> String {
    let mut t = Toml(String::new());
    t.comment(concat!(
        "Grants that end by themselves. Owner, reason and expiry are mandatory, for example:\n\n",
        "[[exception]]\n",
        "id = \"vendor-visit-2031-03\"\n",
        "from = \"DEVICE\"\n",
        "to = \"SERVICE\"\n",
        "owner = \"plant-network\"\n",
        "reason = \"vendor replaces the gearbox firmware\"\n",
        "expires = \"2031-03-14T18:00:00Z\"\n\n",
        "A forbid in policies/ is never lifted by an exception.",
    ));
    for exception in exceptions {
        t.table("[[exception]]");
        t.text("id", &exception.id);
        t.text("from", exception.from.as_str());
        t.text("to", exception.to.as_str());
        t.text("owner", &exception.owner);
        t.text("reason", &exception.reason);
        t.text("expires", &exception.expires.to_string());
    }
    t.0
}

fn mode_word(mode: Mode) -> &'static str {
    match mode {
        Mode::Shadow => "shadow",
        Mode::Enforce => "enforce",
    }
}

/// The word of a scope in documents and policies.
pub(crate) fn scope_word(scope: Scope) -> &'static str {
    match scope {
        Scope::Estate => "estate",
        Scope::External => "external",
        Scope::Group => "group",
    }
}

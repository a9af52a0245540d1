//! Lists of devices: taken in, and given out as a table.

use std::collections::BTreeSet;

use axum::Json;
use axum::body::Body as Stream;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use estate::access::rbac::{Action, Place};
use estate::access::{Role, SITES_MAX, Sites};
use estate::devices::{self, Field};
use model::{DeviceId, SiteId};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::approvals::{self, Ask};
use super::body::Raw;
use super::{Api, Problem, Query, Who, reason};
use crate::blobs::hex;
use crate::import::{self, Format, Outcome, Plan, Planned, Scope, export};

/// What an answer is.
const SCHEMA: &str = "ringfence.import/v1";
/// Devices of one command.
const BATCH: usize = 500;
/// Devices that a table is written of at a time.
const PIECE: usize = 500;

/// How a list is taken in.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct Import {
    /// `csv`, `dnsmasq`, `isc`, `kea`; absent or `auto`: what it looks like.
    pub format: Option<String>,
    /// Site of devices whose row does not say. Leases need it.
    pub site: Option<String>,
    /// Who tells: `import/NAME`, `leases/NAME`; absent: `import/list`, or `leases/` and the format.
    pub source: Option<String>,
    /// Only tell what would change.
    #[serde(default)]
    pub dry_run: bool,
    /// Change nothing when a row is refused.
    #[serde(default)]
    pub all_or_nothing: bool,
    /// Why. It stays in the journal for ever. A dry run needs none.
    #[serde(default)]
    pub why: String,
}

/// How many rows come to what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ImportCounts)]
pub struct Counts {
    /// There was no such device.
    pub new: usize,
    /// Something of it differs.
    pub changed: usize,
    /// All of it was known.
    pub same: usize,
    /// Left out, with a reason.
    pub refused: usize,
    /// Leases that have ended.
    pub ended: usize,
    /// Newer signs of life.
    pub seen: usize,
    /// Devices that something is decided about.
    pub decided: usize,
}

/// What a list comes to: the difference between it and the estate, row by row.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Import)]
pub struct Document {
    /// `ringfence.import/v1`.
    #[schema(value_type = String)]
    pub schema: &'static str,
    /// `csv`, `dnsmasq`, `isc`, `kea`.
    #[schema(value_type = String)]
    pub format: &'static str,
    /// Who tells.
    pub source: String,
    /// What stands between the values of a table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub separator: Option<String>,
    /// It was done; otherwise it is what would be.
    pub applied: bool,
    /// How many rows come to what.
    pub counts: Counts,
    /// The rows, in the order of the file.
    pub rows: Vec<Planned>,
}

/// Takes in a list of devices: a table (CSV) or the leases of a DHCP server (dnsmasq, ISC dhcpd, Kea). A row with our `id` is about that device, another
/// one about the device that has its identifiers. Names, owners, zones, sites, criticality, postures and labels are decisions of whoever imports,
/// everything else claims of the source. A list that decides about very many devices takes a second person: then the answer is 202, and the same request with the
/// header `Ringfence-Approval` carries it out.
#[utoipa::path(post, path = "/v1/devices/import", tag = "devices", params(Import, ("Ringfence-Approval" = Option<String>, Header)),
    request_body(content((String = "text/csv"), (String = "text/plain"))),
    responses((status = 200, body = Document), (status = 202, body = approvals::Document), (status = "default", body = Problem)))]
pub async fn import(
    State(api): State<Api>,
    who: Who,
    Query(import): Query<Import>,
    headers: HeaderMap,
    Raw(bytes): Raw,
) -> Result<Response, Problem> {
    if !import.dry_run {
        reason(&import.why)?;
    }
    let format = match import.format.as_deref().unwrap_or("auto") {
        "auto" => Format::guess(&bytes),
        word => Format::of(word).ok_or_else(|| {
            let why = "there are auto, csv, dnsmasq, isc, kea";
            Problem::invalid(format!("format `{word:.20}`"), why)
        })?,
    };
    let source = source(import.source.as_deref(), format)?;
    let site = site(&api, &who, import.site.as_deref(), format)?;
    let file_sha256 = hex(&crypto::sha256(&bytes));
    let (asks, of) = (who.clone(), source.clone());
    let looked = api.blocking(move |hub| {
        let now = hub.now();
        let lines = match import::read(format, &bytes, now) {
            Ok(lines) => lines,
            Err(error) => return Ok(Err(error)),
        };
        let may = |site: &SiteId| {
            asks.sees(site) && asks.may(Action::DevicesImport, Place::At(site)).is_ok()
        };
        let scope = Scope {
            source: &of,
            site: site.as_ref(),
            who: &asks.principal().actor,
            now,
            may: &may,
            may_cut_off: asks.may(Action::DevicesQuarantine, Place::Somewhere).is_ok(),
        };
        let plan = hub.read(|estate| import::plan(estate, &lines.lines, &scope));
        Ok(Ok((lines.separator, plan)))
    });
    let (separator, plan) = looked.await?.map_err(|error| {
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        Problem::new(status, "import.unreadable", "the list", error.to_string())
    })?;
    if !plan.edits.is_empty() {
        who.may(Action::DevicesEdit, Place::Somewhere)?;
    }
    let refused = plan.count(Outcome::Refused);
    if !import.dry_run && import.all_or_nothing && refused > 0 {
        let why =
            format!("{refused} of {} rows are refused, so nothing was changed", plan.rows.len());
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        return Err(Problem::new(status, "import.refused", "the list", why)
            .help("a dry run tells which, and why"));
    }
    if !import.dry_run {
        let ask = asked(&api, &plan, &source, format, &file_sha256, &import.why);
        if let Some(waits) = approvals::second_person(&api, &who, &headers, ask).await? {
            return Ok(waits);
        }
        carry_out(&api, &who, &plan, &source, &import.why).await?;
    }
    let counts = counts(&plan);
    let document = Document {
        schema: SCHEMA,
        format: format.word(),
        source,
        separator: separator.map(String::from),
        applied: !import.dry_run,
        counts,
        rows: plan.rows,
    };
    Ok(Json(document).into_response())
}

/// Does what a plan says, some hundred devices at a time.
async fn carry_out(
    api: &Api,
    who: &Who,
    plan: &Plan,
    source: &str,
    why: &str,
) -> Result<(), Problem> {
    let commands = plan.commands(source, BATCH);
    let all = commands.len();
    for (done, command) in commands.into_iter().enumerate() {
        let did = api.command(who, why.to_owned(), command).await;
        did.map_err(|problem| match done {
            0 => problem,
            _ => problem.help(format!(
                "{done} of {all} parts are done; import the same list again, and only the rest is"
            )),
        })?;
    }
    Ok(())
}

fn source(named: Option<&str>, format: Format) -> Result<String, Problem> {
    let kind = if format == Format::Csv { "import/" } else { "leases/" };
    let source = match (named, format) {
        (Some(named), _) => named.to_owned(),
        (None, Format::Csv) => "import/list".to_owned(),
        (None, Format::Leases(_)) => format!("leases/{}", format.word()),
    };
    let name = source.strip_prefix("import/").or_else(|| source.strip_prefix("leases/"));
    let is_fit = |name: &str| {
        (1..=64).contains(&name.len())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    match name.is_some_and(is_fit) {
        true => Ok(source),
        false => {
            let why = format!("write {kind}NAME, with a name of letters, digits and - _ .");
            Err(Problem::invalid(format!("source `{source:.60}`"), why))
        }
    }
}

fn site(
    api: &Api,
    who: &Who,
    named: Option<&str>,
    format: Format,
) -> Result<Option<SiteId>, Problem> {
    let Some(named) = named else {
        return match format {
            Format::Csv => Ok(None),
            Format::Leases(_) => {
                Err(Problem::invalid("the site", "leases do not say where their server is")
                    .help("name its site"))
            }
        };
    };
    let unknown = || Problem::unknown("site.unknown", format!("site {named:.128}"));
    let site = SiteId::new(named).map_err(|_| unknown())?;
    who.may(Action::DevicesImport, Place::At(&site))?;
    match api.hub.read(|estate| estate.sites().get(&site).is_some()) {
        true => Ok(Some(site)),
        false => Err(unknown()),
    }
}

fn counts(plan: &Plan) -> Counts {
    Counts {
        new: plan.count(Outcome::New),
        changed: plan.count(Outcome::Changed),
        same: plan.count(Outcome::Same),
        refused: plan.count(Outcome::Refused),
        ended: plan.count(Outcome::Ended),
        seen: plan.rows.iter().filter(|row| row.seen).count(),
        decided: plan.edits.len(),
    }
}

/// What a second person is asked: this list with these decisions, and no other.
fn asked<'a>(
    api: &Api,
    plan: &Plan,
    source: &str,
    format: Format,
    file_sha256: &str,
    why: &'a str,
) -> Ask<'a> {
    let edits = serde_json::to_vec(&plan.edits).unwrap_or_default();
    let new = plan.reports.iter().flat_map(|(site, all)| all.iter().map(move |f| (&f.id, site)));
    let new: std::collections::BTreeMap<&DeviceId, &SiteId> = new.collect();
    let sites: BTreeSet<SiteId> = api.hub.read(|estate| {
        let site = |id: &DeviceId| {
            let known = estate.devices().get(id).map(|device| device.site.clone());
            known.or_else(|| new.get(id).map(|site| (*site).clone()))
        };
        plan.edits.iter().filter_map(|(id, _)| site(id)).collect()
    });
    let posture = plan.edits.iter().any(|(_, edit)| edit.set.contains_key(&Field::Posture));
    Ask {
        command: serde_json::json!({
            "change": "import", "source": source, "format": format.word(),
            "devices": plan.edits.len(), "file_sha256": file_sha256,
            "decisions_sha256": hex(&crypto::sha256(&edits)),
        }),
        devices: plan.edits.len(),
        needs: if posture { Role::SecurityAdmin } else { Role::Operator },
        sites: if sites.len() > SITES_MAX { Sites::All } else { Sites::Only(sites) },
        why,
    }
}

/// Whether who asks wants a table rather than a document.
pub(super) fn wants_table(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let first = accept.and_then(|accept| accept.split([',', ';']).next());
    first.is_some_and(|kind| kind.trim().eq_ignore_ascii_case("text/csv"))
}

/// Every device that is selected, as a table that can be imported again; it is written as it is read.
pub(super) fn table(api: &Api, who: Who, query: devices::Selection) -> Response {
    let hub = std::sync::Arc::clone(&api.hub);
    let stream = async_stream::stream! {
        let labels: BTreeSet<String> = hub.read(|estate| {
            let all = estate.devices().after(None);
            let mine = all.filter(|device| who.sees(&device.site) && query.selects(device));
            mine.flat_map(|device| device.labels.iter().map(|(n, _)| n.to_string())).collect()
        });
        yield Ok::<String, std::convert::Infallible>(export::head(&labels));
        let mut after: Option<DeviceId> = None;
        loop {
            let (text, last) = hub.read(|estate| {
                let mut text = String::new();
                let mut last = None;
                // So many looked at, however few of them are selected: changes wait for no long list.
                for device in estate.devices().after(after.as_ref()).take(PIECE) {
                    last = Some(device.id.clone());
                    if who.sees(&device.site) && query.selects(device) {
                        text.push_str(&export::row(device, &labels));
                    }
                }
                (text, last)
            });
            let Some(last) = last else { break };
            after = Some(last);
            if !text.is_empty() {
                yield Ok(text);
            }
        }
    };
    let kind = [(header::CONTENT_TYPE, "text/csv; charset=utf-8")];
    (kind, Stream::from_stream(stream)).into_response()
}

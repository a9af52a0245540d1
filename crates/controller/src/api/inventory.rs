//! The list of devices: chosen by what they are, in any order, in pages, counted.
//!
//! By id a page costs what is on it, however many devices there are. Other orders, and counts of a part, need a list of all that are chosen:
//! it is made once, kept for a while, and pages are cut from it. A first page is cut from an earlier list only for ten times as long as
//! making that took, so that people see their changes and lists cost a tenth of one processor at most; further pages are cut from the
//! list of the first for [`KEPT`]. A page token holds the place it begins after, not a number of things: it is good without the list too.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use estate::access::Sites;
use estate::devices::{self, Order, Rank};
use model::{DeviceId, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::devices::{Document, Selection};
use super::page::{self, Paging};
use super::{Api, Problem, Query, Who, imports};
use crate::{Hub, HubError};

/// Devices looked at while changes wait.
const SLICE: usize = 20_000;
/// How long a list is kept, in nanoseconds.
const KEPT: i64 = 60_000_000_000;
/// A list serves first pages for so many times as long as making it took.
const TIMES: i64 = 10;
/// Devices in all lists that are kept.
const ROWS_MAX: usize = 4_000_000;
/// Lists that are kept.
const LISTS_MAX: usize = 32;

/// In which order, and whether they are counted.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Wanted {
    /// `FIELD`, or `-FIELD` for falling: id (as it is without), state, site, address, first_seen, last_seen, name, owner…
    pub sort: Option<String>,
    /// Tell how many there are in all pages.
    pub count: Option<bool>,
}

/// One page of devices.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Page_Device)]
pub struct Listed {
    /// What is on it.
    pub items: Vec<Document>,
    /// `page` of the next one; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// How many there are in all pages, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<usize>,
}

/// Devices: by id, or in another order. With `Accept: text/csv` all of them by id as one table, which can be imported again.
#[utoipa::path(get, path = "/v1/devices", tag = "devices", params(Selection, Wanted, Paging),
    responses((status = 200, content((Listed = "application/json"), (String = "text/csv"))), (status = "default", body = Problem)))]
pub async fn list(
    State(api): State<Api>,
    who: Who,
    Query(selection): Query<Selection>,
    Query(wanted): Query<Wanted>,
    Query(paging): Query<Paging>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let selected = selection.parse(&api)?;
    if imports::wants_table(&headers) {
        return Ok(imports::table(&api, who, selected));
    }
    let order = Order::parse(wanted.sort.as_deref().unwrap_or("id"))
        .map_err(|error| Problem::invalid("the order", error.to_string()))?;
    let (limit, after) = (paging.limit()?, paging.after()?);
    let everywhere = who.principal().grant.sites == Sites::All;
    let count = wanted.count.unwrap_or(false);
    let all = everywhere && selected.is_all();
    let ask = Ask { who, selected, order };
    if order.is_by_id() && (all || !count) {
        let after = after.map(|id| super::devices::id_of(&id)).transpose()?;
        let page = api.blocking(move |hub| Ok(ask.by_id(hub, after, limit))).await?;
        let total = (all && count).then(|| api.hub.read(|estate| estate.devices().len()));
        return Ok(Json(Listed { total, ..page }).into_response());
    }
    let after = after.map(|place| rank(&place)).transpose()?;
    let key = Key { sites: ask.who.principal().grant.sites.clone(), selection, order };
    let lists = Arc::clone(&api.lists);
    let page = api.blocking(move |hub| lists.page(hub, key, &ask, after, limit)).await?;
    Ok(Json(Listed { total: page.total.filter(|_| count), ..page }).into_response())
}

fn rank(text: &str) -> Result<Rank, Problem> {
    serde_json::from_str(text)
        .map_err(|_| Problem::invalid("the page", "it is no `next` of an earlier answer"))
}

/// What is asked, by whom.
struct Ask {
    who: Who,
    selected: devices::Selection,
    order: Order,
}

impl Ask {
    fn wants(&self, device: &devices::Device) -> bool {
        self.who.sees(&device.site) && self.selected.selects(device)
    }

    /// All devices after one, slice by slice, until `each` says that it is enough.
    fn walk(
        &self,
        hub: &Hub,
        mut after: Option<DeviceId>,
        each: &mut dyn FnMut(&devices::Device) -> bool,
    ) {
        loop {
            let (mut last, mut enough) = (None, false);
            hub.read(|estate| {
                for device in estate.devices().after(after.as_ref()).take(SLICE) {
                    last = Some(device.id.clone());
                    enough = self.wants(device) && each(device);
                    if enough {
                        break;
                    }
                }
            });
            match last {
                Some(last) if !enough => after = Some(last),
                _ => return,
            }
        }
    }

    fn by_id(&self, hub: &Hub, after: Option<DeviceId>, limit: usize) -> Listed {
        let (mut items, mut more) = (Vec::new(), false);
        self.walk(hub, after, &mut |device| {
            more = items.len() == limit;
            if !more {
                items.push(Document::from(device));
            }
            more
        });
        let last = items.last().filter(|_| more).map(|last: &Document| page::token(&last.id));
        Listed { items, next: last, total: None }
    }
}

/// What makes two lists the same.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Key {
    sites: Sites,
    selection: Selection,
    order: Order,
}

#[derive(Debug)]
struct List {
    key: Key,
    /// Entries of the journal that it shows.
    size: u64,
    made: Timestamp,
    /// Nanoseconds.
    took: i64,
    rows: Vec<Rank>,
}

/// Lists that were made.
#[derive(Debug, Default)]
pub struct Lists {
    kept: Mutex<VecDeque<Arc<List>>>,
    /// Held while one is made: whoever wants the same one waits for it.
    making: Mutex<()>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Lists {
    fn page(
        &self,
        hub: &Hub,
        key: Key,
        ask: &Ask,
        after: Option<Rank>,
        limit: usize,
    ) -> Result<Listed, HubError> {
        let first = after.is_none();
        let list = match self.kept(hub, &key, first) {
            Some(list) => list,
            None => {
                let _making = locked(&self.making);
                match self.kept(hub, &key, first) {
                    Some(list) => list,
                    None => self.make(hub, key, ask),
                }
            }
        };
        let before =
            |row: &Rank| after.as_ref().is_some_and(|after| ask.order.compare(row, after).is_le());
        let from = list.rows.partition_point(before);
        let rows = list.rows.get(from..).unwrap_or_default();
        let shown = rows.get(..limit.min(rows.len())).unwrap_or_default();
        let items = hub.read(|estate| {
            let now = shown.iter().filter_map(|(_, id)| estate.devices().get(id));
            now.filter(|device| ask.wants(device)).map(Document::from).collect()
        });
        let more = rows.len() > shown.len();
        let next = shown.last().filter(|_| more).and_then(|row| serde_json::to_string(row).ok());
        Ok(Listed {
            items,
            next: next.map(|place| page::token(&place)),
            total: Some(list.rows.len()),
        })
    }

    fn kept(&self, hub: &Hub, key: &Key, first: bool) -> Option<Arc<List>> {
        let (now, size) = (hub.now().as_nanos(), hub.read(estate::Estate::size));
        let mut kept = locked(&self.kept);
        kept.retain(|list| now.saturating_sub(list.made.as_nanos()) < KEPT);
        let good = |list: &&Arc<List>| {
            let age = now.saturating_sub(list.made.as_nanos());
            !first || list.size == size || age < list.took.saturating_mul(TIMES)
        };
        kept.iter().rev().filter(|list| list.key == *key).find(good).cloned()
    }

    fn make(&self, hub: &Hub, key: Key, ask: &Ask) -> Arc<List> {
        let (begun, size) = (hub.now(), hub.read(estate::Estate::size));
        let mut rows = Vec::new();
        ask.walk(hub, None, &mut |device| {
            rows.push(ask.order.rank(device));
            false
        });
        rows.sort_unstable_by(|a, b| ask.order.compare(a, b));
        let made = hub.now();
        let took = made.as_nanos().saturating_sub(begun.as_nanos());
        let list = Arc::new(List { key, size, made, took, rows });
        let mut kept = locked(&self.kept);
        kept.retain(|other| other.key != list.key);
        kept.push_back(Arc::clone(&list));
        let rows =
            |kept: &VecDeque<Arc<List>>| -> usize { kept.iter().map(|list| list.rows.len()).sum() };
        while kept.len() > LISTS_MAX || (kept.len() > 1 && rows(&kept) > ROWS_MAX) {
            kept.pop_front();
        }
        list
    }
}

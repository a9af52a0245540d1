//! The list of devices: chosen by what they are, in any order, in pages, counted.
//!
//! By id a page costs what is on it, however many devices there are. Other orders, counts of a part, and far places of a part need a list of
//! all that are chosen: it is made once, kept for a while, and pages are cut from it. A first page, and one at a number, is cut from an
//! earlier list only for ten times as long as making that took, so that people see their changes and lists cost a tenth of one processor at
//! most; further pages are cut from the list of the first for [`KEPT`]. A page token holds the place it begins after, not a number of
//! things: it is good without the list too. Who goes to a number is given the token of the place that it was.

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

/// In which order, from where, and whether they are counted.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Wanted {
    /// `FIELD`, or `-FIELD` for falling: id (as it is without), state, site, address, first_seen, last_seen, name, owner…
    pub sort: Option<String>,
    /// Tell how many there are in all pages.
    pub count: Option<bool>,
    /// Leave out so many: the page begins at that number, counted from 0, and is empty where there are fewer. Costs the same wherever it is;
    /// not together with `page`.
    #[param(minimum = 0)]
    pub offset: Option<usize>,
}

/// Where a page begins.
enum Begin<P> {
    First,
    After(P),
    At(usize),
}

impl Begin<String> {
    fn of(wanted: &Wanted, paging: &Paging) -> Result<Self, Problem> {
        match (wanted.offset, paging.after()?) {
            (Some(_), Some(_)) => {
                let why = "it begins at `offset` or goes on at `page`, not both";
                Err(Problem::invalid("the page", why))
            }
            (None | Some(0), None) => Ok(Self::First),
            (Some(number), None) => Ok(Self::At(number)),
            (None, Some(place)) => Ok(Self::After(place)),
        }
    }

    fn read<P>(self, place: impl FnOnce(&str) -> Result<P, Problem>) -> Result<Begin<P>, Problem> {
        Ok(match self {
            Self::First => Begin::First,
            Self::At(number) => Begin::At(number),
            Self::After(text) => Begin::After(place(&text)?),
        })
    }
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
    /// `page` of this one, where it was asked for by `offset`: what is asked for with it begins at the same place, however many come before
    /// by then. Absent on the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub here: Option<String>,
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
    let (limit, begin) = (paging.limit()?, Begin::of(&wanted, &paging)?);
    let everywhere = who.principal().grant.sites == Sites::All;
    let count = wanted.count.unwrap_or(false);
    let all = everywhere && selected.is_all();
    let ask = Ask { who, selected, order };
    // A number of those that are chosen is known of a list alone.
    if order.is_by_id() && (all || !count && !matches!(begin, Begin::At(_))) {
        let begin = begin.read(super::devices::id_of)?;
        let page = api.blocking(move |hub| Ok(ask.by_id(hub, begin, limit))).await?;
        let total = (all && count).then(|| api.hub.read(|estate| estate.devices().len()));
        return Ok(Json(Listed { total, ..page }).into_response());
    }
    let begin = begin.read(|place| rank(order, place))?;
    let key = Key { sites: ask.who.principal().grant.sites.clone(), selection, order };
    let lists = Arc::clone(&api.lists);
    let page = api.blocking(move |hub| lists.page(hub, key, &ask, &begin, limit)).await?;
    Ok(Json(Listed { total: page.total.filter(|_| count), ..page }).into_response())
}

/// By id a place is an id, with a list and without.
fn rank(order: Order, text: &str) -> Result<Rank, Problem> {
    if order.is_by_id() {
        return Ok((None, super::devices::id_of(text)?));
    }
    serde_json::from_str(text)
        .map_err(|_| Problem::invalid("the page", "it is no `next` of an earlier answer"))
}

fn place(order: Order, rank: &Rank) -> Option<String> {
    let text = match order.is_by_id() {
        true => Some(rank.1.to_string()),
        false => serde_json::to_string(rank).ok(),
    };
    text.map(|text| page::token(&text))
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

    fn by_id(&self, hub: &Hub, begin: Begin<DeviceId>, limit: usize) -> Listed {
        let (mut items, mut more) = (Vec::new(), false);
        let (after, here) = match begin {
            Begin::First => (None, None),
            Begin::After(id) => (Some(id), None),
            Begin::At(number) => {
                let before = number.saturating_sub(1);
                let after = hub.read(|estate| estate.devices().id_at(before).cloned());
                (after.clone(), after.map(|id| page::token(id.as_str())))
            }
        };
        self.walk(hub, after, &mut |device| {
            more = items.len() == limit;
            if !more {
                items.push(Document::from(device));
            }
            more
        });
        let last = items.last().filter(|_| more).map(|last: &Document| page::token(&last.id));
        Listed { items, next: last, here, total: None }
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
        begin: &Begin<Rank>,
        limit: usize,
    ) -> Result<Listed, HubError> {
        let first = !matches!(begin, Begin::After(_));
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
        let from = match begin {
            Begin::First => 0,
            Begin::At(number) => *number.min(&list.rows.len()),
            Begin::After(place) => {
                list.rows.partition_point(|row| ask.order.compare(row, place).is_le())
            }
        };
        let before = from.checked_sub(1).filter(|_| matches!(begin, Begin::At(_)));
        let here = before.and_then(|at| list.rows.get(at)).and_then(|row| place(ask.order, row));
        let rows = list.rows.get(from..).unwrap_or_default();
        let shown = rows.get(..limit.min(rows.len())).unwrap_or_default();
        let items = hub.read(|estate| {
            let now = shown.iter().filter_map(|(_, id)| estate.devices().get(id));
            now.filter(|device| ask.wants(device)).map(Document::from).collect()
        });
        let more = rows.len() > shown.len();
        let next = shown.last().filter(|_| more).and_then(|row| place(ask.order, row));
        Ok(Listed { items, next, here, total: Some(list.rows.len()) })
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
        // They were walked by id, and this keeps what is alike as it is: few values are sorted in no time.
        rows.sort_by(|a, b| ask.order.compare_keys(a, b));
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

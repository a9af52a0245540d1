//! Who talked to whom, by device and hour: telemetry in a SQLite file of its own, bounded, and in no journal.
//!
//! A row is what a device exchanged with one peer in one hour. A device has [`PATHS_MAX`] of them in an hour, and one with the sum of the
//! rest; rows of [`HOURS_MAX`] hours are kept, and [`ROWS_MAX`] in all: when there are more, the oldest hours of all devices go. What is
//! lost with the power, some seconds, is lost.
//!
//! It must never know what a device is.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::{
    Connection, OpenFlags, OptionalExtension as _, Row, Statement, TransactionBehavior, params,
};

use crate::StoreError;
use crate::sqlite::{fault, prepare};

/// The format of the database that is written.
const FORMAT: i64 = 1;
const SCHEMA: &str = include_str!("flows.sql");
/// Rows of one device in one hour, besides the one that has the sum of the rest.
pub const PATHS_MAX: usize = 64;
/// Hours that are kept: two weeks.
pub const HOURS_MAX: i64 = 14 * 24;
/// Rows of all devices.
pub const ROWS_MAX: u64 = 2_000_000;
/// When there are more, so many stay at most, in percent.
const KEPT_PERCENT: u64 = 90;

/// What makes a row one, in the order in which rows are read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// Hours since 1970.
    pub hour: i64,
    /// Whose it is.
    pub device: String,
    /// The device is who was called, and not who called.
    pub called: bool,
    /// Id of the peer, where it is a device; else empty.
    pub peer: String,
    /// Address of the peer; empty in the sum of all for which there is no row.
    pub address: String,
    /// Transport, in a word.
    pub transport: String,
    /// Port of whoever was called.
    pub port: u16,
}

/// What a device exchanged with a peer in one hour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Which row.
    pub key: Key,
    /// Application protocol, where it was recognised.
    pub protocol: Option<String>,
    /// Name of whoever was called, as the other one knew it.
    pub name: Option<String>,
    /// Who called is known.
    pub certain: bool,
    /// First packet, in nanoseconds since 1970.
    pub first: i64,
    /// Last packet.
    pub last: i64,
    /// Connections or exchanges that began.
    pub flows: u64,
    /// Packets from the device, and to it.
    pub packets: [u64; 2],
    /// Bytes from the device, and to it.
    pub bytes: [u64; 2],
}

/// What a device exchanged with everybody in one hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hour {
    /// Hours since 1970.
    pub hour: i64,
    /// Packets from the device, and to it.
    pub packets: [u64; 2],
    /// Bytes from the device, and to it.
    pub bytes: [u64; 2],
}

/// The store of flows.
#[derive(Debug)]
pub struct Flows {
    state: Mutex<State>,
    rows_max: u64,
}

#[derive(Debug)]
struct State {
    connection: Connection,
    rows: u64,
    /// The hour in which the oldest ones were looked for last.
    looked: i64,
}

impl Flows {
    /// Opens the file, or makes one.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        Self::of(Connection::open_with_flags(path, flags), ROWS_MAX)
    }

    /// One that is forgotten with the process, and keeps so many rows.
    pub fn memory(rows_max: u64) -> Result<Self, StoreError> {
        Self::of(Connection::open_in_memory(), rows_max)
    }

    fn of(opened: rusqlite::Result<Connection>, rows_max: u64) -> Result<Self, StoreError> {
        let mut connection = opened.map_err(|e| fault(&e))?;
        connection
            .execute_batch(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;
                 PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;",
            )
            .map_err(|e| fault(&e))?;
        connection.set_transaction_behavior(TransactionBehavior::Immediate);
        prepare(&mut connection, None, SCHEMA, FORMAT)?;
        let rows = count(&connection)?;
        Ok(Self { state: Mutex::new(State { connection, rows, looked: 0 }), rows_max })
    }

    /// Adds what a site tells, all or nothing. A report that it told before changes nothing. `now`: in hours since 1970.
    pub fn add(
        &self,
        site: &str,
        (run, number): (i64, u64),
        flows: &[Flow],
        now: i64,
    ) -> Result<(), StoreError> {
        let mut state = self.state();
        if state.looked != now {
            state.clear(now, self.rows_max).map_err(|e| fault(&e))?;
        }
        let room = self.rows_max.saturating_sub(state.rows);
        let new = state.add(site, (run, number), flows, room).map_err(|e| fault(&e))?;
        state.rows = state.rows.saturating_add(new);
        if state.rows >= self.rows_max {
            state.clear(now, self.rows_max).map_err(|e| fault(&e))?;
        }
        Ok(())
    }

    /// Rows of some devices, those of the newest hour first: up to `limit` of them, after one of an earlier answer.
    pub fn page(
        &self,
        devices: &[&str],
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Flow>, StoreError> {
        let state = self.state();
        let mut found = Vec::new();
        for device in devices {
            found.extend(page(&state.connection, device, after, limit).map_err(|e| fault(&e))?);
        }
        found.sort_by(|a, b| order(&a.key).cmp(&order(&b.key)));
        found.truncate(limit);
        Ok(found)
    }

    /// What some devices exchanged with everybody, by hour: the oldest first.
    pub fn hours(&self, devices: &[&str]) -> Result<Vec<Hour>, StoreError> {
        let state = self.state();
        let mut all: BTreeMap<i64, Hour> = BTreeMap::new();
        for device in devices {
            for hour in hours(&state.connection, device).map_err(|e| fault(&e))? {
                let sum =
                    all.entry(hour.hour).or_insert(Hour { packets: [0; 2], bytes: [0; 2], ..hour });
                for way in 0..2 {
                    add(&mut sum.packets, hour.packets, way);
                    add(&mut sum.bytes, hour.bytes, way);
                }
            }
        }
        Ok(all.into_values().collect())
    }

    /// Rows of all devices.
    pub fn rows(&self) -> u64 {
        self.state().rows
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn add(sum: &mut [u64; 2], more: [u64; 2], way: usize) {
    if let (Some(sum), Some(more)) = (sum.get_mut(way), more.get(way)) {
        *sum = sum.saturating_add(*more);
    }
}

const UPDATE: &str = "UPDATE flow SET
        protocol = coalesce(protocol, ?8), name = coalesce(name, ?9), certain = max(certain, ?10),
        first = min(first, ?11), last = max(last, ?12), flows = flows + ?13,
        packets_out = packets_out + ?14, packets_in = packets_in + ?15,
        bytes_out = bytes_out + ?16, bytes_in = bytes_in + ?17
    WHERE device = ?1 AND hour = ?2 AND called = ?3 AND peer = ?4 AND address = ?5
        AND transport = ?6 AND port = ?7";
const INSERT: &str = "INSERT INTO flow (device, hour, called, peer, address, transport, port,
        protocol, name, certain, first, last, flows, packets_out, packets_in, bytes_out, bytes_in)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)";
const COUNT: &str = "SELECT count(*) FROM flow WHERE device = ?1 AND hour = ?2";
const COLUMNS: &str = "hour, device, called, peer, address, transport, port, protocol, name,
    certain, first, last, flows, packets_out, packets_in, bytes_out, bytes_in";

impl State {
    /// Adds a report; how many rows are new. Where there is no room, a device has a sum only.
    fn add(
        &mut self,
        site: &str,
        (run, number): (i64, u64),
        flows: &[Flow],
        room: u64,
    ) -> rusqlite::Result<u64> {
        let tx = self.connection.transaction()?;
        let last: Option<(i64, i64)> = tx
            .query_row("SELECT run, number FROM told WHERE site = ?1", params![site], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .optional()?;
        // A later run begins to count anew. One that is told of as earlier is not: the clock of that site was put back.
        if last.is_some_and(|(of, before)| of == run && before >= signed(number)) {
            return Ok(0);
        }
        let mut new = 0_u64;
        {
            let (mut update, mut insert) = (tx.prepare(UPDATE)?, tx.prepare(INSERT)?);
            let mut count = tx.prepare(COUNT)?;
            for flow in flows {
                if write(&mut update, flow)? > 0 {
                    continue;
                }
                let of = params![flow.key.device, flow.key.hour];
                let rows: i64 = count.query_row(of, |row| row.get(0))?;
                let rest = rest(flow);
                let own = new < room && unsigned(rows) < PATHS_MAX as u64;
                if !own && write(&mut update, &rest)? > 0 {
                    continue;
                }
                write(&mut insert, if own { flow } else { &rest })?;
                new = new.saturating_add(1);
            }
        }
        let sql = "INSERT INTO told (site, run, number) VALUES (?1, ?2, ?3)
            ON CONFLICT (site) DO UPDATE SET run = excluded.run, number = excluded.number";
        tx.execute(sql, params![site, run, signed(number)])?;
        tx.commit()?;
        Ok(new)
    }

    /// Lets go of what is too old, and of the oldest hours while there are too many rows. The present hour stays.
    fn clear(&mut self, now: i64, rows_max: u64) -> rusqlite::Result<()> {
        self.looked = now;
        let mut from = now.saturating_sub(HOURS_MAX);
        let tx = self.connection.transaction()?;
        if self.rows >= rows_max {
            let wanted = rows_max / 100 * KEPT_PERCENT;
            let mut statement =
                tx.prepare("SELECT hour, count(*) FROM flow GROUP BY hour ORDER BY hour DESC")?;
            let mut rows = statement.query([])?;
            let mut kept = 0_u64;
            while let Some(row) = rows.next()? {
                let (hour, count): (i64, i64) = (row.get(0)?, row.get(1)?);
                kept = kept.saturating_add(unsigned(count));
                if kept > wanted {
                    from = from.max(hour.saturating_add(1).min(now));
                    break;
                }
            }
        }
        let gone = tx.execute("DELETE FROM flow WHERE hour < ?1", params![from])?;
        tx.commit()?;
        self.rows = self.rows.saturating_sub(gone as u64);
        Ok(())
    }
}

/// The sum of everything for which a device has no row.
fn rest(flow: &Flow) -> Flow {
    let (hour, device) = (flow.key.hour, flow.key.device.clone());
    let none = String::new;
    let key = Key {
        hour,
        device,
        called: false,
        peer: none(),
        address: none(),
        transport: none(),
        port: 0,
    };
    Flow { key, protocol: None, name: None, certain: false, ..flow.clone() }
}

fn write(statement: &mut Statement<'_>, flow: &Flow) -> rusqlite::Result<usize> {
    let Key { hour, device, called, peer, address, transport, port } = &flow.key;
    let ([packets_out, packets_in], [bytes_out, bytes_in]) =
        (flow.packets.map(signed), flow.bytes.map(signed));
    statement.execute(params![
        device,
        hour,
        called,
        peer,
        address,
        transport,
        port,
        flow.protocol,
        flow.name,
        flow.certain,
        flow.first,
        flow.last,
        signed(flow.flows),
        packets_out,
        packets_in,
        bytes_out,
        bytes_in
    ])
}

/// The newest hour first; within one, in the order of the primary key.
fn order(key: &Key) -> (Reverse<i64>, &Key) {
    (Reverse(key.hour), key)
}

fn page(
    connection: &Connection,
    device: &str,
    after: Option<&Key>,
    limit: usize,
) -> rusqlite::Result<Vec<Flow>> {
    let begin;
    let after = match after {
        Some(after) => after,
        None => {
            begin = Key {
                hour: i64::MAX,
                device: String::new(),
                called: false,
                peer: String::new(),
                address: String::new(),
                transport: String::new(),
                port: 0,
            };
            &begin
        }
    };
    let sql = format!(
        "SELECT {COLUMNS} FROM flow WHERE device = ?1 AND hour <= ?2 AND (hour < ?2
            OR (device, called, peer, address, transport, port) > (?3, ?4, ?5, ?6, ?7, ?8))
        ORDER BY hour DESC, called, peer, address, transport, port LIMIT ?9"
    );
    let mut statement = connection.prepare(&sql)?;
    let Key { hour, device: of, called, peer, address, transport, port } = after;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let which = params![device, hour, of, called, peer, address, transport, port, limit];
    statement.query_map(which, flow)?.collect()
}

fn flow(row: &Row<'_>) -> rusqlite::Result<Flow> {
    Ok(Flow {
        key: Key {
            hour: row.get(0)?,
            device: row.get(1)?,
            called: row.get(2)?,
            peer: row.get(3)?,
            address: row.get(4)?,
            transport: row.get(5)?,
            port: row.get(6)?,
        },
        protocol: row.get(7)?,
        name: row.get(8)?,
        certain: row.get(9)?,
        first: row.get(10)?,
        last: row.get(11)?,
        flows: unsigned(row.get(12)?),
        packets: [unsigned(row.get(13)?), unsigned(row.get(14)?)],
        bytes: [unsigned(row.get(15)?), unsigned(row.get(16)?)],
    })
}

fn hours(connection: &Connection, device: &str) -> rusqlite::Result<Vec<Hour>> {
    let sql = "SELECT hour, sum(packets_out), sum(packets_in), sum(bytes_out), sum(bytes_in)
        FROM flow WHERE device = ?1 GROUP BY hour ORDER BY hour";
    let hour = |row: &Row<'_>| {
        let n = |at: usize| row.get(at).map(unsigned);
        Ok(Hour { hour: row.get(0)?, packets: [n(1)?, n(2)?], bytes: [n(3)?, n(4)?] })
    };
    connection.prepare(sql)?.query_map(params![device], hour)?.collect()
}

fn count(connection: &Connection) -> Result<u64, StoreError> {
    let rows = connection.query_row("SELECT count(*) FROM flow", [], |row| row.get(0));
    rows.map(unsigned).map_err(|e| fault(&e))
}

/// What a site says is kept within what a database can count.
fn signed(n: u64) -> i64 {
    const MAX: i64 = 1 << 52;
    i64::try_from(n).map_or(MAX, |n| n.min(MAX))
}

fn unsigned(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 500_000;

    fn flow(device: &str, hour: i64, port: u16) -> Flow {
        let key = Key {
            hour,
            device: device.to_owned(),
            called: false,
            peer: "nvr".to_owned(),
            address: "10.0.0.9".to_owned(),
            transport: "tcp".to_owned(),
            port,
        };
        Flow {
            key,
            protocol: None,
            name: None,
            certain: true,
            first: 10,
            last: 20,
            flows: 1,
            packets: [2, 1],
            bytes: [200, 100],
        }
    }

    #[test]
    fn reports_add_up_and_none_counts_twice() {
        let flows = Flows::memory(1_000).unwrap();
        let more = Flow {
            first: 5,
            last: 30,
            name: Some("nvr.example".to_owned()),
            ..flow("cam", NOW, 554)
        };
        flows.add("w1", (7, 1), &[flow("cam", NOW, 554), more], NOW).unwrap();
        flows.add("w1", (7, 1), &[flow("cam", NOW, 554)], NOW).unwrap();
        flows.add("w1", (8, 1), &[flow("cam", NOW, 554)], NOW).unwrap();
        flows.add("w2", (7, 1), &[flow("cam", NOW, 554)], NOW).unwrap();
        let page = flows.page(&["cam"], None, 10).unwrap();
        let row = page.first().unwrap();
        assert_eq!((page.len(), flows.rows()), (1, 1));
        assert_eq!((row.flows, row.packets, row.bytes), (4, [8, 4], [800, 400]));
        assert_eq!((row.first, row.last, row.name.as_deref()), (5, 30, Some("nvr.example")));
    }

    #[test]
    fn pages_go_back_in_time_and_meet_every_row_once_also_of_merged_devices() {
        let flows = Flows::memory(10_000).unwrap();
        let mut all = Vec::new();
        for hour in 0..5 {
            for port in 0..7 {
                all.push(flow("a", NOW - hour, port));
                all.push(flow("b", NOW - hour, port));
            }
        }
        flows.add("w1", (1, 1), &all, NOW).unwrap();
        let (mut met, mut after) = (Vec::new(), None);
        loop {
            let page = flows.page(&["a", "b"], after.as_ref(), 4).unwrap();
            let Some(last) = page.last() else { break };
            after = Some(last.key.clone());
            met.extend(page.into_iter().map(|flow| flow.key));
        }
        assert_eq!(met.len(), all.len());
        assert!(met.windows(2).all(|pair| order(&pair[0]) < order(&pair[1])));
        let hours = flows.hours(&["a", "b"]).unwrap();
        assert_eq!(hours.len(), 5);
        assert!(hours.iter().all(|hour| hour.packets == [28, 14] && hour.bytes == [2_800, 1_400]));
        assert_eq!(flows.hours(&["nobody"]).unwrap(), []);
    }

    #[test]
    fn a_device_has_so_many_rows_in_an_hour_and_the_sum_of_the_rest() {
        let flows = Flows::memory(10_000).unwrap();
        let all: Vec<Flow> = (0..1_000).map(|port| flow("scanner", NOW, port)).collect();
        flows.add("w1", (1, 1), &all, NOW).unwrap();
        flows.add("w1", (1, 2), &all, NOW).unwrap();
        let page = flows.page(&["scanner"], None, 1_000).unwrap();
        assert_eq!((page.len(), flows.rows()), (PATHS_MAX + 1, PATHS_MAX as u64 + 1));
        let rest = page.iter().find(|flow| flow.key.address.is_empty()).unwrap();
        assert_eq!(rest.flows, 2 * (1_000 - PATHS_MAX as u64));
        assert_eq!(flows.hours(&["scanner"]).unwrap()[0].packets, [4_000, 2_000]);
    }

    #[test]
    fn what_is_too_old_goes_and_the_oldest_when_there_are_too_many() {
        let flows = Flows::memory(1_000).unwrap();
        flows.add("w1", (1, 1), &[flow("cam", NOW - HOURS_MAX, 1)], NOW).unwrap();
        assert_eq!(flows.rows(), 1);
        flows.add("w1", (1, 2), &[flow("cam", NOW + 1, 1)], NOW + 1).unwrap();
        assert_eq!(flows.rows(), 1);
        let of = |device: i64, hour| flow(&format!("dev-{device}"), hour, 1);
        for hour in 1..=20 {
            let all: Vec<Flow> = (0..100).map(|device| of(device, NOW + hour)).collect();
            let number = 2 + hour.unsigned_abs();
            flows.add("w1", (1, number), &all, NOW + hour).unwrap();
            assert!(flows.rows() <= 1_000, "{}", flows.rows());
        }
        let hours: Vec<i64> = flows.hours(&["dev-3"]).unwrap().iter().map(|h| h.hour).collect();
        assert_eq!(hours.last(), Some(&(NOW + 20)));
        assert!(hours.len() >= 8, "{hours:?}");
        // However many talk in one hour, each has a sum.
        let all: Vec<Flow> = (0..2_000)
            .flat_map(|n| [of(n, NOW + 21), flow(&format!("dev-{n}"), NOW + 21, 2)])
            .collect();
        flows.add("w1", (1, 99), &all, NOW + 21).unwrap();
        assert!(flows.rows() <= 1_000 + 2_000, "{}", flows.rows());
        assert_eq!(flows.hours(&["dev-1999"]).unwrap()[0].packets, [4, 2]);
    }

    #[test]
    fn they_are_there_after_a_restart_and_no_count_overflows() {
        let path = std::env::temp_dir().join(format!("ringfence-flows-{}.db", std::process::id()));
        let huge = Flow { bytes: [u64::MAX; 2], ..flow("cam", NOW, 1) };
        {
            let flows = Flows::open(&path).unwrap();
            flows.add("w1", (1, 1), &vec![huge; 100], NOW).unwrap();
        }
        let flows = Flows::open(&path).unwrap();
        flows.add("w1", (1, 1), &[flow("cam", NOW, 2)], NOW).unwrap();
        assert_eq!((flows.rows(), flows.page(&["cam"], None, 9).unwrap().len()), (1, 1));
        assert!(flows.hours(&["cam"]).unwrap()[0].bytes[0] > 1 << 52);
        drop(flows);
        for suffix in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{suffix}", path.display()));
        }
    }
}

//! The report as documents for programs, written while its devices are made: nobody holds all of them.

use std::cell::RefCell;
use std::io::{self, Write};

use model::inspect::{Device, Finding, Report, Status};
use policy::draft::{DraftOptions, Roster, draft_of};
use serde::ser::{Error as _, SerializeSeq as _, SerializeStruct as _};
use serde::{Serialize, Serializer};

use super::{Read, close};

/// Writes the whole document. The findings are there however far the writing got.
pub(super) fn json(
    out: &mut impl Write,
    read: Read<'_>,
    options: &DraftOptions,
) -> (io::Result<()>, Vec<Finding>) {
    let report = RefCell::new(read.report());
    let document = Document { report, read: RefCell::new(Some(read)), options };
    let written = serde_json::to_writer_pretty(&mut *out, &document)
        .map_err(io::Error::from)
        .and_then(|()| writeln!(out));
    (written, document.report.into_inner().findings)
}

/// Writes one line for each device.
pub(super) fn jsonl(out: &mut impl Write, mut read: Read<'_>) -> (io::Result<()>, Vec<Finding>) {
    let mut written = Ok(());
    let mut line = Vec::new();
    let resolved = read.resolve_each(&mut |device| {
        if written.is_ok() {
            line.clear();
            written =
                serde_json::to_writer(&mut line, &device).map_err(io::Error::from).and_then(|()| {
                    line.push(b'\n');
                    out.write_all(&line)
                });
        }
    });
    (written, resolved.findings)
}

/// A [`Report`] whose devices are made while it is written, and the rest after them.
struct Document<'d> {
    /// Without devices.
    report: RefCell<Report>,
    read: RefCell<Option<Read<'d>>>,
    options: &'d DraftOptions,
}

impl Serialize for Document<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut document = serializer.serialize_struct("Report", 8)?;
        {
            let report = self.report.borrow();
            document.serialize_field("schema", &report.schema)?;
            document.serialize_field("inputs", &report.inputs)?;
            document.serialize_field("span", &report.span)?;
        }
        document.serialize_field("devices", &Devices(self))?;
        let report = self.report.borrow();
        document.serialize_field("services", &report.services)?;
        document.serialize_field("conduits", &report.conduits)?;
        document.serialize_field("findings", &report.findings)?;
        document.serialize_field("reach", &report.reach)?;
        document.end()
    }
}

struct Devices<'a, 'd>(&'a Document<'d>);

impl Serialize for Devices<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Some(mut read) = self.0.read.take() else {
            return Err(S::Error::custom("this document can be written once only"));
        };
        let mut list = serializer.serialize_seq(None)?;
        let mut written = Ok(());
        let mut roster = Roster::default();
        let resolved = read.resolve_each(&mut |device: Device| {
            if written.is_ok() {
                written = list.serialize_element(&device);
            }
            // Strays are in the document, but have no part in policy and reach.
            if device.status == Status::Confirmed {
                roster.add(&device);
            }
        });
        // What is not needed any more makes room for what comes next.
        drop(read);
        let mut report = self.0.report.borrow_mut();
        report.services = resolved.services;
        report.conduits = resolved.conduits;
        report.findings = resolved.findings;
        written?;
        let draft = draft_of(roster, &report, self.0.options);
        close(&mut report, &draft);
        list.end()
    }
}

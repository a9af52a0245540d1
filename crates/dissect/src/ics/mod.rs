//! Industrial and building automation.

mod ads;
mod bacnet;
mod bacnet_apdu;
mod bacnet_names;
mod cip;
mod cip_names;
mod cip_path;
mod codesys;
mod cotp;
mod dnp3;
mod enip;
mod fieldbus;
mod fins;
mod fox;
mod hart;
mod iec104;
mod knx;
mod makers;
mod mms;
mod modbus;
mod opcua;
mod pccc;
mod phoenix;
mod pnio;
mod s7;
mod s7plus;
mod slmp;
mod umas;
mod wire;

use crate::fields::Field;
use crate::registry::{Datagram, Frame, LinkKey, Stream};

/// One table per dissector.
const FIELD_TABLES: &[&[Field]] = &[
    modbus::FIELDS,
    umas::FIELDS,
    enip::FIELDS,
    cip::FIELDS,
    pccc::FIELDS,
    cotp::FIELDS,
    s7::FIELDS,
    mms::FIELDS,
    bacnet::FIELDS,
    ads::FIELDS,
    hart::FIELDS,
    knx::FIELDS,
    iec104::FIELDS,
    dnp3::FIELDS,
    opcua::FIELDS,
    pnio::FIELDS,
    fins::FIELDS,
    slmp::FIELDS,
    fox::FIELDS,
    phoenix::FIELDS,
    codesys::FIELDS,
    makers::FIELDS,
    fieldbus::FIELDS,
];

const FIELD_COUNT: usize = {
    let (mut count, mut table) = (0, FIELD_TABLES);
    while let [first, rest @ ..] = table {
        count += first.len();
        table = rest;
    }
    count
};

/// Field names of this group.
pub(crate) const FIELDS: &[Field] = &{
    let mut all = [crate::fields::field("", ""); FIELD_COUNT];
    let (mut at, mut table) = (0, FIELD_TABLES);
    while let [first, rest @ ..] = table {
        let (_, tail) = all.split_at_mut(at);
        let (head, _) = tail.split_at_mut(first.len());
        head.copy_from_slice(first);
        at += first.len();
        table = rest;
    }
    all
};

/// Link-layer protocols of this group.
pub(crate) const FRAMES: &[Frame] = &[
    Frame { name: "BACnet", key: &[LinkKey::Llc(0x82)], run: bacnet::frame },
    Frame { name: "BACnet MS/TP", key: &[LinkKey::Snap(0x00_1090, 1)], run: bacnet::mstp },
    Frame { name: "EtherCAT", key: &[LinkKey::EtherType(0x88a4)], run: fieldbus::ethercat },
    Frame { name: "POWERLINK", key: &[LinkKey::EtherType(0x88ab)], run: fieldbus::powerlink },
];

/// Datagram protocols of this group.
pub(crate) const DATAGRAMS: &[Datagram] = &[
    Datagram {
        name: "BACnet/IP",
        ports: bacnet::PORTS,
        probe: Some(bacnet::probe),
        run: bacnet::datagram,
    },
    Datagram { name: "Modbus/UDP", ports: modbus::PORTS, probe: None, run: modbus::datagram },
    Datagram { name: "EtherNet/IP", ports: enip::PORTS, probe: None, run: enip::datagram },
    Datagram { name: "CIP I/O", ports: enip::IO_PORTS, probe: None, run: enip::io },
    Datagram {
        name: "KNXnet/IP",
        ports: knx::PORTS,
        probe: Some(knx::probe_datagram),
        run: knx::datagram,
    },
    Datagram {
        name: "PROFINET CM",
        ports: pnio::PORTS,
        probe: Some(pnio::probe),
        run: pnio::datagram,
    },
    Datagram { name: "HART-IP", ports: hart::PORTS, probe: None, run: hart::datagram },
    Datagram {
        name: "ADS discovery",
        ports: ads::DISCOVERY_PORTS,
        probe: None,
        run: ads::discovery,
    },
    Datagram {
        name: "DNP3",
        ports: dnp3::PORTS,
        probe: Some(dnp3::probe_datagram),
        run: dnp3::datagram,
    },
    Datagram { name: "FINS", ports: fins::PORTS, probe: None, run: fins::datagram },
    Datagram { name: "SLMP", ports: slmp::PORTS, probe: None, run: slmp::datagram },
    Datagram {
        name: "CODESYS",
        ports: codesys::V3_DATAGRAM_PORTS,
        probe: None,
        run: codesys::datagram,
    },
    Datagram { name: "ECOM", ports: makers::ECOM_PORTS, probe: None, run: makers::ecom },
];

/// Shorthand for the table below.
const fn stream(
    name: &'static str,
    ports: &'static [u16],
    probe: fn(&[u8]) -> crate::Probe,
    run: fn(&[u8], &crate::Ctx, &mut dyn crate::Sink) -> crate::Step,
) -> Stream {
    Stream { name, ports, probe, run }
}

/// Stream protocols of this group.
pub(crate) const STREAMS: &[Stream] = &[
    stream("Modbus/TCP", modbus::PORTS, modbus::probe, modbus::run),
    stream("EtherNet/IP", enip::PORTS, enip::probe, enip::run),
    stream("S7/MMS", cotp::PORTS, cotp::probe, cotp::run),
    stream("ADS", ads::PORTS, ads::probe, ads::run),
    stream("HART-IP", hart::PORTS, hart::probe, hart::run),
    stream("KNXnet/IP", knx::PORTS, knx::probe, knx::run),
    stream("IEC 104", iec104::PORTS, iec104::probe, iec104::run),
    stream("DNP3", dnp3::PORTS, dnp3::probe, dnp3::run),
    stream("OPC UA", opcua::PORTS, opcua::probe, opcua::run),
    stream("FINS", fins::PORTS, fins::probe, fins::run),
    stream("SLMP", slmp::PORTS, slmp::probe, slmp::run),
    stream("Niagara Fox", fox::PORTS, fox::probe, fox::run),
    stream("PC Worx", phoenix::PCWORX_PORTS, phoenix::probe_pcworx, phoenix::pcworx),
    stream("ProConOS", phoenix::PROCONOS_PORTS, phoenix::probe_proconos, phoenix::proconos),
    stream("CODESYS", codesys::V3_PORTS, codesys::probe_v3, codesys::v3),
    stream("CODESYS V2", codesys::V2_PORTS, codesys::probe_v2, codesys::v2),
    stream("Crimson", makers::CRIMSON_PORTS, makers::probe_crimson, makers::crimson),
    stream("FOCAS", makers::FOCAS_PORTS, makers::probe_focas, makers::focas),
    stream("SRTP", makers::SRTP_PORTS, makers::probe_srtp, makers::srtp),
    stream("ROC", makers::ROC_PORTS, makers::probe_roc, makers::roc),
    stream("ATG", makers::ATG_PORTS, makers::probe_atg, makers::atg),
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{Recorder, ctx, run_stream};
    use crate::{Role, Step};

    /// Everything of this group sees the bytes from both sides.
    fn feed(bytes: &[u8]) -> Recorder {
        let mut facts = Recorder::default();
        for frame in FRAMES {
            let _ = (frame.run)(bytes, &ctx(0, 0, Role::Unknown), &mut facts);
        }
        for datagram in DATAGRAMS {
            let port = datagram.ports[0];
            if let Some(probe) = datagram.probe {
                probe(bytes);
            }
            let _ = (datagram.run)(bytes, &ctx(50_000, port, Role::Client), &mut facts);
            let _ = (datagram.run)(bytes, &ctx(port, 50_000, Role::Server), &mut facts);
        }
        for stream in STREAMS {
            let port = stream.ports[0];
            (stream.probe)(bytes);
            for ctx in [ctx(50_000, port, Role::Client), ctx(port, 50_000, Role::Server)] {
                let step = run_stream(stream.run, bytes, &ctx, &mut facts);
                assert!(step != Step::Consumed(0), "{} stands still", stream.name);
            }
        }
        facts
    }

    /// Beginnings that lead deep into the dissectors.
    const HEADS: &[&[u8]] = &[
        b"",
        b"\0\x01\0\0\0\x20\x01\x2b\x0e\x01\x01\0\0\x03",
        b"\0\x01\0\0\0\x20\0\x5a\0\xfe",
        b"\x63\0\x30\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\x0c\0",
        b"\x6f\0\x30\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x02\0\0\0\0\0\xb2\0\x20\0",
        b"\x03\0\0\x40\x02\xf0\x80\x32\x07\0\0\0\0\0\x0c\0\x20\0\x01\x12\x08\x12\x84\x01",
        b"\x03\0\0\x40\x02\xf0\x80\x72\x01\0\x20",
        b"\x03\0\0\x40\x02\xf0\x80\x01\0\x01\0\x61\x30\x30\x2e\x02\x01\x03\xa0\x29\xa1",
        b"\x81\x0a\0\x20\x01\0\x30\x01\x0e\x0c\x02\0\0\x07\x1e",
        b"\x81\x0b\0\x20\x01\x28\xff\xff\0\x65\x91\x01\x72\xfe\x10\0",
        b"\x03\x66\x14\x71\0\0\0\0\x01\0\0\x80",
        b"\x01\x01\x03\0\0\x01\0\x30\x86\x26\x4e\0\0\xd2",
        b"\x06\x10\x02\x02\0\x4e\x08\x01\xc0\0\x02\x01\x0e\x57\x36\x01",
        b"\x68\x0e\0\0\0\0\x01",
        b"MSGF\x40\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\xaf\x01",
        b"OPNF\x40\0\0\0\0\0\0\0",
        b"FINS\0\0\0\x20\0\0\0\x02\0\0\0\0\xc0\0\x02\0\x0a\0\0\x01\0\0\x05\x01",
        b"\xd0\0\0\xff\xff\x03\0\x14\0\0\0",
        b"fox a 0 -1 fox hello\n{\n",
        b"\xc5\x6b\x40\x04",
        b"\x06\xf0\x07\x01",
    ];

    proptest! {
        #[test]
        fn no_bytes_stop_a_dissector(
            head in prop::sample::select(HEADS),
            tail in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let bytes = [head, &tail].concat();
            let facts = feed(&bytes);
            for line in &facts.lines {
                prop_assert!(!line.chars().any(char::is_control), "{line:?}");
            }
        }

        #[test]
        fn fields_are_in_the_catalogue(
            head in prop::sample::select(HEADS),
            tail in prop::collection::vec(any::<u8>(), 0..80),
        ) {
            for line in feed(&[head, &tail].concat()).lines {
                let Some((_, said)) = line.split_once(" says ") else { continue };
                let name = said.split(' ').next().unwrap_or_default();
                prop_assert!(FIELDS.iter().any(|f| f.name == name), "{name}");
            }
        }
    }
}

//! A real TPM 2.0 (in software) against the verifier, with other people's tools in between.

use crypto::{PrivateKey, Provider};
use model::Timestamp;
use pki::path::Refusal;
use pki::tpm::{
    AttestationKey, Backwards, Confirmed, Demand, EndorsementKey, EventKind, Log, NoQuote,
    NotCertified, NotEndorsed, NotMeasured, Pcrs, Quote, Reference, Selection, Unfit, Untrue,
    binding, certify, challenge, endorsed, measured, quote, since, write_log,
};
use pki::{Certificate, Digest, Key, KeyKind, Verifier};

use crate::estate::now;
use crate::swtpm::{P384_HANDLE, RESTRICTED, Tpm, need};

const AK: &str = "0x81020001";
/// Where swtpm keeps what a manufacturer puts into it: an RSA and a P-384 endorsement key.
const RSA: [&str; 2] = ["0x81010001", "0x1c00002"];
const P384: [&str; 2] = [P384_HANDLE, "0x1c00016"];

fn selection() -> Selection {
    Selection::of(Digest::Sha256, [0, 1, 4, 7])
}

/// Asks for a quote and leaves it in three files; what the PCRs were stands beside it.
fn ask(tpm: &Tpm, nonce: &[u8], banks: &str, scheme: &str) {
    let nonce: String = nonce.iter().map(|b| format!("{b:02x}")).collect();
    tpm.tool(&[
        "quote",
        "-c",
        AK,
        "-l",
        banks,
        "-q",
        &nonce,
        "-m",
        "quote",
        "-s",
        "quote.sig",
        "-o",
        "quote.pcrs",
        "-F",
        "values",
        "-g",
        "sha256",
        "--scheme",
        scheme,
    ]);
}

fn answer(
    tpm: &Tpm,
    key: &AttestationKey,
    nonce: &[u8],
    selection: &Selection,
) -> Result<(Quote, Confirmed), NoQuote> {
    let pcrs = Pcrs::new(selection.clone(), &tpm.read("quote.pcrs")).unwrap();
    let demand = Demand { nonce, selection };
    let (attest, signature) = (tpm.read("quote"), tpm.read("quote.sig"));
    quote(&attest, &signature, pcrs, key, &demand, &Provider)
}

fn fresh() -> [u8; 32] {
    let mut nonce = [0; 32];
    crypto::random(&mut nonce).unwrap();
    nonce
}

#[test]
fn a_manufacturer_vouches_for_a_real_tpm() {
    if !need("a_manufacturer_vouches_for_a_real_tpm") {
        return;
    }
    let tpm = Tpm::new("endorsed");
    let (roots, between) = tpm.manufacturer();
    let check = |key: &EndorsementKey, certificate: &Certificate, roots: &[Certificate], at| {
        endorsed(key.clone(), certificate, &between, roots, at, &Provider)
    };
    let mut keys = Vec::new();
    for [handle, index] in [RSA, P384] {
        let (key, certificate) = (tpm.endorsement_key(handle), tpm.certificate(index));
        let good = check(&key, &certificate, &roots, now()).unwrap();
        assert_eq!(good.model.manufacturer, "id:00001014");
        assert_eq!(good.model.model, "swtpm");
        assert!(good.model.version.starts_with("id:"), "{:?}", good.model);
        assert_eq!(good.issuers, ["CN=swtpm-localca", "CN=swtpm-localca-rootca"]);
        let unknown = check(&key, &certificate, &[], now());
        assert!(matches!(unknown, Err(NotEndorsed::Path(Refusal::UnknownAnchor { .. }))));
        let early = check(&key, &certificate, &roots, Timestamp::EPOCH);
        assert!(matches!(early, Err(NotEndorsed::Path(Refusal::NotYetValid { .. }))), "{early:?}");
        keys.push((key, certificate));
    }
    // Another key of the same TPM, a manufacturer's own certificate, and another TPM's.
    assert_eq!(check(&keys[0].0, &keys[1].1, &roots, now()), Err(NotEndorsed::OtherKey));
    let purpose = check(&keys[0].0, &between[0], &roots, now());
    assert!(matches!(purpose, Err(NotEndorsed::Path(Refusal::Purpose { .. }))), "{purpose:?}");
    let other = Tpm::new("endorsed-other");
    let foreign = check(&keys[0].0, &other.certificate(RSA[1]), &roots, now()).unwrap_err();
    // Its manufacturer has the same name and another key.
    assert!(matches!(foreign, NotEndorsed::Path(_)), "{foreign:?}");
    // Any bit of a certificate.
    let der = keys[1].1.der();
    for bit in (0..der.len() * 8).step_by(41) {
        let mut turned = der.to_vec();
        turned[bit / 8] ^= 1 << (bit % 8);
        let read = Certificate::from_der(&turned);
        assert!(
            read.is_err() || check(&keys[1].0, &read.unwrap(), &roots, now()).is_err(),
            "{bit}"
        );
    }
}

/// What TPM2_ActivateCredential makes of a challenge.
fn activate(tpm: &Tpm, blob: &[u8], seed: &[u8], session: bool) -> Result<Vec<u8>, String> {
    let file = [&[0xba, 0xdc, 0xc0, 0xde, 0, 0, 0, 1][..], blob, seed].concat();
    tpm.put("challenge", &file);
    let ek = tpm.ek();
    let mut arguments =
        vec!["activatecredential", "-c", AK, "-C", &ek, "-i", "challenge", "-o", "secret"];
    if session {
        tpm.tool(&["startauthsession", "--policy-session", "-S", "session.ctx"]);
        tpm.tool(&["policysecret", "-S", "session.ctx", "-c", "e"]);
        arguments.extend(["-P", "session:session.ctx"]);
    }
    let said = tpm.attempt(&arguments);
    if session {
        tpm.tool(&["flushcontext", "session.ctx"]);
    }
    said.map(|_| tpm.read("secret"))
}

#[test]
fn a_real_tpm_opens_our_challenge_and_no_other_does() {
    if !need("a_real_tpm_opens_our_challenge_and_no_other_does") {
        return;
    }
    let tpm = Tpm::new("challenge");
    let other = Tpm::new("challenge-other");
    // The P-384 key may be used with a password; what the low range asks for is a session.
    for (which, session) in [(RSA[0], true), ("rsa", true), ("ecc", true), (P384[0], false)] {
        let endorsement = tpm.endorsement_key(which);
        let key = tpm.attestation_key(["ecc", "ecdsa"], AK);
        assert_eq!(key.name().as_bytes(), tpm.read("ak.name"));
        let secret = fresh();
        let sealed = challenge(&endorsement, key.name(), &secret, &Provider).unwrap();
        assert_eq!(activate(&tpm, &sealed.blob, &sealed.seed, session).unwrap(), secret, "{which}");
        let again = challenge(&endorsement, key.name(), &secret, &Provider).unwrap();
        assert!(again.blob != sealed.blob && again.seed != sealed.seed, "nothing is used twice");
        // Shorter secrets fit, too.
        let short = challenge(&endorsement, key.name(), &secret[..16], &Provider).unwrap();
        assert_eq!(activate(&tpm, &short.blob, &short.seed, session).unwrap(), &secret[..16]);
        for size in [0, 15, 49] {
            assert!(challenge(&endorsement, key.name(), &vec![7; size], &Provider).is_err());
        }
        // Any changed byte, and another key's name.
        for at in [2, 20, 40, sealed.blob.len() - 1] {
            let mut turned = sealed.blob.clone();
            turned[at] ^= 1;
            assert!(activate(&tpm, &turned, &sealed.seed, session).is_err(), "{which} {at}");
        }
        let mut turned = sealed.seed.clone();
        *turned.last_mut().unwrap() ^= 1;
        assert!(activate(&tpm, &sealed.blob, &turned, session).is_err(), "{which}");
        let wrong = challenge(&endorsement, endorsement.name(), &secret, &Provider).unwrap();
        assert!(activate(&tpm, &wrong.blob, &wrong.seed, session).is_err(), "{which}");
        // Another TPM, whose attestation key has another name, and whose endorsement key is another one.
        other.endorsement_key(which);
        other.attestation_key(["ecc", "ecdsa"], AK);
        assert!(activate(&other, &sealed.blob, &sealed.seed, session).is_err(), "{which}");
    }
}

#[test]
fn quotes_of_a_real_tpm() {
    if !need("quotes_of_a_real_tpm") {
        return;
    }
    let tpm = Tpm::new("quotes");
    let endorsement = tpm.endorsement_key(RSA[0]);
    let device = PrivateKey::generate(KeyKind::P256).unwrap().0.public();
    let selection = selection();
    let kinds = [["rsa", "rsassa"], ["rsa", "rsapss"], ["ecc", "ecdsa"]];
    for kind in kinds {
        let key = tpm.attestation_key(kind, AK).below(&endorsement, &Provider);
        let nonce = binding(&fresh(), b"exported", &device, &Provider);
        ask(&tpm, &nonce, "sha256:0,1,4,7", kind[1]);
        let (first, _) =
            answer(&tpm, &key, &nonce, &selection).unwrap_or_else(|e| panic!("{kind:?}: {e}"));
        assert_eq!(Some(&first.signer), key.qualified());
        // An old one, one of another connection, and one of another key.
        for other in [
            fresh(),
            binding(&nonce, b"of another", &device, &Provider),
            binding(&nonce, b"exported", endorsement_as_device(&endorsement), &Provider),
        ] {
            let refused = answer(&tpm, &key, &other, &selection);
            assert_eq!(refused, Err(NoQuote::Untrue(Untrue::OtherNonce)));
        }
        assert_eq!(answer(&tpm, &key, &[], &selection), Err(NoQuote::Untrue(Untrue::OtherNonce)));
        tpm.wait();
        let next = fresh();
        ask(&tpm, &next, "sha256:0,1,4,7", kind[1]);
        let (second, _) = answer(&tpm, &key, &next, &selection).unwrap();
        assert_eq!(since(&first, &second), Ok(pki::tpm::Since::default()));
        assert!(since(&second, &first).is_err(), "the clock goes on");
        // What came along is changed, or of other registers.
        let mut values = tpm.read("quote.pcrs");
        values[127] ^= 1;
        tpm.put("quote.pcrs", &values);
        assert_eq!(answer(&tpm, &key, &next, &selection), Err(NoQuote::Digest));
        for other in ["sha256:0,1,4", "sha256:0,1,4,8", "sha384:0,1,4,7"] {
            ask(&tpm, &next, other, kind[1]);
            tpm.put("quote.pcrs", &[0; 128]);
            assert_eq!(answer(&tpm, &key, &next, &selection), Err(NoQuote::OtherSelection));
        }
        // Another key of the same TPM signs.
        ask(&tpm, &next, "sha256:0,1,4,7", kind[1]);
        let (attest, signature) = (tpm.read("quote"), tpm.read("quote.sig"));
        let other = tpm.attestation_key(kind, AK).below(&endorsement, &Provider);
        tpm.put("quote", &attest);
        tpm.put("quote.sig", &signature);
        assert!(answer(&tpm, &key, &next, &selection).is_ok());
        assert_eq!(
            answer(&tpm, &other, &next, &selection).map(|_| ()),
            Err(NoQuote::Untrue(Untrue::Signature))
        );
    }
    // One key that signs in one way only.
    let key = AttestationKey::read(&tpm.read("ak.pub"), &Provider).unwrap();
    let mut signature = tpm.read("quote.sig");
    signature[1] = 0x16;
    tpm.put("quote.sig", &signature);
    let nonce = fresh();
    assert!(matches!(
        answer(&tpm, &key, &nonce, &selection),
        Err(NoQuote::Untrue(Untrue::Malformed(_) | Untrue::OtherScheme { .. }))
    ));
    // A key that stands elsewhere: directly in the hierarchy of the owner.
    tpm.tool(&[
        "createprimary",
        "-C",
        "o",
        "-c",
        "prim.ctx",
        "-G",
        "ecc256:ecdsa-sha256:null",
        "-a",
        RESTRICTED,
    ]);
    tpm.tool(&["evictcontrol", "-C", "o", "-c", AK]);
    tpm.tool(&["evictcontrol", "-C", "o", "-c", "prim.ctx", AK]);
    tpm.tool(&["readpublic", "-c", AK, "-f", "tpmt", "-o", "ak.pub"]);
    let key = AttestationKey::read(&tpm.read("ak.pub"), &Provider).unwrap();
    ask(&tpm, &nonce, "sha256:0,1,4,7", "ecdsa");
    assert!(answer(&tpm, &key, &nonce, &selection).is_ok());
    let below = key.below(&endorsement, &Provider);
    assert!(matches!(
        answer(&tpm, &below, &nonce, &selection),
        Err(NoQuote::Untrue(Untrue::OtherSigner { .. }))
    ));
}

fn endorsement_as_device(key: &EndorsementKey) -> &Key {
    &key.public().key
}

#[test]
fn a_real_tpm_is_booted_and_rolled_back() {
    if !need("a_real_tpm_is_booted_and_rolled_back") {
        return;
    }
    let mut tpm = Tpm::new("rollback");
    let endorsement = tpm.endorsement_key(RSA[0]);
    let key = tpm.attestation_key(["ecc", "ecdsa"], AK).below(&endorsement, &Provider);
    let selection = selection();
    let take = |tpm: &Tpm| {
        let nonce = fresh();
        ask(tpm, &nonce, "sha256:0,1,4,7", "ecdsa");
        answer(tpm, &key, &nonce, &selection).unwrap().0
    };
    let first = take(&tpm);
    tpm.power_off(true);
    tpm.copy_state("state", "copy");
    tpm.power_on();
    let second = take(&tpm);
    let rebooted = pki::tpm::Since { rebooted: true, ..Default::default() };
    assert_eq!(since(&first, &second), Ok(rebooted));
    assert!(second.clock.safe);
    // Power is lost: the TPM says that it is not sure of its clock.
    tpm.power_off(false);
    tpm.power_on();
    let third = take(&tpm);
    assert!(!third.clock.safe);
    assert_eq!(since(&second, &third), Ok(rebooted));
    // The copy is put back.
    tpm.power_off(true);
    tpm.copy_state("copy", "state");
    tpm.power_on();
    let rolled_back = take(&tpm);
    let (last, now) = (third.clock.resets, rolled_back.clock.resets);
    assert!(now < last, "{now} {last}");
    assert_eq!(since(&third, &rolled_back), Err(Backwards::Resets { last, now }));
}

/// What the tools ask to be in every certification; they let nobody choose.
const CERTIFY_NONCE: [u8; 4] = [0x00, 0xff, 0x55, 0xaa];

#[test]
fn a_real_tpm_certifies_a_key_for_tls() {
    if !need("a_real_tpm_certifies_a_key_for_tls") {
        return;
    }
    let tpm = Tpm::new("certify");
    let endorsement = tpm.endorsement_key(RSA[0]);
    let key = tpm.attestation_key(["ecc", "ecdsa"], AK).below(&endorsement, &Provider);
    tpm.tool(&["createprimary", "-C", "o", "-c", "prim.ctx", "-G", "ecc"]);
    let resident = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|sign";
    let make = |kind: &str, attributes: &str, name: &str| -> Key {
        let (public, private) = (format!("{name}.pub"), format!("{name}.priv"));
        let context = format!("{name}.ctx");
        tpm.tool(&[
            "create", "-C", "prim.ctx", "-G", kind, "-u", &public, "-r", &private, "-c", &context,
            "-a", attributes,
        ]);
        tpm.tool(&["readpublic", "-c", &context, "-f", "tpmt", "-o", &format!("{name}.tpmt")]);
        // The same, as the tools write it to a file: with its length.
        let sized = pki::tpm::Public::read_sized(&tpm.read(&public)).unwrap();
        assert_eq!(sized.write(), tpm.read(&format!("{name}.tpmt")));
        tpm.tool(&[
            "certify",
            "-c",
            &context,
            "-C",
            AK,
            "-g",
            "sha256",
            "-o",
            &format!("{name}.attest"),
            "-s",
            &format!("{name}.sig"),
        ]);
        sized.key
    };
    let check = |attest: &str, public: &str, requested: &Key, nonce: &[u8]| {
        let (attest, signature) =
            (tpm.read(&format!("{attest}.attest")), tpm.read(&format!("{attest}.sig")));
        let public = tpm.read(&format!("{public}.tpmt"));
        certify(&attest, &signature, &public, requested, &key, nonce, &Provider)
    };
    for kind in ["ecc256:ecdsa-sha256", "ecc384:ecdsa-sha384", "rsa2048:rsassa-sha256", "ecc256"] {
        let device = make(kind, resident, "device");
        let certified = check("device", "device", &device, &CERTIFY_NONCE).unwrap();
        assert_eq!(certified.key, device);
        let other = PrivateKey::generate(KeyKind::P256).unwrap().0.public();
        assert_eq!(check("device", "device", &other, &CERTIFY_NONCE), Err(NotCertified::OtherKey));
        assert_eq!(
            check("device", "device", &device, &[0, 0xff, 0x55]),
            Err(NotCertified::Untrue(Untrue::OtherNonce))
        );
    }
    let device = make("ecc256:ecdsa-sha256", resident, "device");
    let second = make("ecc256:ecdsa-sha256", resident, "second");
    assert!(matches!(
        check("device", "second", &second, &CERTIFY_NONCE),
        Err(NotCertified::OtherName { .. })
    ));
    // A key that may leave, one that somebody else made, one that signs only what the TPM says, one that does not sign.
    let movable = make("ecc256:ecdsa-sha256", "sensitivedataorigin|userwithauth|sign", "movable");
    let unfit = |name: &str, key: &Key| match check(name, name, key, &CERTIFY_NONCE) {
        Err(NotCertified::Unfit(unfit)) => unfit,
        other => panic!("{other:?}"),
    };
    let lacks = |attribute| Unfit::Lacks { what: "key for TLS", attribute };
    assert_eq!(unfit("movable", &movable), lacks("fixedTPM"));
    let restricted = make("ecc256:ecdsa-sha256:null", RESTRICTED, "restricted");
    let has = Unfit::Has { what: "key for TLS", attribute: "restricted" };
    assert_eq!(unfit("restricted", &restricted), has);
    let imported = import(&tpm);
    assert_eq!(unfit("imported", &imported), lacks("fixedTPM"));
    // A quote is no certification, and the other way round.
    let nonce = fresh();
    ask(&tpm, &nonce, "sha256:0,1,4,7", "ecdsa");
    let public = tpm.read("device.tpmt");
    let (attest, signature) = (tpm.read("quote"), tpm.read("quote.sig"));
    let quoted = certify(&attest, &signature, &public, &device, &key, &nonce, &Provider);
    assert_eq!(quoted, Err(NotCertified::OtherKind));
    tpm.put("quote", &tpm.read("device.attest"));
    tpm.put("quote.sig", &tpm.read("device.sig"));
    let certified = answer(&tpm, &key, &CERTIFY_NONCE, &selection());
    assert_eq!(certified.map(|_| ()), Err(NoQuote::OtherKind));
}

/// Puts a key that was made elsewhere into the TPM, and has it certified.
fn import(tpm: &Tpm) -> Key {
    let (_, pem) = PrivateKey::generate(KeyKind::P256).unwrap();
    tpm.put("imported.pem", pem.as_bytes());
    tpm.tool(&[
        "import",
        "-C",
        "prim.ctx",
        "-G",
        "ecc",
        "-i",
        "imported.pem",
        "-u",
        "imported.pub",
        "-r",
        "imported.priv",
        "-a",
        "userwithauth|sign",
    ]);
    tpm.tool(&[
        "load",
        "-C",
        "prim.ctx",
        "-u",
        "imported.pub",
        "-r",
        "imported.priv",
        "-c",
        "imported.ctx",
    ]);
    tpm.tool(&["readpublic", "-c", "imported.ctx", "-f", "tpmt", "-o", "imported.tpmt"]);
    tpm.tool(&[
        "certify",
        "-c",
        "imported.ctx",
        "-C",
        AK,
        "-g",
        "sha256",
        "-o",
        "imported.attest",
        "-s",
        "imported.sig",
    ]);
    PrivateKey::from_pem(pem.as_bytes()).unwrap().public()
}

#[test]
fn a_boot_is_measured_by_a_real_tpm() {
    if !need("a_boot_is_measured_by_a_real_tpm") {
        return;
    }
    let tpm = Tpm::new("measured");
    let endorsement = tpm.endorsement_key(RSA[0]);
    let key = tpm.attestation_key(["ecc", "ecdsa"], AK).below(&endorsement, &Provider);
    let banks = [Digest::Sha256, Digest::Sha384];
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let extend = |pcr: u8, data: &[u8]| {
        let digest = |bank| hex(&Provider.digest(bank, data));
        let (two, three) = (digest(banks[0]), digest(banks[1]));
        tpm.tool(&["pcrextend", &format!("{pcr}:sha256={two},sha384={three}")]);
    };
    let boot: [(u8, EventKind, &[u8]); 6] = [
        (0, EventKind(8), b"firmware 1.2"),
        (7, EventKind(0x8000_0007), b"SecureBoot"),
        (0, EventKind::SEPARATOR, &[0; 4]),
        (1, EventKind::SEPARATOR, &[0; 4]),
        (4, EventKind(0x01), b"boot loader"),
        (9, EventKind(0x0d), b"kernel"),
    ];
    boot.iter().for_each(|(pcr, _, data)| extend(*pcr, data));
    let bytes = write_log(&banks, 0, &boot, &Provider);
    let log = Log::read(&bytes).unwrap();
    // The tools come to the same registers from our log.
    tpm.put("log", &bytes);
    let shown = tpm.tool(&["eventlog", "log"]);
    for bank in banks {
        let registers = log.replay(bank, &Provider).unwrap();
        for pcr in [0, 1, 4, 7, 9] {
            assert!(shown.contains(&hex(&registers[pcr])), "PCR {pcr} in\n{shown}");
        }
    }
    let selection = Selection::of(Digest::Sha256, [0, 1, 4, 7]).and(Digest::Sha384, [4]);
    let take = || {
        let nonce = fresh();
        ask(&tpm, &nonce, "sha256:0,1,4,7+sha384:4", "ecdsa");
        answer(&tpm, &key, &nonce, &selection).unwrap().1
    };
    let mut reference = Reference::new(Digest::Sha256);
    assert_eq!(measured(&log, &take(), &reference, &Provider), Err(NotMeasured::NoReference));
    let digest = |data: &[u8]| Provider.digest(Digest::Sha256, data);
    for (pcr, _, data) in &boot[..5] {
        reference.allow(*pcr, &digest(data));
    }
    reference.allow(4, &digest(b"boot loader, the next version"));
    reference.require(4, &digest(b"boot loader"));
    let good = measured(&log, &take(), &reference, &Provider).unwrap();
    assert_eq!((good.events, good.unquoted), (5, 1));
    let mut stricter = reference.clone();
    stricter.require(4, &digest(b"boot loader, the next version"));
    let missing = measured(&log, &take(), &stricter, &Provider);
    assert!(matches!(missing, Err(NotMeasured::Missing { pcr: 4, .. })), "{missing:?}");
    let mut more = reference.clone();
    more.allow(9, &digest(b"kernel"));
    let bank = Digest::Sha256;
    let unquoted = measured(&log, &take(), &more, &Provider);
    assert_eq!(unquoted, Err(NotMeasured::NotQuoted { bank, pcr: 9 }));
    // One event that is not known, named by its place.
    let mut other = Reference::new(bank);
    for (pcr, _, data) in boot[..5].iter().filter(|(pcr, ..)| *pcr != 7) {
        other.allow(*pcr, &digest(data));
    }
    other.allow(7, &digest(b"SecureBoot, but on"));
    let refused = measured(&log, &take(), &other, &Provider).unwrap_err();
    assert_eq!(
        refused.to_string(),
        format!(
            "event 2 (EV_EFI_ACTION in PCR 7) is not in the reference: {}",
            hex(&digest(b"SecureBoot"))
        )
    );
    // A log that leaves out what was measured, or says something else.
    let shorter = write_log(&banks, 0, &boot[..4], &Provider);
    let left_out = measured(&Log::read(&shorter).unwrap(), &take(), &reference, &Provider);
    assert_eq!(left_out, Err(NotMeasured::OtherRegister { bank, pcr: 4 }));
    let mut lied = boot;
    lied[0].2 = b"firmware 1.3";
    let lied = write_log(&banks, 0, &lied, &Provider);
    let lied = measured(&Log::read(&lied).unwrap(), &take(), &reference, &Provider);
    assert_eq!(lied, Err(NotMeasured::OtherRegister { bank, pcr: 0 }));
    let one = write_log(&banks[..1], 0, &boot, &Provider);
    let one = measured(&Log::read(&one).unwrap(), &take(), &reference, &Provider);
    assert_eq!(one, Err(NotMeasured::NoBank(Digest::Sha384)));
    // Something is measured after the boot: the old values are not confirmed any more, and the new ones are not in the log.
    let before = take();
    let nonce = fresh();
    extend(4, b"implant");
    ask(&tpm, &nonce, "sha256:0,1,4,7+sha384:4", "ecdsa");
    let now = answer(&tpm, &key, &nonce, &selection).unwrap().1;
    let values: Vec<u8> = before.pcrs().iter().flat_map(|(_, _, value)| value.to_vec()).collect();
    tpm.put("quote.pcrs", &values);
    let old = answer(&tpm, &key, &nonce, &selection);
    assert_eq!(old.map(|_| ()), Err(NoQuote::Digest));
    assert_eq!(
        measured(&log, &now, &reference, &Provider),
        Err(NotMeasured::OtherRegister { bank, pcr: 4 })
    );
}

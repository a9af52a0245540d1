//! Requests that nobody would think of, made by schemathesis from the API's own description and sent to a real controller.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::process::Process;
use crate::{folder, peers};

/// What its answers are held to. Left out is `positive_data_acceptance`: what a schema admits may still be no page of an earlier answer, no
/// policy without faults, and no team that there is.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,\
     response_schema_conformance,negative_data_rejection,missing_required_header,unsupported_method,allow_header_conformance,\
     use_after_free,ensure_resource_availability,ignored_auth";

#[test]
fn schemathesis_finds_nothing() {
    let schemathesis = peers::python("schemathesis");
    let how = "`./x setup` installs it";
    if !peers::there("schemathesis_finds_nothing", &schemathesis, how) {
        return;
    }
    let here = folder("control-strangers");
    let process = Process::start(&here, "127.0.0.1:0");
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    let token = fs::read_to_string(here.join("hq/host-token")).unwrap();
    let ran = Command::new(schemathesis)
        .args(["run", "--no-color", "--seed", "17", "--max-examples", "6", "--max-time", "60"])
        // A stream has no end; what devices sign is CBOR, and OCSP is DER, which have fuzz targets of their own.
        .args(["--exclude-path", "/v1/events", "--exclude-path", "/v1/commitments"])
        .args(["--exclude-path", "/pki/ocsp"])
        .args(["--checks", CHECKS, "--rate-limit", "auto"])
        .args(["--warnings", "off", "--url", &format!("https://{}", process.api)])
        .args(["--header", &format!("Authorization: Bearer {}", token.trim_end())])
        .arg("--tls-verify")
        .arg(here.join("hq/pki/root.pem"))
        .arg(document)
        .current_dir(&here)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{said}\n{}", String::from_utf8_lossy(&ran.stderr));
    // It had something to try.
    assert!(said.contains("Test cases:"), "{said}");
    process.end();
}

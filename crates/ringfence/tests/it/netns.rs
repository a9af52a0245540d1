//! Plans against a real kernel: applied, read back, refused when stale; the export loads elsewhere.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::Ran;
use crate::policies::{is, policy};

/// Runs a script in a network namespace of its own that ends with it; `RF` is the binary.
fn alone(here: &Path, script: &str) -> Ran {
    let output = Command::new("unshare")
        .args(["--net", "sh", "-c", script])
        .current_dir(here)
        .env("RF", env!("CARGO_BIN_EXE_ringfence"))
        .env("NO_COLOR", "1")
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(Stdio::null())
        .output()
        .expect("unshare is part of util-linux");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    Ran {
        code: output.status.code().unwrap_or(-1),
        out: text(output.stdout),
        err: text(output.stderr),
    }
}

#[test]
fn netns_a_saved_plan_is_applied_once_and_counted() {
    if !lab::need("netns_a_saved_plan_is_applied_once_and_counted") {
        return;
    }
    let here = policy("netns-apply");
    let ran = alone(
        &here,
        "set -e\n\
         $RF plan policy --out first.plan\n\
         $RF apply first.plan -i lo --state state --policy policy\n\
         nft list table inet ringfence | grep -c nvr-pulls\n\
         $RF policy unused policy --state state\n\
         set +e\n\
         $RF apply first.plan -i lo --state state; echo again $?\n\
         echo '// edited' >> policy/policies/main.cedar\n\
         $RF plan policy --enforced state --out second.plan --detailed-exitcode; echo planned $?\n\
         echo '// edited again' >> policy/policies/main.cedar\n\
         $RF apply second.plan -i lo --state state --policy policy; echo edited $?\n\
         $RF apply second.plan -i lo --state state; echo second $?\n",
    );
    is(
        &ran,
        0,
        &[
            "generation 1 applied and verified",
            "never hit",
            "again 4",
            "made against nothing, and generation 1 is in force now",
            "planned 0",
            "edited 4",
            "policies/main.cedar)",
            "generation 2 applied and verified",
            "second 0",
        ],
    );
    let state = fs::read_to_string(here.join("state/enforced.json")).unwrap();
    assert!(state.contains("\"generation\":2"));
}

#[test]
fn netns_an_export_loads_where_we_are_not() {
    if !lab::need("netns_an_export_loads_where_we_are_not") {
        return;
    }
    let here = policy("netns-export");
    let ran = alone(
        &here,
        "set -e\n\
         $RF export nft policy -i br0 --generation 7 > fence.nft\n\
         nft -f fence.nft\n\
         nft list tables\n\
         nft list table inet ringfence\n",
    );
    is(&ran, 0, &["table inet ringfence", "10.0.1.11", "nvr-pulls", "cameras-push"]);
}

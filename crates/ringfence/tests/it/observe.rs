//! `ringfence observe`: filters, tables for people, lines that can be read back in.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::{folder, ringfence};

/// Lines as a site writes them; `{}` marks what differs between them.
fn verdict(minute: u32, kind: &str, from: &str, to: &str, port: u16, why: &str) -> String {
    format!(
        "{{\"schema\":\"ringfence.verdict/v1\",\"at\":\"2026-04-17T08:{minute:02}:00.000000Z\",\
         \"site\":\"north\",\"verdict\":\"{kind}\",\"from\":{from},\"to\":{to},\
         \"transport\":\"tcp\",\"protocol\":6,\"port\":{port},\"why\":{why},\"generation\":5,\
         \"interface_in\":\"lan3\"}}"
    )
}

const CAMERA: &str =
    "{\"device\":\"camera-7\",\"mac\":\"ac:cc:8e:12:34:40\",\"ip\":\"10.77.0.40\",\"port\":40000}";
const PRINTER: &str = "{\"device\":\"printer\",\"ip\":\"10.77.0.50\",\"port\":40001}";
const NVR: &str = "{\"device\":\"nvr\",\"ip\":\"10.77.0.41\",\"port\":5000}";
const CLOUD: &str = "{\"service\":\"service/cloud\",\"ip\":\"203.0.113.10\",\"port\":443}";
const NEAR: &str = "{\"nearest\":\"camera-to-nvr\",\"differs\":\"port\"}";

fn log(test: &str) -> PathBuf {
    let here = folder(test);
    let mut lines = Vec::new();
    for minute in 0..3 {
        lines.push(verdict(minute, "denied", CAMERA, NVR, 22, NEAR));
    }
    lines.push(verdict(10, "denied", CAMERA, CLOUD, 443, "{\"differs\":\"unknown-destination\"}"));
    lines.push(verdict(20, "would-deny", PRINTER, CLOUD, 443, "{\"rule\":\"base/no-cloud\"}"));
    lines.push(verdict(30, "would-allow", PRINTER, NVR, 5000, "{\"rule\":\"print-archive\"}"));
    lines.push(verdict(40, "logged", CAMERA, NVR, 5000, "{\"rule\":\"camera-to-nvr\"}"));
    let fix = "{\"exception\":\"vendor-visit\"}";
    lines.push(verdict(50, "allowed-by-exception", CAMERA, CLOUD, 443, fix));
    lines.push(
        "{\"schema\":\"ringfence.lost/v1\",\"at\":\"2026-04-17T08:55:00Z\",\"site\":\"north\",\
         \"records\":12,\"why\":\"the log buffer was full\"}"
            .to_owned(),
    );
    fs::write(here.join("verdicts.jsonl"), lines.join("\n") + "\n").unwrap();
    here
}

#[test]
fn the_table_says_what_happened_how_often_and_why() {
    let here = log("observe-table");
    let ran = ringfence(&here, "observe verdicts.jsonl");
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    insta::assert_snapshot!("observe-table", ran.out);
    // The same from a site's state directory; verdicts that were lost are a finding.
    let state = ringfence(&here, "observe --state . --detailed-exitcode");
    assert_eq!((state.code, state.out), (2, ran.out));
    assert_eq!(
        ringfence(&here, "observe verdicts.jsonl --detailed-exitcode --until 2026-04-17T08:51:00Z")
            .code,
        0
    );
}

#[test]
fn filters_compose_and_gaps_are_never_hidden() {
    let here = log("observe-filters");
    let check = |filters: &str, verdicts: usize| {
        let ran = ringfence(&here, &format!("observe verdicts.jsonl -o jsonl {filters}"));
        assert_eq!(ran.code, 0, "{filters}: {}", ran.err);
        let found = ran.out.lines().filter(|line| line.contains("verdict/v1")).count();
        assert_eq!(found, verdicts, "{filters}: {}", ran.out);
        let gaps = ran.out.lines().filter(|line| line.contains("lost/v1")).count();
        assert_eq!(gaps, usize::from(!filters.contains("--until")), "{filters}");
    };
    check("", 8);
    check("--verdict denied", 4);
    check("--verdict denied,would-deny", 5);
    check("--verdict denied --device nvr", 3);
    check("--device ac:cc:8e:12:34:40", 6);
    check("--device 10.77.0.50 --device nvr", 6);
    check("--from camera-7 --to service/cloud", 2);
    check("--service tcp/443", 3);
    check("--service service/cloud --verdict denied", 1);
    check("--to-port 22", 3);
    check("--rule camera-to-nvr", 4);
    check("--rule vendor-visit --site north -i lan3", 1);
    check("--since 2026-04-17T08:10:00Z", 5);
    check("--until 2026-04-17T08:10:00Z --since 2026-04-17T08:01:00Z", 3);
}

#[test]
fn lines_are_read_back_in() {
    let here = log("observe-again");
    let once = ringfence(&here, "observe verdicts.jsonl -o jsonl --verdict denied");
    let mut again = Command::new(env!("CARGO_BIN_EXE_ringfence"));
    again.args(["observe", "-", "-o", "jsonl", "--verdict", "denied"]);
    let mut child = again.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(once.out.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8(output.stdout).unwrap(), once.out);
}

#[test]
fn what_cannot_be_is_refused_with_a_suggestion() {
    let here = log("observe-wrong");
    let check = |arguments: &str, code, expect: &[&str]| {
        let ran = ringfence(&here, &format!("observe {arguments}"));
        assert_eq!(ran.code, code, "{arguments}: {}{}", ran.out, ran.err);
        assert_eq!(ran.out, "", "{arguments}");
        let said = ran.err.split_whitespace().collect::<Vec<_>>().join(" ");
        for part in expect {
            assert!(said.contains(part), "{arguments}: {said}");
        }
    };
    check("", 64, &["required"]);
    check("verdicts.jsonl --verdict denyed", 64, &["similar value", "denied"]);
    check("verdicts.jsonl --since tomorrow", 64, &["--since `tomorrow` is no time; write 90s"]);
    check("verdicts.jsonl --group 5", 64, &["cannot be used with"]);
    check("verdicts.jsonl --state .", 64, &["cannot be used with"]);
    check("absent.jsonl", 1, &["absent.jsonl cannot be read", "state directory"]);
    check("--state absent", 1, &["verdicts.jsonl cannot be read"]);
    let near = "`camra-7` is in no line; did you mean `camera-7`?";
    check(
        "verdicts.jsonl --device camra-7 --until 2026-04-17T08:51:00Z",
        3,
        &[near, "none of 9 lines"],
    );
    check("verdicts.jsonl --policy absent", 1, &["absent"]);
}

#[test]
fn lines_that_are_none_are_counted_and_the_rest_is_shown() {
    let here = log("observe-bad");
    let path = here.join("verdicts.jsonl");
    let mut text = fs::read_to_string(&path).unwrap();
    text.insert_str(0, "not json\n\n{\"schema\":\"ringfence.verdict/v9\"}\n");
    text.push_str(&format!("{{\"x\":\"{}\"}}\n", "y".repeat(70_000)));
    // A last line without its end is whole nevertheless.
    text.push_str(&verdict(59, "denied", CAMERA, NVR, 23, "{\"nearest\":\"a\\u001b[31mb\"}"));
    fs::write(&path, text).unwrap();
    let ran = ringfence(&here, "observe verdicts.jsonl --verdict denied");
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("line 1 is neither ringfence.verdict/v1"), "{}", ran.err);
    assert!(ran.err.contains("line 3 ") && ran.err.contains("longer than 65536"), "{}", ran.err);
    assert!(ran.err.contains("3 lines could not be read"), "{}", ran.err);
    assert!(ran.out.contains("tcp/23") && !ran.out.contains('\u{1b}'), "{}", ran.out);
}

#[test]
fn an_empty_log_is_fine() {
    let here = folder("observe-empty");
    fs::write(here.join("verdicts.jsonl"), "").unwrap();
    let ran = ringfence(&here, "observe verdicts.jsonl");
    assert_eq!((ran.code, ran.out.as_str()), (0, "VERDICTS  0\n"));
}

#[test]
fn what_comes_later_is_followed() {
    use std::io::{BufRead as _, BufReader};

    let here = folder("observe-follow");
    let path = here.join("verdicts.jsonl");
    let line = verdict(1, "denied", CAMERA, NVR, 22, NEAR);
    fs::write(&path, format!("{line}\n")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringfence"));
    command.args(["observe", "--state", ".", "--follow", "--to-port", "22"]).current_dir(&here);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let expect = "2026-04-17 08:01:00 denied camera-7 (10.77.0.40) to nvr (10.77.0.41) tcp/22 in by \
                  lan3: no rule: the port differs; nearest is camera-to-nvr";
    assert_eq!(lines.next().unwrap().unwrap(), expect);
    // Half a line now, half later; then the log is put aside and a new one begun.
    let (begin, end) = line.split_at(40);
    let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(begin.as_bytes()).unwrap();
    file.write_all(format!("{end}\n").as_bytes()).unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), expect);
    let next = here.join("next");
    fs::write(&next, format!("{}\n", line.replace("08:01", "08:02"))).unwrap();
    fs::rename(&next, &path).unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), expect.replace("08:01", "08:02"));
    child.kill().unwrap();
    child.wait().unwrap();
}

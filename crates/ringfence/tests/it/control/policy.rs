//! Policy folders: compared, set, and refused when another one came between.

use std::fs;
use std::process::Command;

use super::hq::{Hq, has, sample};

#[test]
fn a_folder_is_set_on_what_it_was_made_from_or_not_at_all() {
    let hq = Hq::start("control-apply");
    let anna = hq.anna();
    let folder = hq.here.join("policy");
    sample(&folder);
    let doctor = anna.run("doctor");
    assert!(doctor.out.contains("no policy folder was set"), "{}", doctor.out);
    let first = anna.run("diff -f policy --detailed-exitcode");
    assert_eq!(first.code, 2, "{}", first.err);
    anna.ok("apply -f policy --reason first --dry-run");
    anna.fails("get policy", 3, "ringfence apply -f FOLDER");
    anna.ok("apply -f policy --reason first");
    let again = anna.run("apply -f policy --reason again");
    assert!(again.code == 0 && again.err.contains("in force already"), "{}", again.err);
    assert_eq!(anna.run("diff -f policy --detailed-exitcode").code, 0);

    // Another machine sets another one.
    let ben = hq.person("ben");
    ben.ok(&format!("login --state state --server {}", hq.server()));
    let theirs = hq.here.join("theirs");
    sample(&theirs);
    let estate = theirs.join("estate.toml");
    let text = fs::read_to_string(&estate).unwrap();
    fs::write(&estate, format!("# theirs\n{text}")).unwrap();
    ben.ok("apply -f theirs --reason theirs");

    let estate = folder.join("estate.toml");
    fs::write(&estate, format!("# ours\n{text}")).unwrap();
    anna.fails("apply -f policy --reason ours", 4, "ringfence diff -f policy");
    let seen = anna.run("diff -f policy");
    assert!(seen.out.contains("-# theirs\n+# ours\n"), "{}", seen.out);
    anna.ok("apply -f policy --reason ours");

    // What would be refused there is refused here.
    fs::write(&estate, format!("format = 7\n{text}")).unwrap();
    let broken = anna.run("apply -f policy --reason broken");
    assert_eq!(broken.code, 1);
    assert!(broken.err.contains("refused whole"), "{}", broken.err);
    anna.fails("apply -f policy", 64, "--reason");
    anna.fails("apply --reason x", 64, "required");
}

#[test]
fn the_origin_is_a_commit_when_all_is_committed() {
    if !has("the_origin_is_a_commit_when_all_is_committed", "git") {
        return;
    }
    let hq = Hq::start("control-commit");
    let anna = hq.anna();
    let repository = hq.here.join("repository");
    sample(&repository.join("plant"));
    let git = |arguments: &str| {
        let mut command = Command::new("git");
        command.args([
            "-c",
            "user.name=x",
            "-c",
            "user.email=x@example.com",
            "-c",
            "commit.gpgsign=false",
        ]);
        let done = command.args(arguments.split(' ')).current_dir(&repository).output();
        match done {
            Ok(output) => {
                assert!(output.status.success(), "{output:?}");
                String::from_utf8(output.stdout).unwrap().trim().to_owned()
            }
            Err(error) => panic!("git: {error}"),
        }
    };
    git("init -q");
    git("add .");
    git("commit -q -m first");
    fs::write(repository.join("plant/more.toml"), "").unwrap();
    anna.fails("apply -f repository/plant --commit --reason x", 1, "not committed");
    fs::remove_file(repository.join("plant/more.toml")).unwrap();
    anna.ok("apply -f repository/plant --commit --reason x");
    let head = git("rev-parse HEAD");
    let origin = anna.ok("get policy -o yaml");
    assert!(origin.contains(&format!("origin: \"commit {head} plant\"")), "{origin:.300}");
}

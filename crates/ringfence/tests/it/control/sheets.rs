//! Tables of what was bought and of secrets, as people have them: from office programs, long, with mistakes, and sent again.

use std::fmt::Write as _;
use std::fs;

use super::hq::{Hq, Person};
use super::identity::estate;

/// More than two requests take.
const ROWS: usize = 2_500;
const EXPECT: &str = "identity expect order.csv --reason x";
const IMPORT: &str = "identity keys import psks.csv --reason x";

/// What the estate has of tables.
fn known(hq: &Hq) -> (usize, usize) {
    hq.hub.read(|estate| {
        let all = estate.identities();
        let secrets = estate.devices().iter().map(|device| all.secrets().of(&device.id).len());
        (all.all_expected().count(), secrets.sum())
    })
}

fn expected(hq: &Hq) -> usize {
    hq.hub.read(|estate| estate.identities().all_expected().count())
}

/// It is refused as a whole, each line is named with what to do, and nothing of it is taken.
fn refused(hq: &Hq, anna: &Person, command: &str, says: &[&str]) {
    let before = known(hq);
    let ran = anna.run(command);
    assert_eq!((ran.code, ran.out.as_str()), (64, ""), "{command}: {}", ran.err);
    for line in says {
        assert!(ran.err.contains(line), "{command}: no `{line}` in {}", ran.err);
    }
    assert_eq!(known(hq), before, "{command}: {}", ran.err);
}

#[test]
fn a_purchase_order_of_an_office_program_is_taken_whole_and_once() {
    let (hq, anna) = estate("control-sheets-order");
    let devices = ["camera", "nvr"];
    let mut order = "\u{feff}Device;Article;\"Number\";MAKER\r\n".to_owned();
    for n in 0..ROWS {
        let device = devices[n % devices.len()];
        write!(order, "{device};\"Camera; \"\"outdoor\"\"\";\"AC {n:05}\";axis\r\n").unwrap();
        if n % 1_000 == 0 {
            order.push_str(";;;\r\n\r\n");
        }
    }
    let file = hq.here.join("order.csv");
    fs::write(&file, &order).unwrap();
    let done = anna.run("identity expect order.csv --reason order");
    assert_eq!(done.code, 0, "{}", done.err);
    assert!(done.err.contains("2500 devices are expected: 2500 since now, 0 were already"));
    assert_eq!(expected(&hq), ROWS);
    let listed = anna.ok("identity expect -o json");
    assert!(listed.contains("\"AC 02499\""), "values are as they were in their quotes");

    // The same once more; then with one more row, between tabs.
    let done = anna.run("identity expect order.csv --reason again");
    assert!(done.err.contains("2500 devices are expected: 0 since now, 2500 were already"));
    let more = "maker\tnumber\tdevice\naxis\tAC 00001\tnvr\naxis\tAC 02500\tcamera\n";
    fs::write(&file, more).unwrap();
    let done = anna.run("identity expect order.csv --reason more");
    assert!(done.err.contains("2 devices are expected: 1 since now, 1 were already"));
    assert_eq!((expected(&hq), done.code), (ROWS + 1, 0), "{}", done.err);

    // A mistake in the last row of many: nothing of the first ones is sent.
    let wrong = order.replace("AC ", "AD ") + "nobody;;AD 9;axis\r\ncamera;;AC 00001;axis\r\n";
    fs::write(&file, wrong).unwrap();
    let last = order.lines().count() + 1;
    refused(
        &hq,
        &anna,
        EXPECT,
        &[
            &format!(
                "order.csv, line {last}: device nobody: there is none with this id; `ringfence get devices`"
            ),
            &format!("order.csv, line {}: number AC 00001 of axis: it is nvr", last + 1),
            "2 rows are wrong",
            "nothing of it was sent",
        ],
    );
    assert_eq!(expected(&hq), ROWS + 1);
}

#[test]
fn every_bad_row_of_a_purchase_order_is_named() {
    let (hq, anna) = estate("control-sheets-bad");
    let file = hq.here.join("order.csv");
    let order = "number,device,maker\n\
        1,camera,axis\n\
        ,camera,axis\n\
        2,,axis\n\
        3,camera,\n\
        \"4\n4\",camera,axis\n\
        5,camera,axis,more\n\
        1,nvr,axis\n\
        6,no device,axis\n";
    fs::write(&file, order).unwrap();
    let says = [
        "line 3: its number is missing; write the one in the maker's certificate",
        "line 4: its device is missing",
        "line 5: its maker is missing; write the name of a file",
        "line 8: it has 4 values, and there are 3 columns; put values with `,` in them in quotes",
        "line 9: number 1 of axis is camera in line 2",
        "line 10: its device is no id",
        "6 rows are wrong",
    ];
    refused(&hq, &anna, EXPECT, &says);
    // What only the controller judges is named too.
    fs::write(&file, "maker,number,device\naxis,1,camera\naxis,\"2\t3\",camera\n").unwrap();
    refused(&hq, &anna, EXPECT, &["line 3: ", "without control characters", "a row is wrong"]);
    for (bytes, says) in [
        (&b"maker,device\naxis,camera\n"[..], "no column `number`"),
        (b"", "it is empty"),
        (b"maker;number;device\n;;\n", "no rows"),
        (b"\xff\xfem\0a\0", "UTF-16"),
        (b"maker,number,device\naxis,\xfc,camera\n", "not UTF-8"),
    ] {
        fs::write(&file, bytes).unwrap();
        refused(&hq, &anna, EXPECT, &[says]);
    }
    anna.fails("identity expect gone.csv --reason x", 1, "gone.csv");
    assert_eq!(expected(&hq), 0);
}

#[test]
fn a_table_of_secrets_is_taken_whole_and_says_no_secret() {
    let (hq, anna) = estate("control-sheets-keys");
    let file = hq.here.join("psks.csv");
    let table = "\u{feff}Rotate Days;PSK;Device\r\n90;\"000102030405060708090a0b0c0d0e0f\";camera\r\n;f00102030405060708090a0b0c0d0e0f;nvr\r\n";
    fs::write(&file, table).unwrap();
    let done = anna.run(IMPORT);
    assert_eq!(done.code, 0, "{}", done.err);
    assert!(done.err.contains("2 secrets: 2 since now, 0 were known already"), "{}", done.err);
    let done = anna.run(IMPORT);
    assert!(done.err.contains("2 secrets: 0 since now, 2 were known already"), "{}", done.err);
    let wrong = "device,psk,name,rotate_days\n\
        camera,hush-one\n\
        camera,,\"a\",\n\
        camera,aa0102030405060708090a0b0c0d0e0f,b,often\n\
        nvr,bb0102030405060708090a0b0c0d0e0f,c,\n\
        camera,cc0102030405060708090a0b0c0d0e0f,c,\n";
    fs::write(&file, wrong).unwrap();
    let says = [
        "line 2: it has 2 values",
        "line 3: its device or its secret is missing",
        "line 4: its rotate-days is no number",
        "line 6: a psk of this name is in line 5 already",
        "4 rows are wrong",
    ];
    refused(&hq, &anna, IMPORT, &says);
    let wrong = "device,psk\nnobody,dd0102030405060708090a0b0c0d0e0f\nnvr,ee0102030405060708090a0b0c0d0e0f\ncamera,hush\n";
    fs::write(&file, wrong).unwrap();
    let says = [
        "line 2: device nobody",
        "line 3: ",
        "there is one already, and it is another one; `ringfence identity keys rotate`",
        "line 4: the secret (",
        "16 to 256 bytes",
    ];
    refused(&hq, &anna, IMPORT, &says);
    for wrong in ["device,pks\ncamera,hush\n", "device\ncamera\n"] {
        fs::write(&file, wrong).unwrap();
        refused(&hq, &anna, IMPORT, &["column"]);
    }
    let said = anna.run(IMPORT).err;
    assert!(!said.contains("hush") && !said.contains("ee01"), "{said}");
}

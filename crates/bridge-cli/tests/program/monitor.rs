//! Commands that are run and watched: what they print and how they end stays theirs.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Stdio;

use serde_json::Value;

use crate::support::{Folder, Ran};

crate::support::cases! {
    how_the_command_ends_is_passed_on,
    the_streams_are_the_commands,
    #[cfg(target_os = "linux")]
    children_count_and_the_budget_is_judged,
    what_was_sampled_is_written,
    #[cfg(feature = "plot")]
    pictures_are_drawn,
    #[cfg(not(feature = "plot"))]
    without_pictures_it_says_how_to_get_them,
    wrong_usage_is_found_before_the_command_is_started,
    files_that_cannot_be_written_are_found_before_the_command_is_started,
    a_file_that_cannot_be_written_afterwards,
    commands_that_cannot_be_run,
    signals_are_passed_on,
    a_summary_for_people,
}

/// The summary, which is the last line of standard error.
#[track_caller]
fn summary(ran: &Ran) -> Value {
    let line = ran.stderr.lines().last().unwrap_or_default();
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

fn shell<'a>(options: &[&'a str], script: &'a str) -> Vec<&'a str> {
    [&["monitor"], options, &["--", "sh", "-c", script]].concat()
}

fn how_the_command_ends_is_passed_on() {
    let folder = Folder::new();
    for (script, code, signal, exit) in [
        ("exit 0", Some(0), None, 0),
        ("exit 1", Some(1), None, 1),
        ("exit 7", Some(7), None, 7),
        ("exit 255", Some(255), None, 255),
        ("kill -KILL $$", None, Some(9), 137),
        ("kill -TERM $$", None, Some(15), 143),
    ] {
        let ran = folder.run(&shell(&["--json"], script));
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(exit), ""), "{script}: {ran:?}");
        let summary = summary(&ran);
        assert_eq!(summary["exit_code"].as_i64(), code, "{script}");
        assert_eq!(summary["signal"].as_i64(), signal, "{script}");
        assert_eq!(summary["command"], serde_json::json!(["sh", "-c", script]));
        assert_eq!(summary["interval"], 0.1);
        assert_eq!(summary["budget"], Value::Null);
        assert_eq!(summary["over_budget"], Value::Null);
        assert!(summary["seconds"].as_f64() > Some(0.0));
    }
    // A whole process ends so too.
    let ran = Ran::of(folder.command(&shell(&[], "exit 42")).output().unwrap());
    assert_eq!(ran.code, Some(42), "{ran:?}");
}

fn the_streams_are_the_commands() {
    let folder = Folder::new();
    for options in [&[][..], &["--json"]] {
        let script = "echo asked; echo told >&2; cat";
        let mut command = folder.command(&shell(options, script));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut running = command.spawn().unwrap();
        running.stdin.take().unwrap().write_all(b"typed").unwrap();
        let ran = Ran::of(running.wait_with_output().unwrap());
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "asked\ntyped"), "{ran:?}");
        assert!(ran.stderr.starts_with("told\n"), "{ran:?}");
        assert!(ran.stderr.contains(if options.is_empty() { "exit code 0" } else { "exit_code" }));
    }
}

/// `tail` holds all that it may have to print, until its input ends.
#[cfg(target_os = "linux")]
fn children_count_and_the_budget_is_judged() {
    let folder = Folder::new();
    let script = "(head -c 33554432 /dev/zero; sleep 0.7) | tail -c 33554432 >/dev/null; true";
    for (budget, over) in [("16MiB", true), ("1TiB", false)] {
        let options = ["--json", "--interval", "0.02", "--budget", budget];
        let ran = folder.run(&shell(&options, script));
        assert_eq!(
            ran.code,
            Some(0),
            "a budget that was exceeded is told, and no failure: {ran:?}"
        );
        let summary = summary(&ran);
        let command = &summary["series"][0];
        assert_eq!(command["label"], "command");
        let most = command["summary"]["max"].as_u64().unwrap();
        assert!(most >= 32 << 20, "{summary}");
        let largest = summary["largest_process"].as_u64().unwrap();
        assert!((32 << 20..=most).contains(&largest), "{summary}");
        assert_eq!(summary["over_budget"], over, "{summary}");
        assert_eq!(summary["missing"], 0, "{summary}");
        assert!(summary["samples"].as_u64() > Some(2));
        assert!(summary.get("points").is_none(), "the samples go to a file");
    }
}

fn what_was_sampled_is_written() {
    let folder = Folder::new();
    folder.file("old.csv", "what was there before");
    // It is replaced when the command has ended, and also where that failed.
    let script = "cat old.csv > seen; sleep 0.1; exit 3";
    let ran = folder.run(&shell(&["--output", "old.csv", "--interval", "0.01"], script));
    assert_eq!(ran.code, Some(3), "{ran:?}");
    assert_eq!(folder.read("seen"), b"what was there before");
    let table = String::from_utf8(folder.read("old.csv")).unwrap();
    let mut lines = table.lines();
    // Between the two, one column for each device that can be measured here.
    let header = lines.next().unwrap();
    assert!(header.starts_with("seconds,command") && header.ends_with(",event"), "{table}");
    let first: Vec<_> = lines.next().unwrap().split(',').collect();
    assert_eq!(first.len(), header.split(',').count(), "{table}");
    assert!(first[0].parse::<f64>().is_ok() && first[1].parse::<u64>().unwrap() > 0, "{table}");

    folder.run(&shell(&["--output", "new.JSON", "--budget", "1TiB"], "sleep 0.1; exit 3"));
    let whole: Value = serde_json::from_slice(&folder.read("new.JSON")).unwrap();
    assert_eq!((&whole["exit_code"], &whole["over_budget"]), (&3.into(), &false.into()));
    assert_eq!(whole["series"][0]["label"], "command");
    let points = whole["points"].as_array().unwrap();
    assert!(points[0]["values"][0]["max"].as_u64() > Some(0), "{whole}");
    assert_eq!(folder.names(), ["new.JSON", "old.csv", "seen"], "no partial file stays");
}

#[cfg(feature = "plot")]
fn pictures_are_drawn() {
    let folder = Folder::new();
    let script = "sleep 0.1";
    for (name, start) in [("a.svg", &b"<svg"[..]), ("a.PNG", b"\x89PNG\r\n\x1a\n")] {
        let options = ["--plot", name, "--budget", "8MiB", "--interval", "0.02"];
        let ran = folder.run(&shell(&options, script));
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert!(folder.read(name).starts_with(start), "{name}");
    }
    let picture = String::from_utf8(folder.read("a.svg")).unwrap();
    for text in ["sh -c sleep 0.1", "command", "budget"] {
        assert!(picture.contains(text), "{text}");
    }
}

#[cfg(not(feature = "plot"))]
fn without_pictures_it_says_how_to_get_them() {
    let says = &["built without pictures", "--features plot", "--output"];
    Folder::new().fail(2, &shell(&["--plot", "a.svg"], "touch ran"), says);
}

fn wrong_usage_is_found_before_the_command_is_started() {
    let folder = Folder::new();
    let fails = |options: &[&str], says: &[&str]| {
        folder.fail(2, &shell(options, "touch ran"), says);
    };
    for interval in ["0", "-1", "nan", "inf", "soon", "0.1s"] {
        fails(&["--interval", interval], &["is not an interval", "0.1"]);
    }
    for budget in ["0", "lots"] {
        fails(&["--budget", budget], &["is not a size", "512MiB"]);
    }
    for name in ["a", "a.txt", ".csv", "a.svg"] {
        fails(&["--output", name], &["extension", ".csv or .json"]);
    }
    for name in ["a", "a.gif", "a.csv"] {
        fails(&["--plot", name], &["extension", ".svg or .png"]);
    }
    folder.fail(2, &["monitor"], &["COMMAND"]);
    folder.fail(2, &["monitor", "--json", "--"], &["COMMAND"]);
    folder.fail(2, &["monitor", "touch", "ran"], &["touch", "-- <COMMAND>"]);
}

fn files_that_cannot_be_written_are_found_before_the_command_is_started() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path().join("dir.csv")).unwrap();
    let touch = |output| shell(&["--output", output], "touch ran");
    folder.fail(1, &touch("none/a.csv"), &["no file can be created in none", "No such file"]);
    folder.fail(1, &touch("dir.csv"), &["not a regular file"]);
    // The system does not keep the superuser out.
    let locked = folder.path().join("locked");
    std::fs::create_dir(&locked).unwrap();
    std::fs::set_permissions(&locked, std::fs::Permissions::from_mode(0o500)).unwrap();
    if std::fs::write(locked.join("probe"), "").is_err() {
        folder.fail(1, &touch("locked/a.csv"), &["no file can be created in locked"]);
    }
}

/// How the command ended matters more than what became of the file, where that was no success.
fn a_file_that_cannot_be_written_afterwards() {
    for (script, code) in [("rmdir d", 1), ("rmdir d; exit 9", 9)] {
        let folder = Folder::new();
        std::fs::create_dir(folder.path().join("d")).unwrap();
        let ran = folder.run(&shell(&["--output", "d/a.csv"], script));
        assert_eq!(ran.code, Some(code), "{ran:?}");
        assert!(ran.stderr.contains("no file can be created in"), "{ran:?}");
        assert!(ran.stderr.contains("exit code"), "the summary is told all the same: {ran:?}");
    }
}

fn commands_that_cannot_be_run() {
    let folder = Folder::new();
    folder.file("text", "no program");
    folder.fail(
        127,
        &["monitor", "--", "no-such-command"],
        &["no command no-such-command", "PATH"],
    );
    folder.fail(
        127,
        &["monitor", "--", "./none", "-x"],
        &["monitor ./none -x", "no command ./none"],
    );
    folder.fail(127, &["monitor", "--", ""], &["there is no command"]);
    folder.fail(126, &["monitor", "--", "./text"], &["cannot be run", "ermission", "chmod +x"]);
    folder.fail(126, &["monitor", "--", "/"], &["cannot be run"]);
}

/// In a process group of its own: in the terminal's the command would get the signals of its keys too.
fn signals_are_passed_on() {
    let folder = Folder::new();
    let script = "trap 'echo INT; exit 5' INT; trap 'echo TERM; exit 6' TERM
                  echo ready; while :; do sleep 0.05; done";
    for (signal, code) in [("INT", 5), ("TERM", 6)] {
        let mut command = folder.command(&shell(&["--output", "a.csv"], script));
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut running = command.spawn().unwrap();
        let mut stdout = BufReader::new(running.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        let sent = std::process::Command::new("kill")
            .args(["-s", signal, &running.id().to_string()])
            .status();
        assert!(sent.unwrap().success());
        let mut rest = String::new();
        stdout.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, format!("{signal}\n"), "the command was told");
        let ran = Ran::of(running.wait_with_output().unwrap());
        assert_eq!(ran.code, Some(code), "{ran:?}");
        assert!(ran.stderr.contains(&format!("exit code {code}")), "{ran:?}");
        assert_eq!(folder.names(), ["a.csv"]);
    }
}

fn a_summary_for_people() {
    let ran = Folder::new().run(&shell(&["--budget", "1TiB"], "sleep 0.1; exit 0"));
    let lines: Vec<_> = ran.stderr.lines().collect();
    assert!(lines[0].starts_with("sh -c sleep 0.1; exit 0: exit code 0 after "), "{ran:?}");
    let says = |text: &str| assert!(ran.stderr.contains(text), "{text}: {ran:?}");
    for header in ["memory", "most", "mean", "last"] {
        says(header);
    }
    says("budget of 1.00 TiB: kept");
}

use super::*;
use serde_json::json;

struct Gone;

impl Write for Gone {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_closed_output_is_told_apart_from_a_full_disk() {
    assert!(matches!(write_to(Gone, "x"), Err(CliError::Closed)));
    let mut full: [u8; 0] = [];
    assert!(matches!(write_to(full.as_mut_slice(), "x"), Err(CliError::Failed(_))));
}

#[test]
fn a_line_is_ended_once() {
    for text in ["a", "a\n"] {
        let mut out = Vec::new();
        write_to(&mut out, text).unwrap();
        assert_eq!(out, b"a\n");
    }
}

#[test]
fn control_characters_of_an_answer_cannot_drive_a_terminal() {
    assert_eq!(cell(&json!("a\u{1b}[2Jb")), "a\u{fffd}[2Jb");
}

#[test]
fn values_are_shown_as_people_read_them() {
    assert_eq!(cell(&json!("2026-11-21T06:00:00.123456+01:00")), "2026-11-21T05:00:00Z");
    assert_eq!(cell(&json!([1, "b", true])), "1, b, yes");
    assert_eq!(cell(&json!(null)), "");
    assert_eq!(cell(&json!({"a": 1})), r#"{"a":1}"#);
}

#[test]
fn a_table_keeps_to_its_width() {
    let long = "hearken.mailboxEvent.work.search-index.v1 ".repeat(6);
    let list = json!([{"name": long, "kind": "queue"}, {"name": "b"}]);
    let text = columns(&list, &[("NAME", "/name"), ("KIND", "/kind")], "none");
    assert!(text.lines().all(|line| line.chars().count() <= usize::from(WIDTH)), "{text}");
    assert!(text.contains("queue"));
    assert_eq!(columns(&json!([]), &[("NAME", "/name")], "none"), "none");
}

#[test]
fn details_name_nested_members_by_path_and_put_lists_below() {
    let object = json!({
        "a": 1, "group": "g", "retry": {"attempts": 8}, "configuration": {},
        "nodes": [{"id": "n1", "state": "running"}, {"id": "n2", "cause": "no"}],
    });
    let text = details(&object, &["group"]);
    let lines: Vec<Vec<&str>> =
        text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(
        lines,
        [
            vec!["group", "g"],
            vec!["a", "1"],
            vec!["configuration", "{}"],
            vec!["retry.attempts", "8"],
            vec![],
            vec!["nodes"],
            vec!["ID", "STATE", "CAUSE"],
            vec!["n1", "running"],
            vec!["n2", "no"],
        ]
    );
}

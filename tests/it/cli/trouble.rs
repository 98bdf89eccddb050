//! Errors of commands: exit codes, problems, and answers that hearken did not write.

use super::{end, fake::Fake, hearken, run};
use std::{io::Read, net::TcpListener, process::Stdio};

const LIST: [&str; 2] = ["listeners", "list"];

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_says_what_was_refused_why_and_what_to_do() {
    let problem = r#"{"type":"/problems/group-in-use","title":"The group has a listener","status":409,
        "detail":"group g has a listener of class log","instance":"urn:request:1","group":"g","class":"log"}"#;
    let server = Fake::start().await.problem("POST /listeners", 409, problem);
    let ended = run(&server, &["listeners", "add", "--class", "webhook", "--group", "g"]);
    assert_eq!((ended.code, ended.out.as_str()), (Some(3), ""));
    assert_eq!(
        ended.err,
        "error: The group has a listener (409 group-in-use)\n  \
         group g has a listener of class log\n  \
         Change the present listener (hearken listeners change GROUP), remove it first, or choose another --group.\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_wrong_field_of_a_configuration_is_listed() {
    let problem = r#"{"type":"/problems/invalid-configuration","title":"T","detail":"D","class":"webhook",
        "errors":[{"pointer":"/url","problem":"is missing"},{"pointer":"","problem":"has no secret"}]}"#;
    let server = Fake::start().await.problem("POST /listeners", 422, problem);
    let ended = run(&server, &["listeners", "add", "--class", "webhook"]);
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.err.contains("errors: /url: is missing, has no secret\n"), "{}", ended.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_of_the_server_is_not_a_refusal_and_names_its_request() {
    let problem = r#"{"type":"/problems/broker-unavailable","title":"The broker is out of reach","detail":"D",
        "instance":"urn:request:7","cause":"connection refused","desired":{"queues":[]},"drift":[{"kind":"missing"}]}"#;
    let server = Fake::start().await.problem("GET /topology", 503, problem);
    let ended = run(&server, &["topology", "drift"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("cause: connection refused\n"), "{}", ended.err);
    assert!(ended.err.contains("urn:request:7"), "{}", ended.err);
    assert!(!ended.err.contains("queues") && !ended.err.contains("kind"), "{}", ended.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_hearken_did_not_write_is_reported() {
    let server = Fake::start()
        .await
        .answer("GET /listeners", 502, "text/html", "<h1>Bad gateway\u{1b}[31m</h1>")
        .answer("GET /listeners", 403, "text/plain", "")
        .answer("GET /listeners", 302, "text/html", "elsewhere")
        .answer("GET /listeners", 200, "text/html", "<h1>Welcome</h1>");
    let ended = run(&server, &LIST);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("502") && ended.err.contains("<h1>Bad gateway"), "{}", ended.err);
    assert!(!ended.err.contains('\u{1b}'), "a server cannot drive the terminal");
    assert_eq!(run(&server, &LIST).code, Some(3));
    assert_eq!(run(&server, &LIST).code, Some(1), "a redirect is not followed with the token");
    let ended = run(&server, &LIST);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("check that hearken runs"), "{}", ended.err);
}

#[test]
fn a_server_that_is_not_there_is_unreachable() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", free.local_addr().unwrap());
    drop(free);
    let directory = tempfile::tempdir().unwrap();
    for arguments in [&LIST[..], &["topology", "watch"], &["health"]] {
        let ended = end(hearken(directory.path(), arguments).env("HEARKEN_URL", &url));
        assert_eq!(ended.code, Some(4), "{ended:?}");
        assert!(ended.err.contains(&url) && ended.err.contains("--url"), "{}", ended.err);
        assert!(ended.err.contains("Connection refused"), "{}", ended.err);
        assert!(!ended.err.contains("may have done it"), "nothing was sent: {}", ended.err);
    }
}

#[test]
fn a_command_whose_answer_broke_off_may_have_been_executed() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let (mut connection, _) = listener.accept().unwrap();
        let mut piece = [0; 4096];
        assert!(connection.read(&mut piece).unwrap() > 0);
    });
    let directory = tempfile::tempdir().unwrap();
    let mut command = hearken(directory.path(), &["listeners", "remove", "g", "--url", &url]);
    let ended = end(&mut command);
    server.join().unwrap();
    assert_eq!(ended.code, Some(4), "{ended:?}");
    assert!(ended.err.contains("the server may have done it"), "{}", ended.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_of_a_data_directory_is_found() {
    let server = Fake::start().await;
    let server = server.json("GET /listeners", 200, "{}").json("GET /listeners", 200, "{}");
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("hearken-data")).unwrap();
    std::fs::write(directory.path().join("hearken-data/admin-token"), "made-here\n").unwrap();
    assert_eq!(end(hearken(directory.path(), &LIST).env("HEARKEN_URL", &server.url)).code, Some(0));
    let elsewhere = tempfile::tempdir().unwrap();
    let data = directory.path().join("hearken-data");
    let mut command = hearken(elsewhere.path(), &LIST);
    command.env("HEARKEN_URL", &server.url).env("HEARKEN_DATA_DIR", data);
    assert_eq!(end(&mut command).code, Some(0));
    for asked in server.asked() {
        assert_eq!(asked.headers["authorization"], "Bearer made-here");
    }
}

#[test]
fn a_reader_that_goes_away_is_not_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = hearken(directory.path(), &["completions", "bash"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let mut err = String::new();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert_eq!((child.wait().unwrap().code(), err.as_str()), (Some(0), ""));
}

#[test]
fn what_makes_no_sense_is_a_usage_error() {
    let directory = tempfile::tempdir().unwrap();
    for (arguments, expected) in [
        (&["listeners", "add"][..], "--class"),
        (&["listeners", "show", "a b"], "group name \"a b\" is not valid"),
        (&["listeners", "list", "--url", "localhost"], "--url (HEARKEN_URL)"),
        (&["listeners", "remove", "g", "--pending", "lose"], "keep, drain, discard"),
        (&["listeners", "remove", "g", "--wait", "5"], "write a whole number and its unit"),
        (&["listeners", "list", "--data-dir", "."], "there is no token in"),
        (&["serve", "--reconcile", "never"], "--reconcile is \"never\""),
        (&["serve", "--amqp-url", "amqp://mq"], "--database-url is not"),
        (&["doctor", "--listen", "here"], "--listen is \"here\""),
        (&["migrate"], "no database is named"),
    ] {
        let ended = end(&mut hearken(directory.path(), arguments));
        assert_eq!(ended.code, Some(2), "{arguments:?}: {ended:?}");
        assert!(ended.err.contains(expected), "{arguments:?}: {}", ended.err);
        assert_eq!(ended.out, "");
    }
}

#[test]
fn a_reserved_bus_name_is_refused_with_what_is_wrong_and_what_would_be_right() {
    let directory = tempfile::tempdir().unwrap();
    for (bus, wrong, right) in [
        (
            "a.work.b",
            "\"work\" between its dots is reserved",
            "choose a name without the parts keys",
        ),
        ("meta", "\"meta\" at its beginning is reserved", "begins with another word than meta"),
    ] {
        let file = format!("[[bus]]\nname = '{bus}'\n");
        std::fs::write(directory.path().join("reserved.toml"), file).unwrap();
        for arguments in [
            &["serve", "--config", "reserved.toml"][..],
            &["listeners", "add", "--class", "log", "--bus", bus],
            &["events", "send", bus, "--type", "Added"],
        ] {
            let ended = end(&mut hearken(directory.path(), arguments));
            assert_eq!(ended.code, Some(2), "{arguments:?}: {ended:?}");
            let err = ended.err.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(err.contains(&format!("bus name \"{bus}\" is not valid")), "{err}");
            assert!(err.contains(wrong) && err.contains(right), "{err}");
        }
    }
}

#[test]
fn the_file_of_the_working_directory_is_read() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("hearken.toml"), "listen = 'here'\n").unwrap();
    let ended = end(&mut hearken(directory.path(), &["serve"]));
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.err.starts_with("error: listen in hearken.toml is \"here\""), "{}", ended.err);
    let mut command = hearken(directory.path(), &["serve"]);
    let ended = end(command.env("HEARKEN_LISTEN", "there"));
    assert!(ended.err.starts_with("error: HEARKEN_LISTEN is \"there\""), "{}", ended.err);
}

#[test]
fn a_wrong_log_filter_names_its_variable() {
    let directory = tempfile::tempdir().unwrap();
    let ended = end(hearken(directory.path(), &["serve"]).env("HEARKEN_LOG", "hearken=loud"));
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.err.contains("HEARKEN_LOG is not a log filter"), "{}", ended.err);
}

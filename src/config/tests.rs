use super::*;
use crate::domain::retention::{DeadLetterQuota, HistoryLimit};

/// Resolves flags, variables and a file's text; the file is called `hearken.toml`.
fn resolve(
    flags: &[(&str, &str)],
    environment: &[(&str, &str)],
    file: Option<&str>,
) -> Result<Serve, ConfigError> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("hearken.toml");
    let path = path.to_str().unwrap();
    let config = file.map(|text| {
        std::fs::write(path, text).unwrap();
        path
    });
    let flags = flags.iter().map(|(name, value)| (*name, Some(*value)));
    let flags = Flags::from_pairs(flags.chain([("config", config)]));
    let environment = environment.iter().map(|(name, value)| (name.into(), value.into()));
    Serve::resolve(&flags, &environment.collect())
}

/// The error's text, with the directory of the file taken out.
fn refusal(flags: &[(&str, &str)], environment: &[(&str, &str)], file: Option<&str>) -> String {
    let error = resolve(flags, environment, file).unwrap_err().to_string();
    let words = error.split(' ').map(|word| match word.find("hearken.toml") {
        Some(at) => &word[at..],
        None => word,
    });
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn without_any_setting_everything_is_embedded_and_local() {
    let settings = resolve(&[], &[], None).unwrap();
    assert_eq!(settings.listen.to_string(), "127.0.0.1:8000");
    assert_eq!(settings.cluster, None);
    assert_eq!(settings.prefix, "hearken");
    assert_eq!(settings.queue_type, QueueType::Quorum);
    assert_eq!(settings.reconcile, RepairMode::Auto);
    assert_eq!(settings.reconcile_interval, Span::from_secs(30));
    assert_eq!(settings.node_id, host_name());
    assert_eq!(settings.retention, Retention::default());
    let buses: Vec<_> = settings.buses.iter().map(|bus| bus.name.as_str()).collect();
    assert_eq!(buses, DEFAULT_BUSES);
}

#[test]
fn a_flag_wins_over_the_environment_then_the_file_then_the_default() {
    let file = Some("listen = '0.0.0.0:3'\n");
    let environment = [("HEARKEN_LISTEN", "0.0.0.0:2")];
    let port = |flags: &[_], environment: &[_], file| {
        resolve(flags, environment, file).unwrap().listen.port()
    };
    assert_eq!(port(&[("listen", "0.0.0.0:1")], &environment, file), 1);
    assert_eq!(port(&[], &environment, file), 2);
    assert_eq!(port(&[], &[], file), 3);
    assert_eq!(port(&[], &[], None), 8000);
    assert_eq!(port(&[], &[("HEARKEN_LISTEN", "")], file), 3, "an empty variable is no value");
}

#[test]
fn an_error_names_the_place_that_gave_the_value() {
    let expected = "is \"here\", not an address and a port such as 127.0.0.1:8000 or [::]:8000";
    assert_eq!(refusal(&[("listen", "here")], &[], None), format!("--listen {expected}"));
    assert_eq!(
        refusal(&[], &[("HEARKEN_LISTEN", "here")], None),
        format!("HEARKEN_LISTEN {expected}")
    );
    assert_eq!(
        refusal(&[], &[], Some("listen = 'here'")),
        format!("listen in hearken.toml {expected}")
    );
}

#[test]
fn an_unknown_key_is_refused_with_the_known_keys() {
    let error = refusal(&[], &[], Some("data_dir = 'x'"));
    assert!(error.starts_with("data_dir in hearken.toml is not a setting"), "{error}");
    assert!(error.contains("listen, data-dir, ") && error.ends_with("[[bus]] and [[required]]"));
    let error = refusal(&[], &[], Some("[[required]]\nclass = 'log'\ngruop = 'a'"));
    assert!(error.starts_with("[[required]] log in hearken.toml is refused: unknown field"));
}

#[test]
fn a_file_that_is_not_toml_is_refused_without_showing_its_content() {
    let error = refusal(&[], &[], Some("listen = '0.0.0.0:1'\namqp-url = 'amqp://a:hunter2@b\n"));
    assert!(error.contains("hearken.toml, line 2: "), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
}

#[test]
fn a_named_file_that_does_not_exist_is_an_error() {
    let error = resolve(&[("config", "/nowhere/at-all.toml")], &[], None).unwrap_err();
    assert_eq!(error.to_string(), "the configuration file /nowhere/at-all.toml cannot be read");
}

#[test]
fn half_a_cluster_is_refused() {
    let amqp = [("HEARKEN_AMQP_URL", "amqp://guest:hunter2@mq")];
    let error = refusal(&[], &amqp, None);
    assert!(error.starts_with("HEARKEN_AMQP_URL is given and --database-url is not"), "{error}");
    assert!(!error.contains("hunter2"));
    let error = refusal(&[("database-url", "postgres://db/x")], &[], None);
    assert!(error.starts_with("--database-url is given and --amqp-url is not"), "{error}");
    let error = refusal(&[], &[], Some("management-url = 'http://mq:15672'"));
    assert!(error.starts_with("management-url in hearken.toml is given without --amqp-url"));
    let whole = resolve(&[("database-url", "postgres://db/x")], &amqp, None).unwrap();
    assert!(!format!("{whole:?}").contains("hunter2"));
    assert_eq!(whole.cluster.unwrap().amqp_url.expose(), "amqp://guest:hunter2@mq");
}

#[test]
fn a_value_outside_its_range_is_refused_with_the_range() {
    for (name, value, expected) in [
        ("prefix", "a.b", "dots separate"),
        ("prefix", "abcdefghijklmnopqrstuvwxyz0123456789", "32 are allowed"),
        ("prefix", "-a", "prefix name \"-a\" is not valid"),
        ("node-id", "a b", "node name \"a b\" is not valid"),
        ("queue-type", "stream", "it must be quorum or classic"),
        ("reconcile", "Auto", "it must be auto or manual"),
        ("reconcile-interval", "30", "write a whole number and its unit"),
        ("reconcile-interval", "10ms", "between 1s and 1d"),
        ("database-connections", "3", "a number from 4 to 1000"),
        ("shutdown-patience", "2h", "between 0s and 1h"),
        ("log-format", "xml", "it must be text or json"),
        ("database-url", "mysql://db", "postgres://"),
        ("amqp-url", "mq:5672", "amqp://"),
        ("webhook-allow", "a,,b", "has an empty value"),
    ] {
        let error = refusal(&[(name, value)], &[], None);
        assert!(error.starts_with(&format!("--{name} ")), "{error}");
        assert!(error.contains(expected), "{error}");
    }
    let error = refusal(&[], &[], Some("reconcile-interval = 30"));
    assert!(error.contains("is of type integer; write every setting as a text"), "{error}");
}

#[test]
fn required_listeners_have_defaults_and_nested_configuration() {
    let file = r#"
        webhook-allow = ["indexer.internal", "10.0.0.0/8"]
        [[bus]]
        name = "orders"
        [[bus]]
        name = "mailboxEvent"
        [[required]]
        class = "webhook"
        timeout = "30s"
        configuration = { url = "http://indexer", headers = { day = 2026-01-02 }, sizes = [1, 2.5] }
        [[required]]
        class = "log"
        group = "audit"
        bus = "orders"
    "#;
    let settings = resolve(&[], &[], Some(file)).unwrap();
    assert_eq!(settings.webhook_allow, ["indexer.internal", "10.0.0.0/8"]);
    let buses: Vec<_> = settings.buses.iter().map(|bus| bus.name.as_str()).collect();
    assert_eq!(buses, ["mailboxEvent", "jmapEvent", "orders"]);
    let [webhook, audit] = settings.required.as_slice() else { panic!("{settings:?}") };
    assert_eq!((webhook.group.as_str(), webhook.bus.as_str()), ("webhook", "mailboxEvent"));
    assert_eq!(
        serde_json::Value::from(webhook.configuration.clone()),
        serde_json::json!({"url": "http://indexer", "headers": {"day": "2026-01-02"}, "sizes": [1, 2.5]})
    );
    assert_eq!((audit.group.as_str(), audit.bus.as_str()), ("audit", "orders"));
}

#[test]
fn wrong_buses_and_required_listeners_are_refused() {
    for (file, expected) in [
        ("[[required]]\nclass='log'\n[[required]]\nclass='log'", "appears twice"),
        ("[[required]]\nclass='log'\nconcurrency=0", "between 1 and 1000"),
        ("[[required]]\ngroup='a'", "missing field `class`"),
        ("[required]\nclass='log'", "write [[required]]"),
        ("[[bus]]\nname='a'\n[[bus]]\nname='a'", "appears twice"),
        ("[[bus]]\nname='a'\nexchange='x'", "only an attached bus has one"),
        ("[[bus]]\nname='a'\nattached=true", "give exchange = "),
        (
            "[[bus]]\nname='a'\ncodec='xml'",
            "unknown variant `xml`, expected one of `json`, `msgpack`, `james`",
        ),
        ("[[bus]]\nname='a'\nqueue='x'", "unknown field `queue`"),
        (
            "[[bus]]\nname='a'\nattached=true\nexchange='x'",
            "[[bus]] a in hearken.toml is attached to an exchange, which needs RabbitMQ",
        ),
        ("admin-token-file='t'\nread-token-file='t'", "the same file"),
    ] {
        let error = refusal(&[], &[], Some(file));
        assert!(error.contains(expected), "{file}: {error}");
    }
}

#[test]
fn a_bus_of_a_cluster_may_be_attached_to_an_exchange_of_another_program() {
    let cluster = [("database-url", "postgres://db/x"), ("amqp-url", "amqp://mq")];
    let attached = |exchange: &str| {
        format!("[[bus]]\nname='mailboxEvent'\ncodec='james'\nattached=true\nexchange='{exchange}'")
    };
    let settings = resolve(&cluster, &[], Some(&attached("mailboxEvent-exchange"))).unwrap();
    assert_eq!(settings.buses.len(), 2, "the file defines one of the default buses");
    assert_eq!(settings.buses[0].foreign_exchange(), Some("mailboxEvent-exchange"));
    let error = refusal(&cluster, &[], Some(&attached("hearken.jmapEvent")));
    assert!(error.contains("has the prefix of hearken's own objects"), "{error}");
}

#[test]
fn every_setting_has_a_name_of_its_own_and_a_valid_default() {
    let names: BTreeSet<_> = flags::SETTINGS.iter().map(|setting| setting.name).collect();
    assert_eq!(names.len(), flags::SETTINGS.len());
    for setting in flags::SETTINGS.iter().filter(|setting| setting.default.is_some()) {
        let value = setting.default.unwrap();
        assert!(resolve(&[(setting.name, value)], &[], None).is_ok(), "{}", setting.name);
    }
}

#[test]
fn limits_of_records_are_read_and_wrong_limits_are_refused() {
    let flags = [
        ("retain-dead-letters", "7d"),
        ("dead-letter-quota", "5, 64KiB"),
        ("retain-tasks", "12h,7"),
    ];
    let retention = resolve(&flags, &[], None).unwrap().retention;
    assert_eq!(retention.dead_letters, "7d".parse().unwrap());
    let DeadLetterQuota { entries, bytes } = retention.dead_letter_quota;
    assert_eq!((entries, bytes), (5, 65_536));
    assert_eq!(retention.tasks, HistoryLimit { age: "12h".parse().unwrap(), count: 7 });
    for (flag, value, right) in [
        ("retain-dead-letters", "30s", "it must be between 1h and 36500d"),
        ("dead-letter-quota", "5", "such as 1000000,1GiB"),
        ("dead-letter-quota", "0,1GiB", "such as 1000000,1GiB"),
        ("dead-letter-quota", "5,1GB", "such as 1000000,1GiB"),
        ("retain-tasks", "30d", "such as 30d,10000"),
        ("retain-passes", "30d,many", "such as 30d,10000"),
    ] {
        let refused = refusal(&[(flag, value)], &[], None);
        assert!(refused.starts_with(&format!("--{flag} ")) && refused.contains(right), "{refused}");
    }
}

#[test]
fn a_variable_that_is_no_setting_and_an_empty_url_stop_the_start() {
    let error = refusal(&[], &[("HEARKEN_DATABSE_URL", "postgres://u:hunter2@db/x")], None);
    assert!(error.starts_with("HEARKEN_DATABSE_URL is not a setting"), "{error}");
    assert!(error.contains("HEARKEN_DATABASE_URL") && !error.contains("hunter2"), "{error}");
    for variable in ["HEARKEN_DATABASE_URL", "HEARKEN_AMQP_URL_FILE", "HEARKEN_MANAGEMENT_URL"] {
        let error = refusal(&[], &[(variable, "")], None);
        assert!(error.starts_with(&format!("{variable} is set and empty")), "{error}");
    }
    assert!(refusal(&[("amqp-url", "")], &[], None).starts_with("--amqp-url is not a URL"));
}

#[test]
fn a_secret_setting_is_read_from_a_file_and_the_mode_is_told_without_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let database = path("database", "postgres://hearken:hunter2@db/hearken\n");
    let amqp = path("amqp", "amqp://hearken:hunter2@mq/events\n");
    let flags = [("database-url-file", database.as_str()), ("amqp-url-file", amqp.as_str())];
    let settings = resolve(&flags, &[], None).unwrap();
    let mode = "cluster mode, with postgres://db/hearken and amqp://mq/events";
    assert_eq!(settings.mode(), mode);
    assert!(settings.cluster.unwrap().database_url.expose().ends_with("@db/hearken"));
    let both = [flags[0], flags[1], ("amqp-url", "amqp://mq")];
    let error = refusal(&both, &[], None);
    assert_eq!(error, "--amqp-url and --amqp-url-file are both given; give one of them");
    let wrong = path("wrong", "hunter2");
    let error = refusal(&[("database-url-file", &wrong)], &[], None);
    assert!(error.contains("whose content") && !error.contains("hunter2"), "{error}");
    let error = refusal(&[("database-url-file", "/nowhere/at/all")], &[], None);
    assert!(error.contains("which cannot be read"), "{error}");
    assert!(resolve(&[], &[], None).unwrap().mode().starts_with("embedded mode"));
}

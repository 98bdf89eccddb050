//! Faults between hearken and RabbitMQ, and the errors that name them.

use super::{
    contract::{bus, listener},
    rabbitmq::{broker, layout},
};
use crate::support::services::{VirtualHost, virtual_host};
use hearken::{
    amqp::{Amqp, AmqpError, AmqpUrl, Purpose},
    broker::{
        Broker, BrokerError,
        rabbitmq::{RabbitMqBroker, RabbitMqConfig},
    },
    domain::plan::Action,
};
use reqwest::Method;
use serde_json::json;
use std::time::{Duration, Instant};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

/// A server that gives the same answer to every request, or never answers when there is no answer.
async fn answering(answer: Option<String>) -> String {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap();
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((mut stream, _)) = server.accept().await {
            let Some(answer) = answer.clone() else {
                held.push(stream);
                continue;
            };
            tokio::spawn(async move {
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    format!("127.0.0.1:{}", address.port())
}

async fn managed_by(status: &str, headers: &str, body: &str) -> BrokerError {
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}"
    );
    let address = answering(Some(answer)).await;
    let host = VirtualHost {
        name: "v".into(),
        amqp: "amqp://anna:secret@127.0.0.1:1/v".into(),
        management: format!("http://{address}"),
    };
    let error = broker(&host, &layout()).observe().await.unwrap_err();
    assert!(!everything(&error).contains("secret"), "{error:?}");
    error
}

/// An error with its sources, as a log shows it.
fn everything(error: &dyn std::error::Error) -> String {
    let mut text = format!("{error} {error:?}");
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

#[tokio::test]
async fn a_refused_user_is_told_what_to_check() {
    let reply = r#"{"error":"not_authorised","reason":"Login failed"}"#;
    let error = managed_by("401 Unauthorized", "", reply).await;
    let said = error.to_string();
    assert!(matches!(error, BrokerError::Refused { .. }), "{error:?}");
    for part in ["\"anna\"", "--management-url", "Login failed", "127.0.0.1"] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[tokio::test]
async fn an_answer_that_is_not_rabbitmqs_is_shown() {
    for status in ["200 OK", "404 Not Found", "400 Bad Request"] {
        let error = managed_by(status, "", "<html>Welcome</html>").await;
        assert!(matches!(error, BrokerError::Protocol(_)), "{error:?}");
        let said = error.to_string();
        assert!(said.contains("<html>Welcome") && said.contains("http://127.0.0.1"), "{said}");
    }
    let error = managed_by("200 OK", "", r#"[{"name": 5}]"#).await;
    assert!(matches!(error, BrokerError::Protocol(_)), "{error:?}");
    let error = managed_by("302 Found", "location: https://elsewhere/\r\n", "").await;
    assert!(error.to_string().contains("https://elsewhere/"), "{error}");
    let error = managed_by("503 Service Unavailable", "", "later").await;
    assert!(error.is_transient() && error.to_string().contains("503"), "{error:?}");
}

#[tokio::test]
async fn a_management_api_that_is_not_there_is_out_of_reach() {
    let host = VirtualHost {
        name: "v".into(),
        amqp: "amqp://anna:secret@127.0.0.1:1/v".into(),
        management: "http://127.0.0.1:1".into(),
    };
    let error = broker(&host, &layout()).observe().await.unwrap_err();
    assert!(error.is_transient() && error.to_string().contains("http://127.0.0.1:1/"), "{error:?}");
    assert!(!everything(&error).contains("secret"));
}

#[tokio::test]
async fn a_missing_virtual_host_is_named_by_both_ways_in() {
    let real = virtual_host().await;
    let name = format!("{}x", real.name);
    let amqp = real.amqp.replace(&real.name, &name);
    let host = VirtualHost { name: name.clone(), amqp, management: real.management.clone() };
    let broker = broker(&host, &layout());
    let error = broker.observe().await.unwrap_err();
    assert!(matches!(error, BrokerError::Missing(_)), "{error:?}");
    assert!(error.to_string().contains(&name), "{error}");
    let error = broker.apply(&Action::DeleteQueue("hearken.q".into())).await.unwrap_err();
    assert!(error.to_string().contains(&name), "{error}");
    // A queue of a virtual host that is gone is not a queue that is gone.
    let error = broker.depth("hearken.q").await.unwrap_err();
    assert!(error.to_string().contains(&name), "{error}");
}

#[tokio::test]
async fn a_wrong_password_is_named_by_both_ways_in() {
    let host = virtual_host().await;
    let amqp = host.amqp.replace("guest:guest@", "guest:secret@");
    let management = host.management.replace("guest:guest@", "guest:secret@");
    let wrong = VirtualHost { name: host.name.clone(), amqp, management };
    let broker = broker(&wrong, &layout());
    let over_http = broker.observe().await.unwrap_err();
    assert!(over_http.to_string().contains("--management-url"), "{over_http}");
    let over_amqp = broker.apply(&Action::DeleteQueue("hearken.q".into())).await.unwrap_err();
    assert!(over_amqp.to_string().contains("--amqp-url"), "{over_amqp}");
    assert!(!over_amqp.is_transient());
    for error in [over_http, over_amqp] {
        assert!(!everything(&error).contains("secret"), "{error:?}");
    }
}

#[tokio::test]
async fn credentials_of_the_amqp_url_serve_where_the_management_url_has_none() {
    let host = virtual_host().await;
    let user = format!("u_{}", host.name);
    let account = json!({"password": "p@/ü+ %", "tags": "management"});
    host.api(Method::PUT, &format!("users/{user}"), Some(account)).await;
    let all = json!({"configure": ".*", "write": ".*", "read": ".*"});
    host.api(Method::PUT, &format!("permissions/{}/{user}", host.name), Some(all)).await;
    let login = format!("{user}:p%40%2F%C3%BC+%20%25@");
    let bare = host.management.replace("guest:guest@", "");
    let given = host.management.replace("guest:guest@", &login);
    for management in [bare, given] {
        let amqp = host.amqp.replace("guest:guest@", &login);
        let host = VirtualHost { name: host.name.clone(), amqp, management };
        let broker = broker(&host, &layout());
        super::contract::converge(&broker, &layout(), &[listener("a")]).await;
        // This user may not read policies: the topology is read all the same.
        let observed = broker.observe().await.unwrap();
        assert!(observed.exchanges.contains_key(&layout().main(&bus())));
    }
    host.api(Method::DELETE, &format!("users/{user}"), None).await;
}

#[tokio::test]
async fn a_user_without_rights_is_refused_in_the_brokers_words() {
    let host = virtual_host().await;
    let none = json!({"configure": "", "write": "", "read": ".*"});
    host.api(Method::PUT, &format!("permissions/{}/guest", host.name), Some(none)).await;
    let exchange =
        super::contract::desire(&layout(), &[]).topology.exchanges[&layout().main(&bus())].clone();
    let broker = broker(&host, &layout());
    let error = broker.apply(&Action::DeclareExchange(exchange)).await.unwrap_err();
    let BrokerError::Refused { reply, .. } = &error else { panic!("{error:?}") };
    assert!(reply.contains("ACCESS_REFUSED") && reply.contains("guest"), "{reply}");
}

#[tokio::test]
async fn a_management_url_that_cannot_be_used_is_refused_at_once() {
    for (url, problem) in [("broker:15672", "http or https"), ("", "not a URL")] {
        let config = RabbitMqConfig {
            amqp_url: AmqpUrl::parse("amqp://b/v").unwrap(),
            management_url: Some(url.into()),
            layout: layout(),
            node: "n".into(),
        };
        let error = RabbitMqBroker::new(config).err().unwrap().to_string();
        assert!(error.contains("--management-url") && error.contains(problem), "{error}");
    }
}

/// Tries AMQP and the management API at the same time, since each takes as long as its limit.
#[tokio::test]
async fn a_server_that_accepts_and_says_nothing_is_given_up() {
    let silent = answering(None).await;
    let host = VirtualHost {
        name: "v".into(),
        amqp: format!("amqp://anna:secret@{silent}/v"),
        management: format!("http://{silent}"),
    };
    let over_http = async {
        let error = broker(&host, &layout()).observe().await.unwrap_err();
        assert!(error.is_transient(), "{error:?}");
    };
    let amqp = Amqp::new(AmqpUrl::parse(&host.amqp).unwrap(), "n", Purpose::Admin);
    let over_amqp = async {
        let began = Instant::now();
        let callers = (0..5).map(|_| amqp.channel());
        for outcome in futures_util::future::join_all(callers).await {
            let error = outcome.unwrap_err();
            assert!(error.is_transient() && error.to_string().contains("in time"), "{error}");
        }
        let took = began.elapsed();
        assert!(
            took < Duration::from_secs(19),
            "they share an attempt of 10 s; this took {took:?}"
        );
    };
    tokio::join!(over_http, over_amqp);
}

#[tokio::test]
async fn tls_with_a_server_that_does_not_speak_it_is_said() {
    let plain = answering(Some("AMQP or something".into())).await;
    let amqp =
        Amqp::new(AmqpUrl::parse(&format!("amqps://{plain}/v")).unwrap(), "n", Purpose::Admin);
    let error = amqp.channel().await.unwrap_err();
    assert!(matches!(error, AmqpError::Tls { .. }), "{error:?}");
}

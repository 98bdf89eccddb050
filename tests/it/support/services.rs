//! The services that `cargo xtask test` started.

use sqlx::Connection;
use uuid::Uuid;

fn address(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| {
        panic!("{variable} is not set: run the tests with `cargo xtask test`, which starts the services")
    })
}

/// A PostgreSQL database of the test's own, empty. Returns its URL.
pub(crate) async fn database() -> String {
    let server = address("TEST_HEARKEN_POSTGRES");
    let name = format!("t_{}", Uuid::new_v4().simple());
    let mut admin = sqlx::PgConnection::connect(&server).await.expect("PostgreSQL answers");
    let create = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"));
    sqlx::query(create).execute(&mut admin).await.expect("a test may create databases");
    let (base, _) = server.rsplit_once('/').expect("the URL names a database");
    format!("{base}/{name}")
}

/// A session of the superuser of the shared PostgreSQL, in a database that no node uses.
pub(crate) async fn superuser() -> sqlx::PgConnection {
    let server = address("TEST_HEARKEN_POSTGRES");
    sqlx::PgConnection::connect(&server).await.expect("PostgreSQL answers")
}

/// A copy of a database that no process uses, as a restored backup would be. Returns its URL.
pub(crate) async fn copy_of(database: &str) -> String {
    let (base, original) = database.rsplit_once('/').expect("the URL names a database");
    let name = format!("t_{}", Uuid::new_v4().simple());
    let server = address("TEST_HEARKEN_POSTGRES");
    let mut admin = sqlx::PgConnection::connect(&server).await.expect("PostgreSQL answers");
    let create = format!("CREATE DATABASE {name} TEMPLATE {original}");
    let create = sqlx::AssertSqlSafe(create);
    sqlx::query(create).execute(&mut admin).await.expect("no process uses the original");
    format!("{base}/{name}")
}

/// A RabbitMQ virtual host of a test's own, empty.
#[derive(Clone)]
pub(crate) struct VirtualHost {
    pub(crate) name: String,
    /// Its AMQP URL.
    pub(crate) amqp: String,
    /// The management API's URL, with credentials.
    pub(crate) management: String,
}

/// Makes a virtual host on the shared broker.
pub(crate) async fn virtual_host() -> VirtualHost {
    virtual_host_on(&address("TEST_HEARKEN_AMQP"), &address("TEST_HEARKEN_MANAGEMENT")).await
}

/// Makes a virtual host on a broker.
pub(crate) async fn virtual_host_on(amqp: &str, management: &str) -> VirtualHost {
    let name = format!("t_{}", Uuid::new_v4().simple());
    let (base, _) = amqp.rsplit_once('/').expect("the URL names a virtual host");
    let host = VirtualHost {
        amqp: format!("{base}/{name}"),
        management: management.to_owned(),
        name: name.clone(),
    };
    host.api(reqwest::Method::PUT, &format!("vhosts/{name}"), Some(serde_json::json!({}))).await;
    let all = serde_json::json!({"configure": ".*", "write": ".*", "read": ".*"});
    host.api(reqwest::Method::PUT, &format!("permissions/{name}/guest"), Some(all)).await;
    host
}

impl VirtualHost {
    /// Calls the management API as an administrator would by hand. Fails on any refusal.
    pub(crate) async fn api(
        &self,
        method: reqwest::Method,
        path: &str,
        body: Option<serde_json::Value>,
    ) -> serde_json::Value {
        hearken::tls::init();
        let url = format!("{}/api/{path}", self.management);
        let mut request = reqwest::Client::new().request(method, &url);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.expect("the management API answers");
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        let text = answer.text().await.expect("the answer is whole");
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// Deletes an object that may be gone already.
    pub(crate) async fn delete_if_there(&self, path: &str) {
        hearken::tls::init();
        let url = format!("{}/api/{path}", self.management);
        let answer = reqwest::Client::new().delete(&url).send().await;
        let status = answer.expect("the management API answers").status();
        let gone = status == reqwest::StatusCode::NOT_FOUND;
        assert!(status.is_success() || gone, "{path}: {status}");
    }
}

//! What an administrator does to AMQP connections.

use super::{services::VirtualHost, wait};
use reqwest::Method;
use serde_json::Value;

/// The names of the connections to a virtual host, as RabbitMQ lists them.
pub(crate) async fn names(host: &VirtualHost) -> Vec<String> {
    let listed = host.api(Method::GET, &format!("vhosts/{}/connections", host.name), None).await;
    let name = |row: &Value| row["name"].as_str().map(str::to_owned);
    listed.as_array().into_iter().flatten().filter_map(name).collect()
}

/// Closes every connection to a virtual host, once the management API knows of one.
pub(crate) async fn close_all(host: &VirtualHost) {
    let names = wait::until("a connection is listed", async || {
        Some(names(host).await).filter(|names| !names.is_empty())
    });
    for name in names.await {
        let path = format!("connections/{}", name.replace(' ', "%20").replace('>', "%3E"));
        // Listed for a while after it has closed.
        host.delete_if_there(&path).await;
    }
}

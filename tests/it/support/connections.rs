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

/// Closes every connection to a virtual host. The management API lists a connection a little after
/// it was opened, so the list must have the same connections several times in a row.
pub(crate) async fn close_all(host: &VirtualHost) {
    let (mut before, mut same) = (Vec::new(), 0);
    while same < 10 {
        let mut listed = names(host).await;
        listed.sort();
        same = if listed == before && !listed.is_empty() { same + 1 } else { 0 };
        before = listed;
        wait::look_again().await;
    }
    for name in before {
        let path = format!("connections/{}", name.replace(' ', "%20").replace('>', "%3E"));
        // Listed for a while after it has closed.
        host.delete_if_there(&path).await;
    }
}

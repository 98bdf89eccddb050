//! Addresses that webhooks may reach.
//!
//! Without this policy, an administrator who may add a listener could make every node call into its
//! own network. So an address that is not public is refused unless the operator allows it. The
//! policy checks the address of the connection itself: each connection looks its name up again
//! under the policy, so a name cannot change to a forbidden address after a check.

mod address;

use address::{AddressKind, contains, embedded, first_of, kind};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use url::Host;

/// Longest time to look up a name.
const LOOKUP: Duration = Duration::from_secs(5);

/// An entry of `--webhook-allow`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Allowed {
    /// A network: its address and the length of its prefix. A single address has the full length.
    Network(IpAddr, u8),
    /// A host, by its name in the URL, with all its addresses.
    Host(String),
}

/// The addresses that webhooks may reach besides public addresses.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WebhookPolicy {
    /// Entries of `--webhook-allow`.
    pub allow: Vec<Allowed>,
    /// Whether loopback addresses of this machine may be reached.
    pub loopback: bool,
    /// Whether private networks may be reached (RFC 1918, RFC 6598, RFC 4193). Link-local addresses
    /// are not included, because cloud providers serve credentials there.
    pub private: bool,
}

/// Refusal of an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "webhooks may not reach {host}: {address} is {kind}; an operator can allow it with --webhook-allow {suggestion}"
)]
pub struct Refused {
    host: String,
    address: IpAddr,
    kind: AddressKind,
    suggestion: String,
}

impl WebhookPolicy {
    /// Checks the host of a URL if it is an address. A name passes, because its addresses are
    /// checked when it is looked up.
    ///
    /// # Errors
    /// [`Refused`] names the address and the setting that would allow it.
    pub fn check_literal(&self, host: &Host<&str>) -> Result<(), Refused> {
        match host {
            Host::Domain(_) => Ok(()),
            Host::Ipv4(address) => self.check(&address.to_string(), (*address).into()),
            Host::Ipv6(address) => self.check(&address.to_string(), (*address).into()),
        }
    }

    /// Checks an address of `host`.
    ///
    /// # Errors
    /// [`Refused`] names the address and the setting that would allow it.
    pub fn check(&self, host: &str, address: IpAddr) -> Result<(), Refused> {
        let real = embedded(address);
        let kind = kind(real);
        let by_kind = match kind {
            AddressKind::Public => true,
            AddressKind::Loopback => self.loopback,
            AddressKind::Private => self.private,
            _ => false,
        };
        let named = |allowed: &Allowed| match allowed {
            Allowed::Network(network, prefix) => {
                contains(*network, *prefix, real) || contains(*network, *prefix, address)
            }
            Allowed::Host(name) => name.eq_ignore_ascii_case(host.trim_end_matches('.')),
        };
        if by_kind || self.allow.iter().any(named) {
            return Ok(());
        }
        let suggestion = host.trim_end_matches('.').to_owned();
        Err(Refused { host: host.to_owned(), address, kind, suggestion })
    }

    /// Looks a name up and keeps the addresses that may be reached.
    async fn addresses(&self, host: &str) -> Result<Vec<SocketAddr>, LookupError> {
        let lookup = tokio::net::lookup_host((host, 0));
        let found = tokio::time::timeout(LOOKUP, lookup)
            .await
            .map_err(|_| LookupError::Slow(host.to_owned()))?
            .map_err(|source| LookupError::Failed { host: host.to_owned(), source })?;
        let mut refused = None;
        let mut reachable = Vec::new();
        for address in found {
            match self.check(host, address.ip()) {
                Ok(()) => reachable.push(address),
                Err(reason) => refused = refused.or(Some(reason)),
            }
        }
        match refused {
            Some(reason) if reachable.is_empty() => Err(reason.into()),
            None if reachable.is_empty() => Err(LookupError::Nothing(host.to_owned())),
            _ => Ok(reachable),
        }
    }
}

/// Reason why the lookup of a name gives no address.
#[derive(Debug, thiserror::Error)]
enum LookupError {
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("the name {host} cannot be looked up")]
    Failed {
        host: String,
        #[source]
        source: std::io::Error,
    },
    #[error("looking up the name {0} took longer than {LOOKUP:?}")]
    Slow(String),
    #[error("the name {0} has no address")]
    Nothing(String),
}

/// Resolver of the HTTP client. It returns only addresses that the policy allows.
pub(super) struct Resolver(pub(super) Arc<WebhookPolicy>);

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let policy = Arc::clone(&self.0);
        Box::pin(async move {
            let addresses = policy.addresses(name.as_str()).await?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// Reads a list of networks, addresses and host names, separated by commas.
///
/// # Errors
/// Names the entry that is not a network, address or host name, and gives the expected form.
pub fn parse_allow(text: &str) -> Result<Vec<Allowed>, String> {
    let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    entries.map(parse_entry).collect()
}

fn parse_entry(entry: &str) -> Result<Allowed, String> {
    let wrong = |problem: &str| {
        Err(format!(
            "{entry:?} {problem}; write a network (10.0.0.0/8), an address (10.1.2.3, fd00::1) or a host name (indexer.internal)"
        ))
    };
    if let Some((network, prefix)) = entry.split_once('/') {
        let Ok(network) = network.parse::<IpAddr>() else {
            return wrong("does not begin with an IP address");
        };
        let longest = if network.is_ipv4() { 32 } else { 128 };
        return match prefix.parse::<u8>() {
            Ok(prefix) if prefix > longest => wrong("has a longer prefix than its address"),
            Ok(prefix) if first_of(network, prefix) != network => {
                wrong("has address bits set after its prefix")
            }
            Ok(prefix) => Ok(Allowed::Network(network, prefix)),
            Err(_) => wrong("has no number after the /"),
        };
    }
    let bare = entry.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(entry);
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Ok(Allowed::Network(address, if address.is_ipv4() { 32 } else { 128 }));
    }
    let ends_in_digits = entry.rsplit('.').next().is_some_and(|l| l.parse::<u32>().is_ok());
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    if ends_in_digits || !entry.bytes().all(allowed) || entry.starts_with(['.', '-']) {
        return wrong("is not a network, an address or a host name");
    }
    Ok(Allowed::Host(entry.trim_end_matches('.').to_owned()))
}

#[cfg(test)]
mod tests;

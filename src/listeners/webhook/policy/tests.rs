use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn allowing(text: &str) -> WebhookPolicy {
    WebhookPolicy { allow: parse_allow(text).unwrap(), ..WebhookPolicy::default() }
}

#[test]
fn a_public_address_is_reached() {
    for address in ["8.8.8.8", "172.32.0.1", "2001:4860:4860::8888", "::ffff:8.8.8.8"] {
        assert_eq!(WebhookPolicy::default().check("h", ip(address)), Ok(()), "{address}");
    }
}

#[test]
fn an_address_that_is_not_public_is_refused_by_its_kind() {
    for (address, kind) in [
        ("127.0.0.1", AddressKind::Loopback),
        ("127.9.9.9", AddressKind::Loopback),
        ("::1", AddressKind::Loopback),
        ("::ffff:127.0.0.1", AddressKind::Loopback),
        ("::127.0.0.1", AddressKind::Loopback),
        ("64:ff9b::7f00:1", AddressKind::Loopback),
        ("2002:7f00:1::", AddressKind::Loopback),
        ("10.1.2.3", AddressKind::Private),
        ("172.16.0.1", AddressKind::Private),
        ("192.168.1.1", AddressKind::Private),
        ("100.64.0.1", AddressKind::Private),
        ("fd00::1", AddressKind::Private),
        ("fec0::1", AddressKind::Private),
        ("::ffff:10.0.0.1", AddressKind::Private),
        ("169.254.169.254", AddressKind::LinkLocal),
        ("fe80::1", AddressKind::LinkLocal),
        ("::ffff:169.254.169.254", AddressKind::LinkLocal),
        ("224.0.0.1", AddressKind::Multicast),
        ("ff02::1", AddressKind::Multicast),
        ("0.0.0.0", AddressKind::Unspecified),
        ("::", AddressKind::Unspecified),
        ("::ffff:0.0.0.0", AddressKind::Unspecified),
        ("0.1.2.3", AddressKind::Reserved),
        ("255.255.255.255", AddressKind::Reserved),
        ("100::1", AddressKind::Reserved),
        ("2001::1", AddressKind::Reserved),
    ] {
        let refused = WebhookPolicy::default().check("h", ip(address)).unwrap_err();
        assert_eq!(refused.kind, kind, "{address}");
    }
}

#[test]
fn the_flags_open_loopback_and_private_networks_and_nothing_else() {
    let loopback = WebhookPolicy { loopback: true, ..WebhookPolicy::default() };
    let private = WebhookPolicy { private: true, ..WebhookPolicy::default() };
    assert!(loopback.check("h", ip("::ffff:127.0.0.1")).is_ok());
    assert!(loopback.check("h", ip("10.0.0.1")).is_err());
    assert!(private.check("h", ip("10.0.0.1")).is_ok());
    assert!(private.check("h", ip("127.0.0.1")).is_err());
    assert!(private.check("h", ip("169.254.169.254")).is_err());
}

#[test]
fn what_the_operator_names_is_reached() {
    let policy = allowing("10.0.0.0/8, fd00::/16,Indexer.internal ,169.254.1.1,[fe80::1]");
    for address in ["10.255.0.1", "::ffff:10.0.0.1", "fd00:1::", "169.254.1.1", "fe80::1"] {
        assert_eq!(policy.check("h", ip(address)), Ok(()), "{address}");
    }
    for address in ["192.168.0.1", "fd01::", "169.254.1.2"] {
        assert!(policy.check("h", ip(address)).is_err(), "{address}");
    }
    assert_eq!(policy.check("indexer.INTERNAL.", ip("192.168.0.1")), Ok(()));
    assert!(policy.check("other.internal", ip("192.168.0.1")).is_err());
    let mapped = allowing("::ffff:0:0/96");
    assert_eq!(mapped.check("h", ip("::ffff:10.0.0.1")), Ok(()));
    assert!(mapped.check("h", ip("10.0.0.1")).is_err());
    assert_eq!(allowing("0.0.0.0/0").check("h", ip("10.0.0.1")), Ok(()));
}

#[test]
fn a_refusal_names_the_setting_that_would_allow_it() {
    let refused = WebhookPolicy::default().check("indexer.internal", ip("10.1.2.3")).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "webhooks may not reach indexer.internal: 10.1.2.3 is a private address; an operator can allow it with --webhook-allow indexer.internal"
    );
}

#[test]
fn a_wrong_entry_is_named_with_its_mistake() {
    for (text, problem) in [
        ("10.0.0.0/33", "has a longer prefix than its address"),
        ("10.0.0.1/8", "has address bits set after its prefix"),
        ("10.0.0.0/x", "has no number after the /"),
        ("host/8", "does not begin with an IP address"),
        ("300.0.0.1", "is not a network, an address or a host name"),
        ("http:", "is not a network, an address or a host name"),
        ("a b", "is not a network, an address or a host name"),
        ("*.internal", "is not a network, an address or a host name"),
    ] {
        let error = parse_allow(&format!("ok.internal,{text}")).unwrap_err();
        assert!(error.starts_with(&format!("{text:?} {problem}")), "{error}");
    }
    assert_eq!(parse_allow(" , ").unwrap(), []);
}

#[tokio::test]
async fn a_name_that_leads_to_loopback_is_refused_when_it_is_looked_up() {
    let resolver = Resolver(Arc::new(WebhookPolicy::default()));
    let error = resolver.resolve("localhost".parse().unwrap()).await.err().unwrap();
    assert!(error.to_string().contains("--webhook-allow localhost"), "{error}");
    let open = Arc::new(WebhookPolicy { loopback: true, ..WebhookPolicy::default() });
    let found = Resolver(open).resolve("localhost".parse().unwrap()).await.unwrap();
    assert!(found.count() > 0);
}

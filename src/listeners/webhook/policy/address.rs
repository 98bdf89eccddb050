//! Kinds of IP addresses, and networks.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// Kind of an address, as the policy distinguishes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AddressKind {
    Public,
    Loopback,
    Private,
    LinkLocal,
    Multicast,
    Unspecified,
    Reserved,
}

impl fmt::Display for AddressKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Public => "a public address",
            Self::Loopback => "a loopback address",
            Self::Private => "a private address",
            Self::LinkLocal => "a link-local address",
            Self::Multicast => "a multicast address",
            Self::Unspecified => "no particular address",
            Self::Reserved => "a reserved address",
        })
    }
}

fn bits(address: IpAddr) -> (u128, u32) {
    match address {
        IpAddr::V4(v4) => (u128::from(v4.to_bits()), 32),
        IpAddr::V6(v6) => (v6.to_bits(), 128),
    }
}

fn mask(width: u32, prefix: u8) -> u128 {
    let free = width.saturating_sub(u32::from(prefix));
    u128::MAX.checked_shl(free).unwrap_or(0)
}

/// The first address of a network.
pub(super) fn first_of(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let free = 32 - u32::from(prefix.min(32));
            Ipv4Addr::from_bits(v4.to_bits() & u32::MAX.checked_shl(free).unwrap_or(0)).into()
        }
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & mask(128, prefix)).into(),
    }
}

/// Whether an address lies in a network. An address of the other IP version never does.
pub(super) fn contains(network: IpAddr, prefix: u8, address: IpAddr) -> bool {
    let ((network, width), (address, other)) = (bits(network), bits(address));
    width == other && (network ^ address) & mask(width, prefix) == 0
}

/// The IPv4 address that an IPv6 address wraps: mapped (`::ffff:0:0/96`), compatible (`::/96`),
/// NAT64 (RFC 6052) and 6to4 (RFC 3056). Any other address is returned unchanged.
pub(super) fn embedded(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    let [.., a, b, c, d] = v6.octets();
    let last = Ipv4Addr::new(a, b, c, d);
    match v6.segments() {
        [0, 0, 0, 0, 0, 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => last.into(),
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 || low > 1 => last.into(),
        [0x2002, high, low, ..] => {
            Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)).into()
        }
        _ => address,
    }
}

/// Kind of an address.
pub(super) fn kind(address: IpAddr) -> AddressKind {
    match address {
        IpAddr::V4(v4) => kind_v4(v4),
        IpAddr::V6(v6) => kind_v6(v6),
    }
}

/// Kind by IANA's registry of special-purpose IPv4 addresses (RFC 6890). Addresses on which no host
/// can listen are left out.
fn kind_v4(v4: Ipv4Addr) -> AddressKind {
    match v4.octets() {
        [0, 0, 0, 0] => AddressKind::Unspecified,
        [127, ..] => AddressKind::Loopback,
        [169, 254, ..] => AddressKind::LinkLocal,
        // Shared address space of carriers (RFC 6598), and benchmarking (RFC 2544).
        [100, 64..=127, ..] | [198, 18..=19, ..] => AddressKind::Private,
        _ if v4.is_private() => AddressKind::Private,
        _ if v4.is_multicast() => AddressKind::Multicast,
        [0 | 240..=255, ..] | [192, 0, 0, _] => AddressKind::Reserved,
        _ => AddressKind::Public,
    }
}

fn kind_v6(v6: Ipv6Addr) -> AddressKind {
    match v6.segments()[0] {
        _ if v6.is_loopback() => AddressKind::Loopback,
        _ if v6.is_unspecified() => AddressKind::Unspecified,
        _ if v6.is_unique_local() => AddressKind::Private,
        // Site-local (fec0::/10) is deprecated, and some networks still route it.
        0xfec0..=0xfeff => AddressKind::Private,
        _ if v6.is_unicast_link_local() => AddressKind::LinkLocal,
        _ if v6.is_multicast() => AddressKind::Multicast,
        // Teredo (RFC 4380) hides an IPv4 address behind another operator's relay.
        0x2001 if v6.segments()[1] == 0 => AddressKind::Reserved,
        0x2000..=0x3fff => AddressKind::Public,
        _ => AddressKind::Reserved,
    }
}

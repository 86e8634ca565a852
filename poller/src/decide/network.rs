//! Which addresses may a registry, or the token server it names, have? Anyone who may write a
//! bundle chooses the address, so only the public internet is open to everybody. What the IANA
//! registries of special-purpose addresses (RFC 6890) list is not, unless it lies in a network that
//! whoever started the poller allowed. There is no difference between "private" and "dangerous": an
//! address is public, allowed, or refused.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use url::{Host, Url};

/// The networks that are allowed besides the public ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks {
    allowed: Vec<IpNet>,
}

/// An address, or a name of addresses, that is neither public nor allowed. It does not say which
/// address that is: whoever may only write a bundle is not told what names stand for inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the address is in a private or reserved network; whoever runs the operator can allow it with --allow-networks"
)]
pub struct AddressNotAllowed;

/// A list of networks that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidNetwork {
    /// Neither a network nor an address.
    #[error("must be networks like 10.0.0.0/8,fd00::/8, separated by commas")]
    Unreadable,
    /// The address goes on after its network part, so that one of the two is a mistake.
    #[error("{given} has bits beyond its prefix, the network is {meant}")]
    HostBits {
        /// What was given.
        given: IpNet,
        /// What it is part of.
        meant: IpNet,
    },
}

/// IANA IPv4 Special-Purpose Address Registry, as far as it is not globally reachable; multicast
/// (RFC 5771); and one address that looks public and is not.
const SPECIAL_V4: [Ipv4Net; 18] = [
    v4([0, 0, 0, 0], 8),          // "this network", RFC 791
    v4([10, 0, 0, 0], 8),         // private, RFC 1918
    v4([100, 64, 0, 0], 10),      // shared, RFC 6598; metadata of Alibaba Cloud
    v4([127, 0, 0, 0], 8),        // loopback, RFC 1122
    v4([168, 63, 129, 16], 32),   // the platform's own services on Azure
    v4([169, 254, 0, 0], 16),     // link-local, RFC 3927; metadata of most clouds
    v4([172, 16, 0, 0], 12),      // private, RFC 1918
    v4([192, 0, 0, 0], 24),       // protocol assignments, RFC 6890
    v4([192, 0, 2, 0], 24),       // documentation, RFC 5737
    v4([192, 88, 99, 0], 24),     // relays of 6to4, RFC 7526
    v4([192, 168, 0, 0], 16),     // private, RFC 1918
    v4([198, 18, 0, 0], 15),      // benchmarks, RFC 2544
    v4([198, 51, 100, 0], 24),    // documentation, RFC 5737
    v4([203, 0, 113, 0], 24),     // documentation, RFC 5737
    v4([224, 0, 0, 0], 4),        // multicast, RFC 5771
    v4([233, 252, 0, 0], 24),     // documentation, RFC 6676
    v4([240, 0, 0, 0], 4),        // reserved, RFC 1112
    v4([255, 255, 255, 255], 32), // broadcast, RFC 919
];

/// All that is assigned for the global use by single hosts (RFC 4291 section 2.4): loopback,
/// unique local, link-local, multicast, IPv4-compatible and much else is outside.
const GLOBAL_V6: Ipv6Net = v6(0x2000_0000, 3);

/// What the IANA IPv6 Special-Purpose Address Registry has inside of it.
const SPECIAL_V6: [Ipv6Net; 4] = [
    v6(0x2001_0000, 23), // protocol assignments, RFC 2928; Teredo is among them
    v6(0x2001_0db8, 32), // documentation, RFC 3849
    v6(0x2002_0000, 16), // 6to4, RFC 3056: leads to an IPv4 address of its choice
    v6(0x3fff_0000, 20), // documentation, RFC 9637
];

/// NAT64 (RFC 6052): leads to the IPv4 address in its last 32 bits.
const NAT64: Ipv6Net = v6(0x0064_ff9b, 96);

const fn v4(octets: [u8; 4], prefix: u8) -> Ipv4Net {
    let [a, b, c, d] = octets;
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

/// A network by its first 32 bits; the others are zero in all of the above.
const fn v6(first: u128, prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::from_bits(first << 96), prefix)
}

impl Networks {
    /// The host of a URL may be reached, as far as the URL tells: an address in any spelling that
    /// URLs have for one is judged here, a name where it is resolved.
    pub fn check(&self, url: &Url) -> Result<(), AddressNotAllowed> {
        let admitted = match url.host() {
            Some(Host::Ipv4(address)) => self.admit(address.into()),
            Some(Host::Ipv6(address)) => self.admit(address.into()),
            Some(Host::Domain(_)) => true,
            None => false,
        };
        admitted.then_some(()).ok_or(AddressNotAllowed)
    }

    /// A connection to this address may be made.
    pub fn admit(&self, address: IpAddr) -> bool {
        // An IPv4-mapped address is the IPv4 address to the kernel, whatever it is called.
        let canonical = address.to_canonical();
        if self.allow(address) || self.allow(canonical) {
            return true;
        }
        match canonical {
            IpAddr::V4(v4) => is_public(v4),
            IpAddr::V6(v6) if NAT64.contains(&v6) => self.admit(embedded(v6).into()),
            IpAddr::V6(v6) => {
                GLOBAL_V6.contains(&v6) && !SPECIAL_V6.iter().any(|net| net.contains(&v6))
            }
        }
    }

    fn allow(&self, address: IpAddr) -> bool {
        self.allowed.iter().any(|net| net.contains(&address))
    }
}

impl FromStr for Networks {
    type Err = InvalidNetwork;

    /// Networks separated by commas; an address alone is a network of one.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.split(',').map(str::trim);
        let allowed: Result<_, _> = parts.filter(|part| !part.is_empty()).map(network).collect();
        Ok(Self { allowed: allowed? })
    }
}

fn network(text: &str) -> Result<IpNet, InvalidNetwork> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(address.into());
    }
    let given: IpNet = text.parse().map_err(|_| InvalidNetwork::Unreadable)?;
    let meant = given.trunc();
    if given == meant {
        Ok(given)
    } else {
        Err(InvalidNetwork::HostBits { given, meant })
    }
}

fn is_public(address: Ipv4Addr) -> bool {
    !SPECIAL_V4.iter().any(|net| net.contains(&address))
}

fn embedded(address: Ipv6Addr) -> Ipv4Addr {
    let [.., a, b, c, d] = address.octets();
    Ipv4Addr::new(a, b, c, d)
}

#[cfg(test)]
mod tests;

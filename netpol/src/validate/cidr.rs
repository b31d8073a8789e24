//! Addresses and blocks as the API server reads them in fields that are older than strict rules for them:
//! `netutils.ParseIPSloppy` and `ParseCIDRSloppy` of k8s.io/utils, and what Go's net package makes of
//! IPv4-mapped addresses; and which of these `StrictIPCIDRValidation` refuses, which is on by default
//! since Kubernetes 1.36 (KEP-4858; `parseCIDR` of k8s.io/apimachinery/pkg/util/validation/ip.go).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// How many bits of an IPv4-mapped address stand before that of IPv4.
const MAPPED: u8 = 96;

/// A block as it is written.
#[derive(Clone, Copy, Debug)]
pub struct Written {
    /// The address, host bits and all.
    address: IpAddr,
    /// The number behind the slash.
    length: u8,
    has_zeros: bool,
}

/// Reads an address: zeros in front are passed over.
#[must_use]
pub fn parse_address(text: &str) -> Option<IpAddr> {
    let without_zeros = |octets: &str| {
        octets.split('.').map(trim).collect::<Option<Vec<_>>>().map(|octets| octets.join("."))
    };
    if !text.contains(':') {
        return without_zeros(text)?.parse::<Ipv4Addr>().ok().map(IpAddr::V4);
    }
    let groups = text.split(':').map(|group| match group {
        "" => Some(String::new()),
        octets if octets.contains('.') => without_zeros(octets),
        group => trim(group).map(str::to_owned),
    });
    let groups = groups.collect::<Option<Vec<_>>>()?;
    groups.join(":").parse::<Ipv6Addr>().ok().map(IpAddr::V6)
}

/// A number without the zeros in front; `None` where there is none.
fn trim(number: &str) -> Option<&str> {
    match number.trim_start_matches('0') {
        "" if number.is_empty() => None,
        "" => Some("0"),
        rest => Some(rest),
    }
}

impl Written {
    /// Reads a block.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (address_text, length_text) = text.split_once('/')?;
        let address = parse_address(address_text)?;
        if !length_text.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let length = trim(length_text)?.parse().ok()?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let zero_in_front = |number: &str| number.len() > 1 && number.starts_with('0');
        // Of a group in hexadecimal four digits are as usual.
        let odd_group = |group: &str| {
            let is_octets = group.contains('.');
            (is_octets && group.split('.').any(zero_in_front))
                || (!is_octets && address.is_ipv6() && group.len() > 4)
        };
        let has_zeros = zero_in_front(length_text) || address_text.split(':').any(odd_group);
        (length <= longest).then_some(Self { address, length, has_zeros })
    }

    /// The block that it is. `net.IPNet.Contains` takes an IPv4-mapped address for one of IPv4, also
    /// that of a block; with fewer than 96 bits none is left of a block.
    #[must_use]
    pub fn block(&self) -> IpNet {
        match self.address {
            IpAddr::V4(address) => v4(address, self.length),
            IpAddr::V6(address) => match address.to_ipv4_mapped() {
                Some(address) if self.length >= MAPPED => v4(address, self.length - MAPPED),
                _ => Ipv6Net::new_assert(address, self.length).trunc().into(),
            },
        }
    }

    /// Whether `inner` may be taken out of it, as the API server asks: its first address is in this
    /// block, and its length, as it is written, is the greater one.
    #[must_use]
    pub fn may_lose(&self, inner: &Self) -> bool {
        self.block().contains(&inner.block().network()) && self.length < inner.length
    }

    /// Why strict validation refuses it, in the API server's words.
    #[must_use]
    pub fn strict_fault(&self) -> Option<&'static str> {
        let is_mapped = |address: Ipv6Addr| address.to_ipv4_mapped().is_some();
        if self.has_zeros {
            Some("must not have leading 0s in IP or prefix length")
        } else if matches!(self.address, IpAddr::V6(address) if is_mapped(address)) {
            Some("must not have an IPv4-mapped IPv6 address")
        } else if self.has_host_bits() {
            Some("must not have bits set beyond the prefix length")
        } else {
            None
        }
    }

    /// What to write instead; where there are host bits, the block or the one address.
    #[must_use]
    pub fn better(&self) -> String {
        let block = self.block();
        if !self.has_host_bits() {
            return block.to_string();
        }
        let address = match self.address {
            IpAddr::V6(address) if block.network().is_ipv4() => {
                address.to_ipv4_mapped().map_or(IpAddr::V6(address), IpAddr::V4)
            }
            address => address,
        };
        format!("{block} or {}", IpNet::from(address))
    }

    fn has_host_bits(&self) -> bool {
        let first = match self.address {
            IpAddr::V4(address) => v4(address, self.length).network(),
            IpAddr::V6(address) => Ipv6Net::new_assert(address, self.length).network().into(),
        };
        first != self.address
    }
}

fn v4(address: Ipv4Addr, length: u8) -> IpNet {
    Ipv4Net::new_assert(address, length).trunc().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strict_validation_refuses_zeros_in_front_mapped_addresses_and_host_bits() {
        let (zeros, mapped, bits) = ("leading 0s", "IPv4-mapped", "bits set");
        for (text, fault, better) in [
            ("192.168.0.5/24", bits, "192.168.0.0/24 or 192.168.0.5/32"),
            ("2001:db8::1/64", bits, "2001:db8::/64 or 2001:db8::1/128"),
            ("0.0.0.1/0", bits, "0.0.0.0/0 or 0.0.0.1/32"),
            ("010.0.0.0/8", zeros, "10.0.0.0/8"),
            ("10.0.0.00/8", zeros, "10.0.0.0/8"),
            ("10.0.0.0/08", zeros, "10.0.0.0/8"),
            ("2001:00db8::/32", zeros, "2001:db8::/32"),
            ("64:ff9b::10.0.0.01/128", zeros, "64:ff9b::a00:1/128"),
            ("::ffff:10.0.0.0/104", mapped, "10.0.0.0/8"),
            ("::ffff:a00:5/120", mapped, "10.0.0.0/24 or 10.0.0.5/32"),
            ("::ffff:0:0/96", mapped, "0.0.0.0/0"),
        ] {
            let written = Written::parse(text).unwrap();
            assert!(written.strict_fault().unwrap().contains(fault), "{text}");
            assert_eq!(written.better(), better, "{text}");
        }
    }

    #[test]
    fn strict_validation_takes_what_is_not_in_its_shortest_form() {
        for text in
            ["0.0.0.0/0", "10.0.0.0/8", "::/0", "FD00:0:0::/8", "0001::/16", "::1.2.3.4/128"]
        {
            assert_eq!(Written::parse(text).unwrap().strict_fault(), None, "{text}");
        }
    }
}

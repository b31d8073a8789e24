//! The two families of addresses. A connection is of one.

use std::fmt;
use std::net::IpAddr;

use crate::pod::Pod;

/// A family of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// That of an address; of IPv4's, where one of IPv6 only maps it.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        if address.to_canonical().is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// The family of this name in the API.
    #[must_use]
    pub fn from_api(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|family| family.to_string() == name)
    }

    /// `pod` with its addresses of this family alone.
    #[must_use]
    pub fn part(self, pod: &Pod) -> Pod {
        let mut pod = pod.clone();
        pod.addresses.retain(|address| Self::of(*address) == self);
        pod
    }

    /// Whether `pod` has an address of it.
    #[must_use]
    pub fn is_of(self, pod: &Pod) -> bool {
        pod.addresses.iter().any(|address| Self::of(*address) == self)
    }
}

impl fmt::Display for Family {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

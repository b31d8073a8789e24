//! The Host header: what an HTTP/1.1 request must say, although this server has one answer for every
//! host (RFC 9112, section 3.2).

use std::net::Ipv6Addr;

use axum::http::header::HOST;
use axum::http::{HeaderMap, Version};

/// Whether a request of this version has the Host header that it must have: one, of a valid value. Before
/// HTTP/1.1 it may have none.
#[must_use]
pub fn is_right(version: Version, headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(HOST).iter();
    match (values.next(), values.next()) {
        (None, _) => version < Version::HTTP_11,
        (Some(value), None) => value.to_str().is_ok_and(is_valid),
        (Some(_), Some(_)) => false,
    }
}

/// `uri-host [ ":" port ]` (RFC 9110, section 7.2); who asks for a URI without a host sends an empty one.
fn is_valid(value: &str) -> bool {
    let (host, port) = match value.rsplit_once(':') {
        // The colon may be one of an IPv6 address.
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => (value, ""),
    };
    value.is_empty() || is_host(host) && port.bytes().all(|octet| octet.is_ascii_digit())
}

/// A name or an address (RFC 3986, section 3.2.2).
fn is_host(host: &str) -> bool {
    if let Some(address) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        return address.parse::<Ipv6Addr>().is_ok();
    }
    let is_allowed =
        |octet: u8| octet.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(&octet);
    !host.is_empty() && host.bytes().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(version: Version, values: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(HOST, value.parse().unwrap());
        }
        is_right(version, &headers)
    }

    #[test]
    fn a_request_of_http_1_1_has_one_host_header_of_a_valid_value() {
        for right in
            ["a", "a.b.svc:8080", "10.0.0.1:80", "[::1]", "[fd00::1]:8080", "a:", "", "a_b", "a%2d"]
        {
            assert!(judged(Version::HTTP_11, &[right]), "{right:?}");
            assert!(judged(Version::HTTP_10, &[right]), "{right:?}");
        }
        for wrong in [
            "a b", "a:b", "user@a", "a/b", "http://a", ":80", "[::1", "a:80:90", "a?b", "[a]",
            "[::1]x",
        ] {
            assert!(!judged(Version::HTTP_11, &[wrong]), "{wrong:?}");
            assert!(!judged(Version::HTTP_10, &[wrong]), "{wrong:?}");
        }
        assert!(!judged(Version::HTTP_11, &[]));
        assert!(!judged(Version::HTTP_11, &["a", "a"]));
        assert!(judged(Version::HTTP_10, &[]));
    }
}

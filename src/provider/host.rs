//! Hosts that no request goes to: link-local addresses, where clouds keep the machine's credentials.
//!
//! The list: 169.254.0.0/16 and fe80::/10 are link-local (RFC 3927, RFC 4291); AWS answers at
//! fd00:ec2::/32 as well, Alibaba at 100.100.100.200, Azure at 168.63.129.16, Oracle at 192.0.0.192.
//! Loopback and private networks are allowed, because that is where one's own models run.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;

/// Addresses of metadata services that are not link-local.
const METADATA: [Ipv4Addr; 3] = [
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(192, 0, 0, 192),
];

/// Names of metadata services.
const NAMES: [&str; 5] = [
    "instance-data",
    "instance-data.ec2.internal",
    "metadata",
    "metadata.goog",
    "metadata.google.internal",
];

/// Whether nothing is asked at this address, however it is written.
pub fn is_refused(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_refused_v4(address),
        IpAddr::V6(address) => {
            let [first, second, ..] = address.segments();
            let is_link_local = first & 0xffc0 == 0xfe80;
            let is_aws = (first, second) == (0xfd00, 0x0ec2);
            is_link_local || is_aws || inside(address).is_some_and(is_refused_v4)
        }
    }
}

fn is_refused_v4(address: Ipv4Addr) -> bool {
    address.is_link_local() || METADATA.contains(&address)
}

/// The IPv4 address that an IPv6 one stands for: mapped, compatible (RFC 4291), or behind NAT64
/// (RFC 6052).
fn inside(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let last = Ipv4Addr::from(address.to_bits() as u32);
    let nat64 = address.segments().get(..6) == Some(&[0x64, 0xff9b, 0, 0, 0, 0]);
    address.to_ipv4().or(nat64.then_some(last))
}

/// Whether a URL's host is one that nothing is asked at.
pub fn is_refused_name(host: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    // A zone names the interface, not the address.
    let bare = bare.split(['%']).next().unwrap_or(bare);
    match bare.parse() {
        Ok(address) => is_refused(address),
        Err(_) => NAMES.contains(&bare),
    }
}

/// Whether a host is an IPv4 address in a spelling that readers disagree about, such as
/// `2852039166` or `0xa9.0xfe.1`.
pub fn is_odd_address(host: &str) -> bool {
    let host = host.trim_end_matches('.');
    let last = host.rsplit('.').next().unwrap_or(host);
    let is_number = !last.is_empty() && last.bytes().all(|b| b.is_ascii_digit());
    let is_hex = last.get(..2).is_some_and(|begin| begin.eq_ignore_ascii_case("0x"));
    (is_number || is_hex) && host.parse::<Ipv4Addr>().is_err()
}

#[cfg(test)]
mod tests {
    use super::is_odd_address;
    use super::is_refused_name;

    #[test]
    fn link_local_and_metadata_hosts_are_refused_in_every_spelling() {
        for host in [
            "169.254.169.254",
            "169.254.0.1",
            "169.254.169.254.",
            "[fe80::1]",
            "[febf::1]",
            "[fd00:ec2::254]",
            "[fd00:ec2::23]",
            "[::ffff:169.254.169.254]",
            "[::ffff:a9fe:a9fe]",
            "[64:ff9b::a9fe:a9fe]",
            "100.100.100.200",
            "168.63.129.16",
            "Metadata.Google.Internal",
            "metadata.google.internal.",
            "metadata",
        ] {
            assert!(is_refused_name(host), "{host}");
        }
        for host in [
            "127.0.0.1",
            "10.0.0.1",
            "192.168.1.1",
            "172.16.0.1",
            "100.64.0.1",
            "[::1]",
            "[fd00::1]",
            "[fec0::1]",
            "api.openai.com",
            "metadata.example.com",
            "169.254.example.com",
        ] {
            assert!(!is_refused_name(host), "{host}");
        }
    }

    #[test]
    fn an_address_is_written_as_four_numbers() {
        for host in ["2852039166", "0xA9FEA9FE", "0251.0376.0251.0376", "169.254.43518", "a.0x1"] {
            assert!(is_odd_address(host), "{host}");
        }
        for host in ["127.0.0.1", "h", "v1.example.com", "[::1]", "4o.example", "10.0.0.1."] {
            assert!(!is_odd_address(host), "{host}");
        }
    }
}

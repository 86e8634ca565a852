use proptest::prelude::*;

use super::*;

fn networks(text: &str) -> Networks {
    text.parse().unwrap()
}

fn check(host: &str, allowed: &str) -> Result<(), AddressNotAllowed> {
    let url: Url = format!("https://{host}/token").parse().unwrap();
    networks(allowed).check(&url)
}

#[rstest::rstest]
// faults.md R-11, and every spelling a URL has for the same
#[case("127.0.0.1")]
#[case("127.1")]
#[case("127.0.0.1.")]
#[case("2130706433")]
#[case("0x7f.1")]
#[case("0x7F000001")]
#[case("017700000001")]
#[case("0177.0.0.1")]
#[case("127。0。0。1")]
#[case("１２７.0.0.1")]
#[case("①27.0.0.1")]
#[case("%31%32%37.0.0.1")]
#[case("169.254.169.254")]
#[case("0xa9fea9fe")]
#[case("2852039166")]
#[case("[fd00:ec2::254]")]
#[case("0.0.0.0")]
#[case("0")]
#[case("[::]")]
#[case("[::1]")]
#[case("[::ffff:10.0.0.1]")]
#[case("[::ffff:a00:1]")]
#[case("[0:0:0:0:0:ffff:7f00:1]")]
#[case("[::10.0.0.1]")]
#[case("[::127.0.0.1]")]
#[case("[64:ff9b::10.0.0.1]")]
#[case("[64:ff9b::a9fe:a9fe]")]
#[case("[64:ff9b:1::1]")]
#[case("[2002:a00:1::1]")]
#[case("[2002:7f00:1::]")]
#[case("[2001:0:4136:e378:8000:63bf:3fff:fdd2]")]
#[case("[fe80::1]")]
#[case("[fec0::1]")]
#[case("[ff02::1]")]
#[case("[2001:db8::1]")]
#[case("[3fff::1]")]
#[case("[5f00::1]")]
#[case("[100::1]")]
#[case("[fd20:ce::254]")]
#[case("10.0.0.1")]
#[case("10.96.0.1:443")]
#[case("172.16.0.1")]
#[case("172.31.255.255")]
#[case("192.168.0.1")]
#[case("100.64.0.1")]
#[case("100.100.100.200")]
#[case("168.63.129.16")]
#[case("192.0.0.192")]
#[case("192.0.2.1")]
#[case("198.18.0.1")]
#[case("198.19.255.255")]
#[case("198.51.100.1")]
#[case("203.0.113.1")]
#[case("224.0.0.1")]
#[case("240.0.0.1")]
#[case("255.255.255.255")]
fn what_is_not_public_is_refused(#[case] host: &str) {
    assert_eq!(check(host, ""), Err(AddressNotAllowed));
}

#[rstest::rstest]
#[case("1.1.1.1")]
#[case("8.8.8.8:5000")]
#[case("9.255.255.255")]
#[case("11.0.0.0")]
#[case("100.63.255.255")]
#[case("100.128.0.0")]
#[case("168.63.129.15")]
#[case("172.15.255.255")]
#[case("172.32.0.0")]
#[case("198.17.255.255")]
#[case("198.20.0.0")]
#[case("223.255.255.255")]
#[case("[2606:4700::1111]")]
#[case("[2a00:1450:4001::1]")]
#[case("[::ffff:1.1.1.1]")]
#[case("[64:ff9b::1.1.1.1]")]
#[case("[2001:200::1]")]
fn what_is_public_is_open(#[case] host: &str) {
    assert_eq!(check(host, ""), Ok(()));
}

#[rstest::rstest]
#[case("10.1.2.3", "10.0.0.0/8", true)]
#[case("11.1.2.3", "10.0.0.0/8", true)]
#[case("192.168.1.1", "10.0.0.0/8", false)]
#[case("[::ffff:10.1.2.3]", "10.0.0.0/8", true)]
#[case("[64:ff9b::10.1.2.3]", "10.0.0.0/8", true)]
#[case("[64:ff9b::10.1.2.3]", "64:ff9b::/96", true)]
#[case("[2002:a01:203::1]", "10.0.0.0/8", false)]
#[case("10.1.2.3", "fd00::/8, 10.1.2.3", true)]
#[case("10.1.2.4", "fd00::/8, 10.1.2.3", false)]
#[case("[fd00::1]", "fd00::/8, 10.1.2.3", true)]
#[case("[fd00::1]", "0.0.0.0/0", false)]
#[case("169.254.169.254", "169.254.169.254/32", true)]
fn a_network_that_was_allowed_is_open(
    #[case] host: &str,
    #[case] allowed: &str,
    #[case] open: bool,
) {
    assert_eq!(check(host, allowed).is_ok(), open);
}

#[rstest::rstest]
#[case("ghcr.io")]
#[case("localhost")]
#[case("127.0.0.1.example.com")]
fn a_name_is_judged_where_it_is_resolved(#[case] host: &str) {
    assert_eq!(check(host, ""), Ok(()));
}

#[test]
fn the_refusal_names_the_flag_and_no_address() {
    let words = AddressNotAllowed.to_string();
    assert!(words.contains("--allow-networks"), "{words}");
    assert!(!words.contains(|c: char| c.is_ascii_digit()), "{words}");
}

#[rstest::rstest]
#[case("10.0.0.0/33")]
#[case("10.0.0.0/8;fd00::/8")]
#[case("registry.example.com")]
#[case("10.0.0/8")]
#[case("*")]
fn what_is_no_network_is_refused(#[case] text: &str) {
    assert_eq!(text.parse::<Networks>(), Err(InvalidNetwork::Unreadable));
}

#[test]
fn a_network_with_a_host_in_it_is_a_mistake() {
    let refused = "10.1.2.3/8".parse::<Networks>().unwrap_err();
    assert_eq!(
        refused.to_string(),
        "10.1.2.3/8 has bits beyond its prefix, the network is 10.0.0.0/8"
    );
}

#[test]
fn nothing_allowed_is_a_list_too() {
    assert_eq!(networks(""), Networks::default());
    assert_eq!(networks(" , "), Networks::default());
}

/// IPv4 addresses, half of them near the borders of what is special.
fn any_v4() -> impl Strategy<Value = Ipv4Addr> {
    let border = (0..SPECIAL_V4.len(), -2_i64..=2, any::<bool>()).prop_map(|(at, by, end)| {
        let net = SPECIAL_V4[at];
        let edge = if end { net.broadcast() } else { net.network() };
        let moved = (i64::from(u32::from(edge)) + by).rem_euclid(1 << 32);
        Ipv4Addr::from(u32::try_from(moved).unwrap())
    });
    prop_oneof![any::<u32>().prop_map(Ipv4Addr::from), border]
}

/// IPv6 addresses that stand for an IPv4 address.
fn wrapped(inner: Ipv4Addr) -> [Ipv6Addr; 2] {
    let [a, b, c, d] = inner.octets();
    let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    [
        inner.to_ipv6_mapped(),
        Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn a_wrapped_address_is_judged_as_what_it_leads_to(
        inner in any_v4(),
        allowed in prop::sample::select(vec!["", "10.0.0.0/8", "169.254.0.0/16,127.0.0.0/8"]),
    ) {
        let networks = networks(allowed);
        for outer in wrapped(inner) {
            prop_assert_eq!(networks.admit(outer.into()), networks.admit(inner.into()), "{}", outer);
        }
    }

    #[test]
    fn tunnels_and_compatible_forms_lead_nowhere(inner in any_v4(), rest in any::<u64>()) {
        let [a, b, c, d] = inner.octets();
        let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        let mut six_to_four = Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 0).octets();
        six_to_four[8..].copy_from_slice(&rest.to_be_bytes());
        let teredo = Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, !high, !low);
        let compatible = Ipv6Addr::new(0, 0, 0, 0, 0, 0, high, low);
        for address in [six_to_four.into(), teredo, compatible] {
            prop_assert!(!Networks::default().admit(address.into()), "{}", address);
        }
    }

    /// The standard library knows some of the special addresses itself.
    #[test]
    fn nothing_the_standard_library_calls_special_is_public(inner in any_v4(), outer in any::<u128>()) {
        let special = inner.is_private() || inner.is_loopback() || inner.is_link_local()
            || inner.is_broadcast() || inner.is_documentation() || inner.is_unspecified()
            || inner.is_multicast();
        prop_assert!(!(special && Networks::default().admit(inner.into())), "{}", inner);
        let outer = Ipv6Addr::from(outer);
        let special = outer.is_loopback() || outer.is_multicast() || outer.is_unspecified()
            || outer.is_unique_local() || outer.is_unicast_link_local();
        prop_assert!(!(special && Networks::default().admit(outer.into())), "{}", outer);
    }

    /// However an address is written in a URL, it is judged as the address.
    #[test]
    fn a_spelling_changes_nothing(inner in any_v4()) {
        let number = u32::from(inner);
        let [a, b, c, d] = inner.octets();
        let spellings = [
            number.to_string(),
            format!("{number:#x}"),
            format!("0{number:o}"),
            format!("{a}.{b}.{}", u16::from_be_bytes([c, d])),
            format!("{a}.{}", number & 0x00ff_ffff),
            format!("{a:#x}.{b:#o}.{c}.{d}").replace("0o", "0"),
            format!("{a}。{b}.{c}.{d}"),
            format!("{a}.{b}.{c}.{d}."),
            format!("[::ffff:{a}.{b}.{c}.{d}]"),
        ];
        for spelling in spellings {
            let open = check(&spelling, "").is_ok();
            prop_assert_eq!(open, Networks::default().admit(inner.into()), "{}", spelling);
        }
    }
}

//! Lists of networks, as settings name them: `10.0.0.0/8,2001:db8::1`.

use std::net::IpAddr;
use std::str::FromStr;

/// Some networks, each an address with the number of its bits that count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Networks(Vec<(IpAddr, u8)>);

impl Networks {
    /// Whether the address lies in one of them. An IPv4 address counts as such in IPv6's clothes, too.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0
            .iter()
            .any(|(network, bits)| first_bits(address, *bits) == first_bits(*network, *bits) && address.is_ipv4() == network.is_ipv4())
    }
}

impl FromStr for Networks {
    type Err = String;

    /// Reads a list with commas between. Errors: what is wrong, to be said after "… is".
    fn from_str(list: &str) -> Result<Self, String> {
        list.split(',').map(|item| network(item.trim())).collect::<Result<_, _>>().map(Self)
    }
}

fn network(text: &str) -> Result<(IpAddr, u8), String> {
    let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
    let wrong = || format!("no list of addresses and networks with commas between: {text:?} is neither");
    let address = address.parse::<IpAddr>().map_err(|_| wrong())?.to_canonical();
    let bits_max = if address.is_ipv4() { 32 } else { 128 };
    let bits = match bits {
        None => bits_max,
        Some(bits) => bits.parse::<u8>().ok().filter(|bits| *bits <= bits_max).ok_or_else(wrong)?,
    };
    let network = first_bits(address, bits);
    if network != first_bits(address, bits_max) {
        return Err(format!("no list of networks: {text} is one address in a network; write {address}, or the network's first address"));
    }
    Ok((address, bits))
}

/// The address as a number, with all but its first bits cleared.
fn first_bits(address: IpAddr, bits: u8) -> u128 {
    let (number, width) = match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()), 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    };
    let dropped = u32::from(width - bits.min(width));
    number.checked_shr(dropped).and_then(|kept| kept.checked_shl(dropped)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(networks: &str, address: &str) -> bool {
        networks.parse::<Networks>().expect("networks").contains(address.parse().expect("an address"))
    }

    #[test]
    fn an_address_lies_in_a_network_by_its_first_bits() {
        assert!(holds("10.0.0.0/8", "10.255.0.1") && !holds("10.0.0.0/8", "11.0.0.1"));
        assert!(holds("192.168.4.0/22", "192.168.7.255") && !holds("192.168.4.0/22", "192.168.8.0"));
        assert!(holds("2001:db8::/32", "2001:db8:ffff::1") && !holds("2001:db8::/32", "2001:db9::1"));
        assert!(holds("192.0.2.1", "192.0.2.1") && !holds("192.0.2.1", "192.0.2.2"));
        assert!(holds("0.0.0.0/0", "203.0.113.1") && !holds("0.0.0.0/0", "2001:db8::1"), "each kind for itself");
        assert!(holds("::/0", "2001:db8::1") && holds("10.0.0.0/8", "::ffff:10.1.1.1"));
    }
}

//! How many connections each address holds: one host must not take them all.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

use parking_lot::Mutex;

/// The connections of each address.
#[derive(Clone, Debug)]
pub(super) struct Addresses {
    held: Arc<Mutex<HashMap<IpAddr, u32>>>,
    most: u32,
}

/// One connection's place, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    addresses: Addresses,
    address: IpAddr,
}

/// Whoever has one IPv6 address has the whole network of 2^64 around it.
fn host(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        address @ IpAddr::V4(_) => address,
    }
}

impl Addresses {
    pub(super) fn new(most: u32) -> Addresses {
        Addresses {
            held: Arc::default(),
            most,
        }
    }

    /// None where the address holds as many as it may.
    pub(super) fn take(&self, address: IpAddr) -> Option<Place> {
        let address = host(address);
        let mut held = self.held.lock();
        let count = held.entry(address).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        drop(held);
        Some(Place {
            addresses: self.clone(),
            address,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.addresses.held.lock();
        if let Some(count) = held.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_by_host_and_given_back() {
        let addresses = Addresses::new(2);
        let take = |text: &str| addresses.take(text.parse().expect("an address"));
        let (first, second) = (take("127.0.0.1"), take("::ffff:127.0.0.1"));
        assert!(first.is_some() && second.is_some() && take("127.0.0.1").is_none());
        let others = (take("127.0.0.2"), take("2001:db8::1"), take("2001:db8::2:1"));
        assert!(others.0.is_some() && others.1.is_some() && others.2.is_some());
        assert!(take("2001:db8::ffff").is_none() && take("2001:db8:0:1::1").is_some());
        drop((first, others));
        assert!(take("127.0.0.1").is_some());
        drop(second);
        assert!(
            addresses.held.lock().is_empty(),
            "nothing is remembered of who has gone"
        );
    }
}

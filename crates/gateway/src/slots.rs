//! How many connections there may be: in all, and from one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The places for connections.
#[derive(Debug)]
pub(crate) struct Slots {
    total: usize,
    per_address: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    total: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// A place that is taken until this is dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    slots: Arc<Slots>,
    address: Option<IpAddr>,
}

// === impl Slots ===

impl Slots {
    /// So many in all, and half of them for one address: nobody shuts out all others alone.
    pub(crate) fn new(total: usize) -> Arc<Self> {
        let per_address = (total / 2).max(1);
        Arc::new(Self { total, per_address, taken: Mutex::default() })
    }

    /// Takes a place. Loopback, behind which everybody may stand (a reverse proxy), and the Unix socket, which has no
    /// address, are kept to the total alone.
    pub(crate) fn take(self: &Arc<Self>, address: Option<IpAddr>) -> Option<Slot> {
        let address = address.filter(|address| !address.is_loopback());
        let mut taken = self.lock();
        if taken.total >= self.total {
            return None;
        }
        if let Some(address) = address {
            let here = taken.by_address.entry(address).or_default();
            if *here >= self.per_address {
                return None;
            }
            *here += 1;
        }
        taken.total += 1;
        Some(Slot { slots: Arc::clone(self), address })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        // Counts are changed one by one; a panic in between would be a bug that the counts outlive.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.slots.lock();
        taken.total -= 1;
        let Some(address) = self.address else { return };
        if let Some(here) = taken.by_address.get_mut(&address) {
            *here -= 1;
            if *here == 0 {
                taken.by_address.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_come_back() {
        let slots = Slots::new(4);
        let (one, other) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let first = slots.take(Some(one)).unwrap();
        let second = slots.take(Some(one)).unwrap();
        assert!(slots.take(Some(one)).is_none(), "half of the places are for others");
        let third = slots.take(Some(other)).unwrap();
        let fourth = slots.take(None).unwrap();
        assert!(slots.take(None).is_none());
        drop((first, second, third, fourth));
        assert_eq!(slots.lock().total, 0);
        assert!(slots.lock().by_address.is_empty());
        let loopback = Some("::1".parse().unwrap());
        let held: Vec<_> = (0..4).map(|_| slots.take(loopback)).collect();
        assert!(held.iter().all(Option::is_some));
    }
}

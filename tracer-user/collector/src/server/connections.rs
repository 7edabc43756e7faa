//! How many connections there may be, and how fast they may ask.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Counts the connections of a port, in all and by address.
#[derive(Default)]
pub(super) struct Connections {
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// A connection that is counted as long as this lives.
pub(super) struct Counted {
    connections: Arc<Connections>,
    address: IpAddr,
}

impl Connections {
    /// Counts one more, if there may be.
    pub(super) fn admit(
        self: &Arc<Self>,
        address: IpAddr,
        limit: usize,
        limit_by_address: usize,
    ) -> Option<Counted> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let Open { all, by_address } = &mut *open;
        let same = by_address.get(&address).copied().unwrap_or(0);
        if *all >= limit || same >= limit_by_address {
            return None;
        }
        *all += 1;
        by_address.insert(address, same + 1);
        Some(Counted {
            connections: Arc::clone(self),
            address,
        })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut open = self
            .connections
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        open.all -= 1;
        if let Some(same) = open.by_address.get_mut(&self.address) {
            *same -= 1;
            if *same == 0 {
                open.by_address.remove(&self.address);
            }
        }
    }
}

/// Lets so many through in a second on average, and as many at once.
pub(crate) struct Bucket {
    state: Mutex<(f64, Instant)>,
    per_second: f64,
}

impl Bucket {
    /// A full one.
    pub(crate) fn new(per_second: u32) -> Self {
        let per_second = per_second.into();
        Self {
            state: Mutex::new((per_second, Instant::now())),
            per_second,
        }
    }

    /// Takes one if there is one.
    pub(crate) fn try_take(&self) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let left = self.refilled(&mut state);
        if left < 1.0 {
            return false;
        }
        state.0 = left - 1.0;
        true
    }

    /// Takes some, on credit if need be, and says how long to wait for it.
    pub(crate) fn take(&self, count: u32) -> Duration {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let left = self.refilled(&mut state) - f64::from(count);
        state.0 = left;
        if left >= 0.0 {
            return Duration::ZERO;
        }
        Duration::from_secs_f64(-left / self.per_second)
    }

    fn refilled(&self, state: &mut (f64, Instant)) -> f64 {
        let now = Instant::now();
        let passed = now.duration_since(state.1).as_secs_f64();
        state.1 = now;
        (state.0 + passed * self.per_second).min(self.per_second)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_no_more_than_its_share() {
        let connections = Arc::new(Connections::default());
        let [a, b, c] = [1, 2, 3].map(|last| IpAddr::from([10, 0, 0, last]));
        let first = connections.admit(a, 3, 2).unwrap();
        let _second = connections.admit(a, 3, 2).unwrap();
        assert!(connections.admit(a, 3, 2).is_none());
        let _third = connections.admit(b, 3, 2).unwrap();
        assert!(connections.admit(c, 3, 2).is_none());
        drop(first);
        assert!(connections.admit(c, 3, 2).is_some());
    }

    #[test]
    fn a_bucket_lends_and_waits() {
        let bucket = Bucket::new(10);
        assert_eq!(bucket.take(10), Duration::ZERO);
        assert!(!bucket.try_take());
        let wait = bucket.take(5);
        assert!((0.4..=0.5).contains(&wait.as_secs_f64()), "{wait:?}");
    }
}

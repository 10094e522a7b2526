//! Counters that plugins make: few, with plain names, read by telemetry.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;

use crate::limits;

/// The counters of one plugin, all its versions and instances together.
#[derive(Default)]
pub(super) struct PluginCounters {
    by_name: Mutex<HashMap<Arc<str>, Arc<AtomicU64>>>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum CounterRefused {
    #[error(
        "a counter's name is 1 to {max} characters of a-z 0-9 _, beginning with a letter",
        max = limits::PLUGIN_COUNTER_NAME_CHARACTERS
    )]
    Name,
    #[error("a plugin has at most {max} counters", max = limits::PLUGIN_COUNTERS)]
    TooMany,
}

impl PluginCounters {
    fn find_or_make(&self, name: &str) -> Result<Arc<AtomicU64>, CounterRefused> {
        if !is_counter_name(name) {
            return Err(CounterRefused::Name);
        }
        let mut by_name = self.by_name.lock();
        if let Some(known) = by_name.get(name) {
            return Ok(Arc::clone(known));
        }
        if by_name.len() >= limits::PLUGIN_COUNTERS {
            return Err(CounterRefused::TooMany);
        }
        let made = Arc::new(AtomicU64::new(0));
        by_name.insert(name.into(), Arc::clone(&made));
        Ok(made)
    }

    /// Names and values, in the order of the names.
    pub(super) fn read(&self) -> Vec<(Arc<str>, u64)> {
        let mut read: Vec<_> = self
            .by_name
            .lock()
            .iter()
            .map(|(name, value)| (Arc::clone(name), value.load(Ordering::Relaxed)))
            .collect();
        read.sort_unstable();
        read
    }
}

/// Where what a call counts goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counting {
    /// To the plugin's counters: an event passes.
    Shared,
    /// Apart, for whoever made the call.
    Apart,
}

/// One instance's way to its plugin's counters: the shared map is locked only for a name that is new to the instance.
pub(super) struct InstanceCounters {
    shared: Arc<PluginCounters>,
    known: HashMap<String, Arc<AtomicU64>>,
    counting: Counting,
    /// Of the running call.
    apart: BTreeMap<String, u64>,
}

impl InstanceCounters {
    pub(super) fn new(shared: Arc<PluginCounters>) -> InstanceCounters {
        InstanceCounters {
            shared,
            known: HashMap::new(),
            // No event passes while an instance is made.
            counting: Counting::Apart,
            apart: BTreeMap::new(),
        }
    }

    pub(super) fn begin(&mut self, counting: Counting) {
        self.counting = counting;
        self.apart.clear();
    }

    /// What was counted apart since the beginning.
    pub(super) fn end(&mut self) -> BTreeMap<String, u64> {
        self.counting = Counting::Apart;
        std::mem::take(&mut self.apart)
    }

    pub(super) fn add(&mut self, name: String, amount: u64) -> Result<(), CounterRefused> {
        if self.counting == Counting::Apart {
            return self.add_apart(name, amount);
        }
        if let Some(counter) = self.known.get(&name) {
            counter.fetch_add(amount, Ordering::Relaxed);
            return Ok(());
        }
        let counter = self.shared.find_or_make(&name)?;
        counter.fetch_add(amount, Ordering::Relaxed);
        self.known.insert(name, counter);
        Ok(())
    }

    fn add_apart(&mut self, name: String, amount: u64) -> Result<(), CounterRefused> {
        if let Some(counter) = self.apart.get_mut(&name) {
            *counter = counter.saturating_add(amount);
            return Ok(());
        }
        if !is_counter_name(&name) {
            return Err(CounterRefused::Name);
        }
        if self.apart.len() >= limits::PLUGIN_COUNTERS {
            return Err(CounterRefused::TooMany);
        }
        self.apart.insert(name, amount);
        Ok(())
    }
}

fn is_counter_name(name: &str) -> bool {
    name.len() <= limits::PLUGIN_COUNTER_NAME_CHARACTERS
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{CounterRefused, Counting, InstanceCounters, PluginCounters};
    use crate::limits;

    #[test]
    fn instances_add_to_the_same_counter() {
        let shared = Arc::new(PluginCounters::default());
        for amount in [2, 3] {
            let mut instance = InstanceCounters::new(Arc::clone(&shared));
            instance.begin(Counting::Shared);
            instance.add("calls".to_owned(), amount).expect("a plain name");
            assert!(instance.end().is_empty());
        }
        assert_eq!(shared.read(), [("calls".into(), 5)]);
    }

    #[test]
    fn what_no_event_counts_is_kept_apart() {
        let shared = Arc::new(PluginCounters::default());
        let mut instance = InstanceCounters::new(Arc::clone(&shared));
        // As `configure` does.
        instance.add("calls".to_owned(), 1).expect("a plain name");
        for (counting, apart) in [
            (Counting::Apart, Some(5)),
            (Counting::Shared, None),
            (Counting::Apart, Some(5)),
        ] {
            instance.begin(counting);
            for amount in [2, 3] {
                instance.add("calls".to_owned(), amount).expect("a plain name");
            }
            assert_eq!(instance.end().get("calls").copied(), apart, "{counting:?}");
        }
        assert_eq!(shared.read(), [("calls".into(), 5)]);
    }

    #[test]
    fn names_are_bounded() {
        for counting in [Counting::Shared, Counting::Apart] {
            names_are_bounded_where(counting);
        }
    }

    fn names_are_bounded_where(counting: Counting) {
        let mut instance = InstanceCounters::new(Arc::default());
        instance.begin(counting);
        for number in 0..limits::PLUGIN_COUNTERS {
            instance
                .add(format!("counter_{number}"), 1)
                .expect("there is room");
        }
        assert_eq!(
            instance.add("one_more".to_owned(), 1),
            Err(CounterRefused::TooMany)
        );
        assert_eq!(instance.add("counter_7".to_owned(), 1), Ok(()));
        for name in ["", "9a", "a-b", "é", "A", &"a".repeat(65)] {
            assert_eq!(
                instance.add(name.to_owned(), 1),
                Err(CounterRefused::Name),
                "{name:?}"
            );
        }
    }
}

//! Counters that plugins make: few, with plain names, read by telemetry.

use std::{
    collections::HashMap,
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

/// One instance's way to its plugin's counters: the shared map is locked only for a name that is new to the instance.
pub(super) struct InstanceCounters {
    shared: Arc<PluginCounters>,
    known: HashMap<String, Arc<AtomicU64>>,
}

impl InstanceCounters {
    pub(super) fn new(shared: Arc<PluginCounters>) -> InstanceCounters {
        InstanceCounters {
            shared,
            known: HashMap::new(),
        }
    }

    pub(super) fn add(&mut self, name: String, amount: u64) -> Result<(), CounterRefused> {
        if let Some(counter) = self.known.get(&name) {
            counter.fetch_add(amount, Ordering::Relaxed);
            return Ok(());
        }
        let counter = self.shared.find_or_make(&name)?;
        counter.fetch_add(amount, Ordering::Relaxed);
        self.known.insert(name, counter);
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

    use super::{CounterRefused, InstanceCounters, PluginCounters};
    use crate::limits;

    #[test]
    fn instances_add_to_the_same_counter() {
        let shared = Arc::new(PluginCounters::default());
        for amount in [2, 3] {
            let mut instance = InstanceCounters::new(Arc::clone(&shared));
            instance.add("calls".to_owned(), amount).expect("a plain name");
        }
        assert_eq!(shared.read(), [("calls".into(), 5)]);
    }

    #[test]
    fn names_are_bounded() {
        let shared = Arc::new(PluginCounters::default());
        let mut instance = InstanceCounters::new(Arc::clone(&shared));
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

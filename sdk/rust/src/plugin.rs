use serde::{Deserialize, Deserializer, de::DeserializeOwned, de::IgnoredAny};

use crate::{Event, Failure, Output};

/// A transform plugin.
pub trait Plugin: Sized + 'static {
    /// What the route's `config` holds. Derive `serde::Deserialize`; with `#[serde(deny_unknown_fields)]` a mistyped
    /// member is refused when the route is registered. A plugin without configuration takes [`NoConfig`].
    type Config: DeserializeOwned;

    /// Called once for each instance, before its first event. An error refuses the configuration; its text is shown
    /// to whoever registers the route.
    ///
    /// # Errors
    ///
    /// What is wrong with the configuration, for whoever wrote it. Leave secrets out of it.
    fn configure(config: Self::Config) -> Result<Self, String>;

    /// Makes records of an event. No outputs: the event is dropped on purpose, and counted.
    ///
    /// # Errors
    ///
    /// [`Failure::Rejected`] where the event cannot be transformed, [`Failure::Broken`] where the plugin is at fault.
    fn transform(&self, event: Event) -> Result<Vec<Output>, Failure>;
}

/// The configuration of a plugin that takes none: whatever the route holds is passed over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NoConfig;

impl<'de> Deserialize<'de> for NoConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<NoConfig, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| NoConfig)
    }
}

/// Reads the route's configuration and configures the plugin with it.
pub(crate) fn configure<P: Plugin>(config: &str) -> Result<P, String> {
    let config = serde_json::from_str(config).map_err(|error| error.to_string())?;
    P::configure(config)
}

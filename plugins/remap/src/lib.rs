//! Records by configuration alone: an ordered list of steps. See README.md.

mod bounds;
mod condition;
mod functions;
mod place;
mod plan;
mod read;
mod run;
mod steps;
mod template;

use headworks_plugin::{Event, Failure, Output, Plugin, plugin};

/// The plugin, configured.
pub struct Remap {
    stages: Vec<plan::Stage>,
}

impl Plugin for Remap {
    /// Read by hand, so that an error names the step and says what to write.
    type Config = serde_json::Value;

    fn configure(config: serde_json::Value) -> Result<Self, String> {
        Ok(Remap {
            stages: plan::plan(read::read(&config)?),
        })
    }

    fn transform(&self, event: Event) -> Result<Vec<Output>, Failure> {
        run::run(&self.stages, event)
    }
}

plugin!(Remap);

#[cfg(test)]
mod tests;

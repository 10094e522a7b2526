//! Picks the example that the configuration names.

mod drop_bots;
mod split_order;
mod tidy_order;

use headworks_plugin::{Event, Failure, Output, Plugin, plugin};

#[derive(serde::Deserialize)]
#[serde(tag = "example", rename_all = "kebab-case")]
enum Config {
    DropBots(drop_bots::DropBots),
    SplitOrder(split_order::SplitOrder),
    TidyOrder(tidy_order::TidyOrder),
}

enum Examples {
    DropBots(drop_bots::DropBots),
    SplitOrder(split_order::SplitOrder),
    TidyOrder(tidy_order::TidyOrder),
}

impl Plugin for Examples {
    type Config = Config;

    fn configure(config: Config) -> Result<Self, String> {
        Ok(match config {
            Config::DropBots(config) => Examples::DropBots(Plugin::configure(config)?),
            Config::SplitOrder(config) => Examples::SplitOrder(Plugin::configure(config)?),
            Config::TidyOrder(config) => Examples::TidyOrder(Plugin::configure(config)?),
        })
    }

    fn transform(&self, event: Event) -> Result<Vec<Output>, Failure> {
        match self {
            Examples::DropBots(plugin) => plugin.transform(event),
            Examples::SplitOrder(plugin) => plugin.transform(event),
            Examples::TidyOrder(plugin) => plugin.transform(event),
        }
    }
}

plugin!(Examples);

#[cfg(test)]
mod tests {
    #[test]
    fn cases() {
        headworks_plugin::testing::run_cases::<super::Examples>("../cases");
    }
}

//! What bots look at is nobody's interest: dropped and counted. All else passes as it was sent.

use headworks_plugin::{Event, Failure, Output, Plugin, host};

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DropBots {
    /// Words of their user agents, in lower case.
    words: Vec<String>,
}

impl Plugin for DropBots {
    type Config = DropBots;

    fn configure(config: DropBots) -> Result<Self, String> {
        if config.words.is_empty() {
            return Err("words is empty: nothing would be dropped".to_owned());
        }
        Ok(config)
    }

    fn transform(&self, event: Event) -> Result<Vec<Output>, Failure> {
        let agent: Option<String> = event.data.get("/user_agent")?;
        let agent = agent.unwrap_or_default().to_lowercase();
        if self.words.iter().any(|word| agent.contains(word)) {
            host::count("bots", 1);
            return Ok(Vec::new());
        }
        Ok(vec![event.data.into()])
    }
}

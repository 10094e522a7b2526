//! Eight reads and six edits, or none.

use headworks_plugin::{Event, Failure, Output, Plugin, plugin};

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Edits {
    #[serde(default)]
    edits: bool,
}

impl Plugin for Edits {
    type Config = Edits;

    fn configure(config: Edits) -> Result<Self, String> {
        Ok(config)
    }

    fn transform(&self, mut event: Event) -> Result<Vec<Output>, Failure> {
        if self.edits {
            let data = &mut event.data;
            let (user, platform, url, version, number, screen, network, load_ms): (
                String,
                String,
                String,
                String,
                i64,
                String,
                String,
                i64,
            ) = data.get_many([
                "/user_id",
                "/platform",
                "/url",
                "/device/os_version",
                "/session/number",
                "/screen/name",
                "/network/type",
                "/load_ms",
            ])?;
            data.rename("/occurred_at", "/viewed_at");
            data.rename("/anonymous_id", "/visitor_id");
            data.remove("/consent");
            data.set("/page", format!("{screen} {url}"));
            data.set("/os", format!("{platform} {version} {network}"));
            data.set("/is_slow", number > 1 && load_ms > 400 && !user.is_empty());
        }
        Ok(vec![event.data.into()])
    }
}

plugin!(Edits);

//! Eight reads and six edits, or none; together, or each by a call of the gateway.

use headworks_plugin::{Document, Event, Failure, Output, Plugin, plugin};

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Edits {
    #[serde(default)]
    edits: bool,
    /// Not with one call for all reads and one for all edits, as the SDK would have it.
    #[serde(default)]
    one_by_one: bool,
}

impl Plugin for Edits {
    type Config = Edits;

    fn configure(config: Edits) -> Result<Self, String> {
        Ok(config)
    }

    fn transform(&self, mut event: Event) -> Result<Vec<Output>, Failure> {
        if self.one_by_one {
            one_by_one(&mut event.data)?;
        } else if self.edits {
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

fn one_by_one(data: &mut Document) -> Result<(), Failure> {
    let user: String = data.get("/user_id")?;
    let platform: String = data.get("/platform")?;
    let url: String = data.get("/url")?;
    let version: String = data.get("/device/os_version")?;
    let number: i64 = data.get("/session/number")?;
    let screen: String = data.get("/screen/name")?;
    let network: String = data.get("/network/type")?;
    let load_ms: i64 = data.get("/load_ms")?;
    // Reading nothing makes the edit that was gathered.
    data.rename("/occurred_at", "/viewed_at");
    data.values(&[])?;
    data.rename("/anonymous_id", "/visitor_id");
    data.values(&[])?;
    data.remove("/consent");
    data.values(&[])?;
    data.set("/page", format!("{screen} {url}"));
    data.values(&[])?;
    data.set("/os", format!("{platform} {version} {network}"));
    data.values(&[])?;
    data.set("/is_slow", number > 1 && load_ms > 400 && !user.is_empty());
    data.values(&[])?;
    Ok(())
}

plugin!(Edits);

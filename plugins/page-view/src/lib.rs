//! Page views as the warehouse wants them: one name for the time, the path without its query, the operating system
//! with its major version, and no consent flags, which have a table of their own.

use headworks_plugin::{Event, Failure, NoConfig, Output, Plugin, plugin};

struct PageView;

impl Plugin for PageView {
    type Config = NoConfig;

    fn configure(_config: NoConfig) -> Result<PageView, String> {
        Ok(PageView)
    }

    fn transform(&self, mut event: Event) -> Result<Vec<Output>, Failure> {
        let view = &mut event.data;
        let (url, platform, os_version, session_number): (
            Option<String>,
            Option<String>,
            Option<String>,
            Option<i64>,
        ) = view.get_many(["/url", "/platform", "/device/os_version", "/session/number"])?;
        view.rename("/occurred_at", "/viewed_at");
        view.rename("/anonymous_id", "/visitor_id");
        view.remove("/consent");
        if let Some(url) = url {
            view.set("/page_path", path(&url));
        }
        if let Some(platform) = platform {
            view.set("/os", os(&platform, os_version.as_deref()));
        }
        if let Some(number) = session_number {
            view.set("/is_first_session", number == 1);
        }
        Ok(vec![event.data.into()])
    }
}

plugin!(PageView);

/// The path of a URL, without query and fragment.
fn path(url: &str) -> &str {
    let after_scheme = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = after_scheme.find('/').map_or("/", |begin| &after_scheme[begin..]);
    path.split(['?', '#']).next().unwrap_or(path)
}

/// Such as `ios 17`.
fn os(platform: &str, version: Option<&str>) -> String {
    match version.and_then(|version| version.split('.').next()) {
        Some(major) => format!("{platform} {major}"),
        None => platform.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{PageView, os, path};

    #[test]
    fn cases() {
        headworks_plugin::testing::run_cases::<PageView>("cases");
    }

    #[test]
    fn a_path_ends_before_query_and_fragment() {
        for (url, expected) in [
            ("https://www.haneul.example/s/8812?q=1#top", "/s/8812"),
            ("https://www.haneul.example", "/"),
            ("/s/8812?q=1", "/s/8812"),
            ("", "/"),
        ] {
            assert_eq!(path(url), expected, "{url}");
        }
    }

    #[test]
    fn an_operating_system_has_its_major_version() {
        assert_eq!(os("ios", Some("17.6.1")), "ios 17");
        assert_eq!(os("web", None), "web");
    }
}

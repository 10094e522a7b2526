use headworks_plugin::testing;

use super::CallEvent;

const SALT: &str = "sixteen-and-more";

fn plugin() -> CallEvent {
    testing::configure(&format!(r#"{{"salt": "{SALT}"}}"#)).expect("the salt is long enough")
}

#[test]
fn cases() {
    testing::run_cases::<CallEvent>("cases");
}

#[test]
fn refuses_a_configuration_that_protects_nobody() {
    for (config, reason) in [
        (r"{}", "missing field `salt`"),
        (r#"{"salt": "short"}"#, "salt is too short: 16 characters or more"),
        (
            r#"{"salt": "sixteen-and-more", "region": "KR"}"#,
            "region is a country code",
        ),
        (
            r#"{"salt": "sixteen-and-more", "sald": ""}"#,
            "unknown field `sald`",
        ),
    ] {
        let refused = testing::configure::<CallEvent>(config).err().expect(config);
        assert!(refused.starts_with(reason), "{refused}");
    }
}

#[test]
fn one_number_in_many_spellings_is_one_caller() {
    let plugin = plugin();
    for written in [
        "010-0000-4821",
        "01000004821",
        "+82-10-0000-4821",
        "+821000004821",
        "0082 10 0000 4821",
    ] {
        let number = plugin.international("/caller_number", written);
        assert_eq!(number.as_deref(), Ok("+821000004821"), "{written}");
    }
}

#[test]
fn what_is_no_number_is_rejected_without_being_shown() {
    let plugin = plugin();
    for written in ["", "+", "12", "010-0000-482x", "+1234567890123456"] {
        let refused = plugin.international("/caller_number", written);
        assert_eq!(
            refused,
            Err(headworks_plugin::rejected("/caller_number is no phone number"))
        );
    }
}

#[test]
fn the_salt_decides_the_hash() {
    // printf '%s' 'sixteen-and-more+821000004821' | sha256sum
    assert_eq!(
        plugin().hash("+821000004821"),
        "1dea8c2f5884b886c91ec88c0b0108081d390cdc5b2d68d62ff23c00a0f3f451"
    );
}

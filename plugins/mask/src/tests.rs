use headworks_plugin::testing;

use super::Mask;

#[test]
fn cases() {
    testing::run_cases::<Mask>("cases");
}

#[test]
fn refuses_a_configuration_that_masks_nothing_or_protects_nobody() {
    for (config, reason) in [
        ("{}", "nothing is masked"),
        (r#"{"fields": {"email": "drop"}}"#, "\"email\" is no JSON Pointer"),
        (
            r#"{"fields": {"/email": "hash"}}"#,
            "salt is missing or too short",
        ),
        (
            r#"{"detect": {"email": "hash"}, "salt": "short"}"#,
            "salt is missing or too short",
        ),
        (r#"{"detect": {"mail": "drop"}}"#, "unknown field `mail`"),
        (r#"{"fields": {"/email": "burn"}}"#, "unknown variant `burn`"),
    ] {
        let refused = testing::configure::<Mask>(config).err().expect(config);
        assert!(refused.contains(reason), "{refused}");
    }
}

#[test]
fn a_short_text_is_never_shown_whole() {
    let mask: Mask = testing::configure(r#"{"fields": {"/a": "truncate"}}"#).expect("it is in order");
    for (text, masked) in [
        ("", "***"),
        ("4821", "***"),
        ("12345678", "***"),
        ("123456789", "***6789"),
        ("한국어서울부산대구", "***부산대구"),
    ] {
        assert_eq!(mask.mask_text(text, super::Action::Truncate), masked);
    }
}

#[test]
fn the_salt_decides_the_hash() {
    let mask: Mask = testing::configure(r#"{"fields": {"/a": "hash"}, "salt": "sixteen-and-more"}"#)
        .expect("it is in order");
    // printf '%s' 'anna@example.com' | openssl dgst -sha256 -hmac sixteen-and-more
    assert_eq!(
        mask.hash("anna@example.com"),
        "088be4f68ec7fd7e38aa3a223027ab1504f1d7e2d2ce3bb1a09dac4698b298bf"
    );
}

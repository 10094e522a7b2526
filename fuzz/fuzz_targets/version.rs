//! App versions: reading them, and their order. The input is up to four texts, parted by line ends.
#![no_main]

use std::cmp::Ordering;

use headworks::event::AppVersion;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| run(input));

fn run(input: &[u8]) {
    let Ok(input) = std::str::from_utf8(input) else {
        return;
    };
    let texts = input.split('\n').take(4);
    let versions: Vec<AppVersion> = texts.filter_map(read).collect();
    for one in &versions {
        assert_eq!(one.cmp(one), Ordering::Equal, "{one}");
        for two in &versions {
            assert_eq!(one.cmp(two), two.cmp(one).reverse(), "{one} and {two}");
            assert_eq!(one == two, one.cmp(two).is_eq(), "{one} and {two}");
            for three in &versions {
                let is_chain = one <= two && two <= three;
                assert!(!is_chain || one <= three, "{one}, {two} and {three}");
            }
        }
    }
}

/// The version, which must be the same one however it is written.
fn read(text: &str) -> Option<AppVersion> {
    let version = AppVersion::parse(text)?;
    let written = version.to_string();
    let reread = AppVersion::parse(&written).unwrap_or_else(|| panic!("{text:?} is written {written:?}"));
    // White space at the end of a word is lost, as around every version.
    if written == written.trim() {
        assert_eq!(reread, version, "{text:?} is written {written:?}");
    }
    if text.starts_with(|first: char| first.is_ascii_digit()) {
        assert_eq!(AppVersion::parse(&format!("v{text}")).as_ref(), Some(&version));
    }
    if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        let built = AppVersion::parse(&format!("{text}+812"));
        assert_eq!(built.as_ref(), Some(&version), "{text:?}");
        let before = AppVersion::parse(&format!("{text}-rc1"));
        assert!(before.is_some_and(|before| before < version), "{text:?}");
    }
    Some(version)
}

//! App versions: two of them compare alike in both directions, and a third keeps their order.
#![no_main]

use headworks_fuzz::event::AppVersion;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let versions: Vec<AppVersion> = text.lines().take(3).filter_map(AppVersion::parse).collect();
    for one in &versions {
        assert_eq!(one.cmp(one), std::cmp::Ordering::Equal);
        for two in &versions {
            assert_eq!(one.cmp(two), two.cmp(one).reverse());
            assert_eq!(one == two, one.cmp(two).is_eq());
        }
    }
    if let [one, two, three] = versions.as_slice()
        && one <= two
        && two <= three
    {
        assert!(one <= three);
    }
});

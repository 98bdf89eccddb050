//! Names and registration keys: what is accepted is kept as it was and fits where it goes.
#![no_main]

use hearken_core::domain::name::{BusName, ClassName, GroupName, RegistrationKey};

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok(key) = RegistrationKey::parse(text) {
        assert_eq!(key.as_str(), text);
        assert!((1..=255).contains(&text.len()) && !text.chars().any(char::is_control));
        let json = serde_json::to_string(&key).expect("a key is a text");
        assert_eq!(serde_json::from_str::<RegistrationKey>(&json).expect("it was a key"), key);
    }
    let group = GroupName::parse(text).ok().map(String::from);
    let class = ClassName::parse(text).ok().map(String::from);
    assert_eq!(class, group, "names of classes and groups have the same alphabet");
    // A bus name is one of these names without a word of the layout.
    if let Ok(bus) = BusName::parse(text) {
        assert_eq!(Some(String::from(bus)), group, "a bus name has the alphabet of a group");
    }
    if let Some(group) = group {
        assert_eq!(group, text);
        assert!(text.is_ascii() && !text.contains(['/', '?', '#', '*', ' ', '"']));
    }
});

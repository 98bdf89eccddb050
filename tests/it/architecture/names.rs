//! One word for one thing: no two types of the tree share a name.

use super::{Source, holds};
use std::collections::BTreeMap;
use syn::{Item, Visibility};

/// The types of a file that another file can name.
fn types(source: &Source) -> Vec<String> {
    let named = source.items.items.iter().filter_map(|item| match item {
        Item::Struct(item) => Some((&item.vis, &item.ident)),
        Item::Enum(item) => Some((&item.vis, &item.ident)),
        Item::Trait(item) => Some((&item.vis, &item.ident)),
        Item::Type(item) => Some((&item.vis, &item.ident)),
        _ => None,
    });
    let shared = named.filter(|(visibility, _)| !matches!(visibility, Visibility::Inherited));
    shared.map(|(_, name)| name.to_string()).collect()
}

fn each_type_has_a_name_of_its_own(sources: &[Source]) -> Vec<String> {
    let mut homes = BTreeMap::<String, Vec<&str>>::new();
    for source in sources {
        for name in types(source) {
            homes.entry(name).or_default().push(&source.path);
        }
    }
    homes.retain(|_, homes| homes.len() > 1);
    homes.iter().map(|(name, homes)| format!("{name} is in {}", homes.join(" and "))).collect()
}

#[test]
fn no_two_types_share_a_name() {
    let twins =
        [("src/node.rs", "pub struct Handle;"), ("src/bus.rs", "pub(super) enum Handle { A }")];
    holds(each_type_has_a_name_of_its_own, &[&twins]);
}

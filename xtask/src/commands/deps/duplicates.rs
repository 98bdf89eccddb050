//! Duplicates: a crate is built in one version, unless the list here says why not.

use super::BuiltCrate;
use std::collections::{BTreeMap, BTreeSet};

/// Crates that are built in several versions, and the dependencies that ask for the older one.
const KNOWN: [(&str, &str); 13] = [
    ("base64", "sqlx and p12-keystore stay on 0.22, reqwest has moved on"),
    ("block-buffer", "of digest 0.10"),
    ("cpufeatures", "of sha2 0.10 and aes 0.8"),
    ("crypto-common", "of digest 0.10"),
    ("digest", "p12-keystore and sqlx-core stay on 0.10, sqlx-postgres has moved on"),
    ("getrandom", "ring stays on 0.2, ahash (of jsonschema, in tests) on 0.3"),
    ("hashbrown", "sqlx-core stays on 0.16"),
    ("hmac", "of digest 0.10"),
    ("nom", "x509-parser (of p12-keystore) stays on 7, amq-protocol is on 8"),
    ("sha2", "of digest 0.10"),
    ("syn", "only at build time: some derive macros stay on 2, and so does the architecture test"),
    ("synstructure", "only at build time: asn1-rs-derive stays on syn 2"),
    ("tower-http", "reqwest stays on 0.6"),
];

/// Refuses duplicates that are not known, and known ones that are over.
pub(super) fn refused(built: &[BuiltCrate]) -> Vec<String> {
    let mut versions = BTreeMap::<&str, BTreeSet<&str>>::new();
    for each in built {
        versions.entry(&each.name).or_default().insert(&each.version);
    }
    let is_known = |name: &str| KNOWN.iter().any(|(known, _)| *known == name);
    let duplicates = versions.iter().filter(|(_, versions)| versions.len() > 1);
    let unknown = duplicates.filter(|(name, _)| !is_known(name)).map(|(name, versions)| {
        let versions: Vec<_> = versions.iter().copied().collect();
        format!("{name} is built in {} versions: {}", versions.len(), versions.join(", "))
    });
    let over = KNOWN
        .iter()
        .filter(|(name, _)| versions.get(name).is_none_or(|versions| versions.len() < 2));
    let over =
        over.map(|(name, _)| format!("{name} is no duplicate any more; strike it off KNOWN"));
    unknown.chain(over).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known_duplicates() -> Vec<BuiltCrate> {
        let both = |(name, _): &(&str, &str)| {
            ["1.0.0", "2.0.0"].map(|version| BuiltCrate::new(name, version, "MIT"))
        };
        KNOWN.iter().flat_map(both).collect()
    }

    #[test]
    fn a_second_version_of_a_crate_is_refused() {
        let mut built = known_duplicates();
        assert_eq!(refused(&built), Vec::<String>::new());
        built.extend(["1.0.0", "1.1.0"].map(|version| BuiltCrate::new("serde", version, "MIT")));
        assert_eq!(refused(&built), ["serde is built in 2 versions: 1.0.0, 1.1.0"]);
    }

    #[test]
    fn a_known_duplicate_that_is_over_is_refused() {
        let mut built = known_duplicates();
        built.remove(0);
        assert_eq!(refused(&built), ["base64 is no duplicate any more; strike it off KNOWN"]);
    }
}

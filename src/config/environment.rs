//! Names of environment variables: which ones this program reads, and which ones are mistakes.

use super::flags::{SETTINGS, Setting};
use crate::domain::listener::SECRET_PREFIX;

/// Variables that are read without being settings of `serve`.
const OTHERS: [&str; 3] = ["HEARKEN_LOG", "HEARKEN_URL", "HEARKEN_TOKEN"];

/// The mistake in the name of a variable: it looks like a setting of hearken, and is none.
pub(super) fn unknown_variable(name: &str) -> Option<String> {
    let known = || SETTINGS.iter().map(Setting::variable).chain(OTHERS.map(str::to_owned));
    if !name.starts_with("HEARKEN_")
        || name.starts_with(SECRET_PREFIX)
        || is_service_link(name)
        || known().any(|known| known == name)
    {
        return None;
    }
    let nearest = known().min_by_key(|known| distance(known, name)).unwrap_or_default();
    Some(format!(
        "is not a setting; the nearest one is {nearest}. Correct the name, or unset the variable; a variable for listeners begins with {SECRET_PREFIX}"
    ))
}

/// Whether a container platform sets the variable for a service whose name begins with `hearken`:
/// `HEARKEN_SERVICE_HOST`, `HEARKEN_PORT_8000_TCP_ADDR` and the like.
fn is_service_link(name: &str) -> bool {
    let numbered = |(_, end): (&str, &str)| end.starts_with(|c: char| c.is_ascii_digit());
    name.contains("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || name.ends_with("_PORT")
        || name.split_once("_PORT_").is_some_and(numbered)
}

/// Number of letters to insert, delete or replace to make one word of the other (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in other.bytes().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_variable_is_named_with_the_nearest_known_one() {
        for (unknown, nearest) in [
            ("HEARKEN_DATABSE_URL", "HEARKEN_DATABASE_URL"),
            ("HEARKEN_AMQPURL", "HEARKEN_AMQP_URL"),
            ("HEARKEN_SECRETS_DIRECTORY", "HEARKEN_SECRETS_DIR"),
        ] {
            let problem = unknown_variable(unknown).unwrap();
            assert!(problem.contains(&format!("the nearest one is {nearest}.")), "{problem}");
        }
    }

    #[test]
    fn settings_secrets_and_the_links_of_a_container_platform_are_no_mistakes() {
        for known in [
            "HEARKEN_LISTEN",
            "HEARKEN_DATABASE_URL_FILE",
            "HEARKEN_LOG",
            "HEARKEN_SECRET_ANY",
            "HEARKEN_SERVICE_HOST",
            "HEARKEN_SERVICE_PORT_HTTP",
            "HEARKEN_PORT",
            "HEARKEN_PORT_8000_TCP_ADDR",
            "HEARKEN_WEB_SERVICE_HOST",
            "PATH",
        ] {
            assert_eq!(unknown_variable(known), None, "{known}");
        }
    }
}

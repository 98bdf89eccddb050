use super::*;
use std::collections::BTreeSet;

#[test]
fn every_kind_has_a_slug_of_its_own_and_an_error_status() {
    let slugs: BTreeSet<_> = kinds::ALL.iter().map(|kind| kind.slug).collect();
    assert_eq!(slugs.len(), kinds::ALL.len());
    for kind in kinds::ALL {
        assert!((400..600).contains(&kind.status), "{}", kind.slug);
        let standard = ["type", "title", "status", "detail", "instance"];
        let clash = kind.members.iter().find(|member| standard.contains(&member.name));
        assert_eq!(clash, None, "{}", kind.slug);
    }
}

#[test]
fn a_problem_names_its_type_and_the_request() {
    let problem = Problem::new(&kinds::NOT_CONFIGURED, "no listener x").with("group", "x");
    let expected = json!({
        "type": "/problems/not-configured", "title": "No such listener", "status": 404,
        "detail": "no listener x", "instance": "urn:request:r1", "group": "x",
    });
    assert_eq!(problem.body("r1"), expected);
}

#[test]
fn an_internal_cause_is_not_sent() {
    let problem = Problem::internal("password=secret");
    assert!(!problem.body("r1").to_string().contains("secret"));
    assert_eq!(problem.cause(), Some("password=secret"));
}

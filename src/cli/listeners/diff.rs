//! `hearken listeners diff`.

use crate::{
    cli::{
        client::Server,
        error::{CommandEnd, DONE},
        output::{cell, table},
    },
    domain::event::Version,
};
use clap::Args;
use serde_json::Value;

#[derive(Debug, Args)]
pub(super) struct ShowDiff {
    /// Version that the comparison starts from; 0 is the empty roster
    from: Version,
    /// Version that the comparison leads to [default: the present version]
    to: Option<Version>,
}

impl ShowDiff {
    pub(super) async fn run(self, server: &Server) -> CommandEnd {
        let call = server.get(&["listeners", "diff"]).query("from", &self.from.to_string());
        let answer = call.maybe("to", self.to.as_ref()).send().await?;
        server.show(&answer, render)?;
        Ok(DONE)
    }
}

fn render(json: &Value) -> String {
    let listed = |name: &str| json[name].as_array().into_iter().flatten();
    let whole = |sign: &str, state: &Value| {
        let listener = &state["listener"];
        let what = format!("class {}, bus {}", cell(&listener["class"]), cell(&listener["bus"]));
        vec![sign.to_owned(), cell(&listener["group"]), what, String::new()]
    };
    let mut rows: Vec<Vec<String>> = listed("added").map(|state| whole("+", state)).collect();
    rows.extend(listed("removed").map(|state| whole("-", state)));
    for change in listed("changed") {
        for setting in change["settings"].as_array().into_iter().flatten() {
            let name = setting.as_str().unwrap_or_default();
            let value = |side: &str| match &change[side]["listener"][name] {
                Value::Null => cell(&change[side][name]),
                value => cell(value),
            };
            let what = format!("{name} {}", value("before"));
            rows.push(vec!["~".into(), cell(&change["group"]), what, value("after")]);
        }
    }
    table(&["", "GROUP", "WHAT", "NOW"], rows, "no difference")
}

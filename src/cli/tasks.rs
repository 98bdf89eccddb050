//! `hearken tasks`.

use super::{
    client::{Remote, Server},
    error::{CliError, DONE, FAILED, Outcome},
    output::{columns, details, print, remark},
};
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::Value;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// How long one request waits for a task's end; then the next one does. Short enough for proxies
/// that cut what is silent for a minute.
const TURN: Duration = Duration::from_secs(25);

/// As [`TURN`], when somebody wants to see how far the task is.
const LOOK: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
pub(super) struct Tasks {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the tasks, newest first
    List(List),
    /// Show a task
    Show {
        /// The task's id
        task: Uuid,
    },
    /// Ask a task to stop
    Cancel {
        /// The task's id
        task: Uuid,
    },
}

#[derive(Debug, Args)]
struct List {
    /// Only tasks in this status
    #[arg(long, value_parser = ["waiting", "inProgress", "canceledRequested", "completed", "canceled", "failed"])]
    status: Option<String>,
    /// Only tasks of this type, such as topology-reconcile
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// At most so many
    #[arg(long, value_name = "NUMBER")]
    limit: Option<u32>,
    /// Leave out so many
    #[arg(long, value_name = "NUMBER")]
    offset: Option<u32>,
}

impl Tasks {
    pub(super) async fn run(self) -> Outcome {
        let server = self.remote.server()?;
        match self.command {
            Command::List(list) => list.run(&server).await,
            Command::Show { task } => {
                let answer = server.get(&["tasks", &task.to_string()]).send().await?;
                server.show(&answer, |json| details(json, &FIRST))?;
                Ok(DONE)
            }
            Command::Cancel { task } => {
                let path = ["tasks", &task.to_string()];
                let answer = server.call(Method::DELETE, &path).send().await?;
                let asked = format!("asked task {task} to stop");
                print(if server.prints_json() { &answer.text } else { &asked })?;
                Ok(DONE)
            }
        }
    }
}

/// What of a task is shown first.
const FIRST: [&str; 3] = ["taskId", "type", "status"];

impl List {
    async fn run(self, server: &Server) -> Outcome {
        let call = server.get(&["tasks"]).maybe("status", self.status.as_ref());
        let call = call.maybe("type", self.kind.as_ref()).maybe("limit", self.limit.as_ref());
        let answer = call.maybe("offset", self.offset.as_ref()).send().await?;
        let shown = [
            ("TASK", "/taskId"),
            ("TYPE", "/type"),
            ("STATUS", "/status"),
            ("SUBMITTED", "/submitDate"),
        ];
        server.show(&answer, |json| columns(json, &shown, "no tasks"))?;
        Ok(DONE)
    }
}

/// Says in words how far a task is, by its report.
pub(super) type Progress = fn(&Value) -> Option<String>;

/// Waits for a task's end and prints its report; fails when it did not end well.
pub(super) async fn wait_for(server: &Server, task: &str, limit: Duration) -> Outcome {
    wait(server, task, limit, None).await
}

/// As [`wait_for`], and says on standard error meanwhile how far the task is.
pub(super) async fn watch(
    server: &Server,
    task: &str,
    limit: Duration,
    progress: Progress,
) -> Outcome {
    wait(server, task, limit, Some(progress)).await
}

async fn wait(server: &Server, task: &str, limit: Duration, progress: Option<Progress>) -> Outcome {
    let goes_on = format!("the work goes on: hearken tasks show {task}");
    let deadline = Instant::now() + limit;
    let mut said = None;
    let answer = loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(CliError::Failed(format!("task {task} did not end in time; {goes_on}")));
        }
        let turn = left.min(if progress.is_some() { LOOK } else { TURN });
        let call = server.get(&["tasks", task, "await"]);
        let call = call.query("timeout", &format!("{}ms", turn.as_millis().max(1)));
        match call.patience(turn).send().await {
            Err(CliError::Answered(problem)) if problem.is_timeout() => {}
            Err(CliError::Unreachable { what, why }) => {
                return Err(CliError::Unreachable { what: format!("{goes_on}; {what}"), why });
            }
            other => break other?,
        }
        let Some(progress) = progress else { continue };
        let report = server.get(&["tasks", task]).send().await?.json()?;
        let now = progress(&report);
        if let Some(now) = now.as_ref().filter(|_| now != said) {
            remark(now);
        }
        said = now;
    };
    server.show(&answer, |json| details(json, &FIRST))?;
    Ok(if answer.json()?["status"] == "completed" { DONE } else { FAILED })
}

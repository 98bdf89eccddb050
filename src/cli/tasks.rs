//! `hearken tasks`.

use super::{
    client::{Answer, Remote, Server},
    error::{CliError, CommandEnd, DONE, FAILED},
    output::{columns, details, print},
    terminal::remark,
};
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::Value;
use std::time::Duration;
use tokio::time::timeout;
use uuid::Uuid;

/// Time that one request waits for the end of a task before the next request does. Short, because
/// proxies cut connections that are silent for a minute.
const TURN: Duration = Duration::from_secs(25);

/// Time that one request waits when the command shows the progress of the task.
const PROGRESS_TURN: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
pub(super) struct TasksCommand {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    command: TasksAction,
}

#[derive(Debug, Subcommand)]
enum TasksAction {
    /// List the tasks, newest first
    List(ListTasks),
    /// Show a task
    Show {
        /// Id of the task
        task: Uuid,
    },
    /// Ask a task to stop
    Cancel {
        /// Id of the task
        task: Uuid,
    },
}

#[derive(Debug, Args)]
struct ListTasks {
    /// List only tasks in this status
    #[arg(long, value_parser = ["waiting", "inProgress", "canceledRequested", "completed", "canceled", "failed"])]
    status: Option<String>,
    /// List only tasks of this type, such as topology-reconcile
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// List at most this many tasks
    #[arg(long, value_name = "NUMBER")]
    limit: Option<u32>,
    /// Skip this many tasks
    #[arg(long, value_name = "NUMBER")]
    offset: Option<u32>,
}

impl TasksCommand {
    pub(super) async fn run(self) -> CommandEnd {
        let server = self.remote.server()?;
        match self.command {
            TasksAction::List(list) => list.run(&server).await,
            TasksAction::Show { task } => {
                let answer = server.get(&["tasks", &task.to_string()]).send().await?;
                server.show(&answer, |json| details(json, &FIRST))?;
                Ok(DONE)
            }
            TasksAction::Cancel { task } => {
                let path = ["tasks", &task.to_string()];
                let answer = server.call(Method::DELETE, &path).send().await?;
                let asked = format!("asked task {task} to stop");
                print(if server.prints_json() { &answer.text } else { &asked })?;
                Ok(DONE)
            }
        }
    }
}

/// Members of a task that are shown first.
const FIRST: [&str; 3] = ["taskId", "type", "status"];

impl ListTasks {
    async fn run(self, server: &Server) -> CommandEnd {
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

/// Progress of a task in words, read from its report.
pub(super) type ProgressText = fn(&Value) -> Option<String>;

/// Id of the task in an answer that accepted work.
///
/// # Errors
/// When the answer names no task.
pub(super) fn accepted_task(answer: &Answer) -> Result<String, CliError> {
    let json = answer.json()?;
    let task = json["taskId"].as_str().map(str::to_owned);
    task.ok_or_else(|| {
        CliError::Failed(
            "the server accepted the work without naming its task; hearken tasks list shows it"
                .into(),
        )
    })
}

/// Waits for the end of a task and prints its report. Meanwhile the progress, if asked for, goes to
/// standard error. Ends as [`FAILED`] when the task is not completed.
pub(super) async fn wait_for(
    server: &Server,
    task: &str,
    limit: Duration,
    progress: Option<ProgressText>,
) -> CommandEnd {
    let goes_on = format!("the task continues; hearken tasks show {task} shows its state");
    let answer = match timeout(limit, await_end(server, task, limit, progress)).await {
        Ok(Err(CliError::Unreachable { what, why })) => {
            return Err(CliError::Unreachable { what: format!("{goes_on}; {what}"), why });
        }
        Ok(ended) => ended?,
        Err(_) => {
            let late = format!("task {task} did not end within the --timeout; {goes_on}");
            return Err(CliError::Failed(late));
        }
    };
    server.show(&answer, |json| details(json, &FIRST))?;
    Ok(if answer.json()?["status"] == "completed" { DONE } else { FAILED })
}

/// Report of a task that has ended. Asks again whenever the server's wait is over.
async fn await_end(
    server: &Server,
    task: &str,
    limit: Duration,
    progress: Option<ProgressText>,
) -> Result<Answer, CliError> {
    let turn = limit.min(if progress.is_some() { PROGRESS_TURN } else { TURN });
    let mut shown = None;
    loop {
        let call = server.get(&["tasks", task, "await"]);
        let call = call.query("timeout", &format!("{}ms", turn.as_millis().max(1)));
        match call.patience(turn).send().await {
            Err(CliError::Answered(problem)) if problem.is_timeout() => {}
            ended => return ended,
        }
        let Some(progress) = progress else { continue };
        let report = server.get(&["tasks", task]).send().await?.json()?;
        let now = progress(&report);
        if let Some(now) = now.as_ref().filter(|_| now != shown) {
            remark(now);
        }
        shown = now;
    }
}

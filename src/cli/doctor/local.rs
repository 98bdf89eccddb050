//! Checks of this machine: address, files, classes.

use super::{Findings, node::NodePresence};
use crate::{
    cli::{
        error::CliError,
        serve::{Extras, catalog},
    },
    clock::Clock,
    config::Serve,
    domain::{admission::ClassVerdict, listener::ListenerSpec},
    error_chain::error_chain,
    http::Tokens,
    listeners::Catalog,
};
use std::{
    fs::{self, OpenOptions},
    net::TcpListener,
    path::Path,
};

/// Checks the address, the data directory, the tokens and the required listeners.
pub(super) async fn examine(
    settings: &Serve,
    extras: &Extras,
    clock: &Clock,
    node: NodePresence,
    findings: &mut Findings,
) -> Result<(), CliError> {
    findings.note("address", address(settings, node))?;
    findings.note("data directory", data_dir(&settings.data_dir))?;
    findings.note("tokens", tokens(settings))?;
    let catalog = match catalog(settings, extras, clock) {
        Ok(catalog) => catalog,
        Err(error) => return findings.note("classes", Err(error.to_string())),
    };
    let names: Vec<_> = catalog.iter().map(|(name, ..)| name.to_string()).collect();
    findings.note("classes", Ok(names.join(", ")))?;
    for listener in settings.required.iter().chain(&extras.required) {
        findings.note("required", required(&catalog, listener).await)?;
    }
    Ok(())
}

fn address(settings: &Serve, node: NodePresence) -> Result<String, String> {
    let address = settings.listen;
    match TcpListener::bind(address) {
        Ok(_) => Ok(format!("{address} is free")),
        Err(_) if node == NodePresence::Answers => {
            Ok(format!("{address} is taken, by the node that runs"))
        }
        Err(error) => Err(format!(
            "cannot listen on {address} ({error}); stop the program that uses it, or choose another --listen"
        )),
    }
}

/// Checks that the data directory can be written or created, and leaves no file behind.
fn data_dir(directory: &Path) -> Result<String, String> {
    let shown = directory.display();
    let mut existing = directory;
    while !existing.exists() {
        existing = match existing.parent() {
            Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
            Some(parent) => parent,
            None => return Err(format!("{shown} cannot be created; choose another --data-dir")),
        };
    }
    let probe = existing.join(format!(".hearken-doctor-{}", std::process::id()));
    let written = OpenOptions::new().write(true).create_new(true).open(&probe);
    let written = written.and_then(|_| fs::remove_file(&probe));
    match written {
        Ok(()) if existing == directory => Ok(format!("{shown} can be written")),
        Ok(()) => Ok(format!("{shown} does not exist yet and can be created")),
        Err(error) => Err(format!(
            "{} cannot be written ({error}); give this user the right to write there, or choose another --data-dir",
            existing.display()
        )),
    }
}

fn tokens(settings: &Serve) -> Result<String, String> {
    let (admin, read) = (&settings.admin_token_file, &settings.read_token_file);
    let generated = settings.data_dir.join("admin-token");
    if admin.is_none() && !generated.exists() {
        // Loading would create the file; doctor changes nothing.
        return Ok(format!(
            "the administrator's token will be generated in {}",
            generated.display()
        ));
    }
    match Tokens::load(admin.as_deref(), read.as_deref(), &settings.data_dir) {
        Ok(_) => Ok(format!(
            "the administrator's token is in {}",
            admin.as_ref().unwrap_or(&generated).display()
        )),
        Err(error) => Err(error_chain(&error)),
    }
}

async fn required(catalog: &Catalog, listener: &ListenerSpec) -> Result<String, String> {
    let (group, class) = (&listener.group, &listener.class);
    match catalog.verdict_in_time(listener).await {
        ClassVerdict::Accepted => {}
        ClassVerdict::Unknown { known } => {
            let known = known.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            return Err(format!("{group}: class {class} does not exist; the classes are {known}"));
        }
        ClassVerdict::Invalid(errors) => {
            let wrong = errors.iter().map(|error| format!("{} {}", error.pointer, error.problem));
            let wrong = wrong.collect::<Vec<_>>().join("; ");
            return Err(format!("{group}: class {class} refuses its configuration: {wrong}"));
        }
    }
    match catalog.secrets().resolve(&listener.configuration) {
        Ok(_) => Ok(format!("{group} of class {class}")),
        Err(error) => Err(format!("{group}: {error}")),
    }
}

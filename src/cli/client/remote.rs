//! Options of every command that talks to a server: its address, its token, the form of output.

use super::{CONNECT, Server};
use crate::cli::{error::CliError, output::Format};
use clap::Args;
use reqwest::header;
use std::{io, path::PathBuf};
use url::{Host, Url};

/// Options that name the server, its token and the form of output.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Server and output")]
pub(in crate::cli) struct Remote {
    /// Address of any node of the cluster
    #[arg(
        long,
        env = "HEARKEN_URL",
        default_value = "http://127.0.0.1:8000",
        value_name = "URL",
        global = true
    )]
    pub(in crate::cli) url: String,
    /// Bearer token [default: the generated token in the data directory]
    #[arg(
        long,
        env = "HEARKEN_TOKEN",
        hide_env_values = true,
        value_name = "TOKEN",
        global = true
    )]
    pub(in crate::cli) token: Option<String>,
    /// Data directory of a server on this machine, which holds the generated token
    /// [default: ./hearken-data, for a server on this machine]
    #[arg(long, env = "HEARKEN_DATA_DIR", value_name = "DIR", global = true)]
    pub(in crate::cli) data_dir: Option<PathBuf>,
    /// Form of the output: a table for people, or the server's JSON unchanged
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT", global = true)]
    pub(in crate::cli) output: Format,
}

impl Remote {
    /// Server for requests that need no token.
    ///
    /// # Errors
    /// When the URL cannot be used.
    pub(in crate::cli) fn open_server(&self) -> Result<Server, CliError> {
        let base = parse_url(&self.url)?;
        Ok(Server { client: client(&base)?, base, token: None, format: self.output })
    }

    /// Server for requests that need a token.
    ///
    /// # Errors
    /// When the URL or the token cannot be used, or the file of the token cannot be read.
    pub(in crate::cli) fn server(&self) -> Result<Server, CliError> {
        let server = self.open_server()?;
        let token = self.find_token(&server.base)?.map(|token| bearer(&token)).transpose()?;
        Ok(Server { token, ..server })
    }

    /// Token that was given, or the generated token of a server on this machine. Another machine
    /// never gets the generated token.
    fn find_token(&self, base: &Url) -> Result<Option<String>, CliError> {
        if let Some(token) = self.token.as_deref().filter(|token| !token.is_empty()) {
            return Ok(Some(token.to_owned()));
        }
        let directory = match &self.data_dir {
            Some(directory) => directory.clone(),
            None if is_loopback(base) => PathBuf::from("hearken-data"),
            None => return Ok(None),
        };
        let path = directory.join("admin-token");
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text.trim().to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => match self.data_dir {
                None => Ok(None),
                Some(_) => Err(CliError::Usage(format!(
                    "there is no token in {}; if the server uses --admin-token-file, give that token with --token",
                    path.display()
                ))),
            },
            Err(error) => Err(CliError::Failed(format!(
                "the token in {} cannot be read ({error}); run as the server's user, or give --token",
                path.display()
            ))),
        }
    }
}

fn parse_url(text: &str) -> Result<Url, CliError> {
    let wrong = |problem: &str| {
        CliError::Usage(format!(
            "--url (HEARKEN_URL) {problem}; write a URL such as http://127.0.0.1:8000"
        ))
    };
    let url = Url::parse(text).map_err(|error| wrong(&format!("is not a URL ({error})")))?;
    if !["http", "https"].contains(&url.scheme()) {
        return Err(wrong("must start with http:// or https://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong(
            "names a user; hearken identifies callers by a token, so give --token instead",
        ));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("has a query or a fragment after the path"));
    }
    Ok(url)
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

fn bearer(token: &str) -> Result<header::HeaderValue, CliError> {
    let mut value = header::HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| {
        CliError::Usage(
            "the token has characters that no token has, such as a line end; check --token".into(),
        )
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// HTTP client of the commands. It ignores redirects, so that the token reaches no other server,
/// and it uses no proxy for this machine.
fn client(base: &Url) -> Result<reqwest::Client, CliError> {
    crate::tls::init();
    let builder = reqwest::Client::builder()
        .connect_timeout(CONNECT)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("hearken/", env!("CARGO_PKG_VERSION")));
    let builder = if is_loopback(base) { builder.no_proxy() } else { builder };
    builder
        .build()
        .map_err(|error| CliError::Failed(format!("the HTTP client cannot be made: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remote(url: &str, token: Option<&str>, data_dir: Option<PathBuf>) -> Remote {
        let token = token.map(str::to_owned);
        Remote { url: url.into(), token, data_dir, output: Format::Table }
    }

    #[test]
    fn the_token_of_this_machine_goes_to_no_other_machine() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("admin-token"), "local\n").unwrap();
        let find = |remote: &Remote| remote.find_token(&parse_url(&remote.url).unwrap()).unwrap();
        let named = Some(directory.path().to_owned());
        assert_eq!(find(&remote("http://[::1]:1", None, named.clone())), Some("local".into()));
        assert_eq!(find(&remote("http://[::1]:1", Some(""), named.clone())), Some("local".into()));
        assert_eq!(find(&remote("http://[::1]:1", Some("given"), named)), Some("given".into()));
        assert_eq!(find(&remote("http://elsewhere:1", None, None)), None);
    }

    #[test]
    fn a_data_directory_without_a_token_is_reported() {
        let directory = tempfile::tempdir().unwrap();
        let error = remote("http://localhost", None, Some(directory.path().to_owned())).server();
        assert!(error.unwrap_err().to_string().starts_with("there is no token in "));
    }

    #[test]
    fn a_url_that_cannot_be_called_is_refused() {
        for url in ["", "localhost:8000", "ftp://a", "http://u:p@a", "http://a/?b", "http://"] {
            assert!(matches!(parse_url(url), Err(CliError::Usage(_))), "{url}");
        }
    }

    #[test]
    fn a_path_is_escaped_and_appended_to_the_path_of_the_url() {
        let server = remote("http://a/below/", Some("t"), None).server().unwrap();
        let call = server.get(&["listeners", "a b/c"]).query("x", "1&2");
        assert_eq!(call.url.as_str(), "http://a/below/listeners/a%20b%2Fc?x=1%262");
    }
}

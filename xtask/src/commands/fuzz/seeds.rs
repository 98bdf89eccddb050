//! What fuzzing begins with: the golden files of James, in each form.

use anyhow::{Context, Result};
use std::{
    fs,
    path::{Path, PathBuf},
};
use xtask::services::workspace_root;

/// The attributes of a `CloudEvent`.
const ATTRIBUTES: [(&str, &str); 6] = [
    ("specversion", "1.0"),
    ("id", "1"),
    ("source", "/mail"),
    ("type", "Added"),
    ("time", "2018-12-14T09:41:51.541Z"),
    ("datacontenttype", "application/json"),
];

/// Names and keys, good and bad.
const NAMES: [&str; 7] = [
    "mailboxEvent",
    "org.apache.james.events.GroupRegistrationHandler$GroupRegistrationHandlerGroup",
    "MailboxIdRegistrationKey:18",
    "hearken:topology",
    "-a",
    "a\u{7f}b",
    "é/%2F",
];

/// Writes the seeds of a target. Returns their directory.
pub(super) fn write(target: &str, directory: &Path) -> Result<PathBuf> {
    fs::create_dir_all(directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    for (number, seed) in of(target)?.iter().enumerate() {
        let path = directory.join(number.to_string());
        fs::write(&path, seed).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(directory.to_owned())
}

/// Writes a golden file in another form.
type Form = fn(&[u8]) -> Vec<u8>;

fn of(target: &str) -> Result<Vec<Vec<u8>>> {
    let bodies = golden()?;
    let each = |form: Form| bodies.iter().map(|body| form(body)).collect();
    Ok(match target {
        "names" => NAMES.iter().map(|name| name.as_bytes().to_vec()).collect(),
        "binary_headers" => each(binary),
        "decode_msgpack" => each(msgpack),
        "decode_event" => {
            // The first byte is the place in the target's list of content types.
            let forms: [(u8, Form); 4] = [
                (0, structured),
                (1, |body| [b"[", &structured(body)[..], b"]"].concat()),
                (2, msgpack),
                (3, <[u8]>::to_vec),
            ];
            let chosen = |(first, form): &(u8, Form)| {
                bodies.iter().map(|body| [&[*first][..], &form(body)].concat()).collect::<Vec<_>>()
            };
            forms.iter().flat_map(chosen).collect()
        }
        _ => bodies,
    })
}

fn golden() -> Result<Vec<Vec<u8>>> {
    let directory = workspace_root().join("core/src/codec/golden/james");
    let entries =
        fs::read_dir(&directory).with_context(|| format!("cannot read {}", directory.display()))?;
    let mut paths: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    paths.sort();
    let read =
        |path: &PathBuf| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    paths.iter().map(read).collect()
}

fn structured(body: &[u8]) -> Vec<u8> {
    let mut event = b"{".to_vec();
    for (name, value) in ATTRIBUTES {
        event.extend(format!("\"{name}\":\"{value}\",").bytes());
    }
    event.extend(b"\"noop\":false,\"data\":");
    event.extend(body);
    event.push(b'}');
    event
}

fn binary(body: &[u8]) -> Vec<u8> {
    let mut lines = String::new();
    for (name, value) in ATTRIBUTES {
        match name {
            "datacontenttype" => lines.push_str("content-type"),
            name => lines.extend(["ce-", name]),
        }
        lines.extend([": ", value, "\n"]);
    }
    lines.push('\n');
    [lines.as_bytes(), body].concat()
}

fn msgpack(body: &[u8]) -> Vec<u8> {
    let text = |text: &str| {
        let length = u8::try_from(text.len()).expect("the seeds' texts are short");
        [&[0xd9, length], text.as_bytes()].concat()
    };
    let mut event = vec![0x80 + u8::try_from(ATTRIBUTES.len()).expect("they are few") + 1];
    for (name, value) in ATTRIBUTES {
        event.extend([text(name), text(value)].concat());
    }
    event.extend(text("data"));
    event.push(0xc6);
    event.extend(u32::try_from(body.len()).expect("golden files are small").to_be_bytes());
    event.extend(body);
    event
}

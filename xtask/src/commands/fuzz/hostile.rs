//! Bodies of the largest size, made to need as much memory as they can.

use anyhow::{Context, Result, bail};
use std::{fs, path::Path, process::Command as Process};

/// The largest body that is read (`codec::MAX_BYTES`), in bytes.
const BYTES: usize = 16 * 1024 * 1024;

/// What reading one may take, in MiB. The engine itself holds the body twice and has its counters.
const MEMORY: u64 = 384;

/// A form by its place in the target's list, how a body begins, what it repeats, and how it ends.
type Shape = (&'static str, u8, &'static [u8], &'static [u8], &'static [u8]);

const MSGPACK: &[u8] = b"\x85\xabspecversion\xa31.0\xa2id\xa11\xa6source\xa1s\xa4type\xa1t\xa4data";
const MSGPACK_ARRAY: &[u8] =
    b"\x85\xabspecversion\xa31.0\xa2id\xa11\xa6source\xa1s\xa4type\xa1t\xa4data\xdd\xff\xff\xff\xff";
const CLOUD: &[u8] = br#"{"specversion":"1.0","id":"1","source":"s","type":"t","data":["#;

const SHAPES: [Shape; 16] = [
    ("James, nested arrays", 3, b"", b"[", b""),
    ("James, nested objects", 3, b"", br#"{"a":"#, b""),
    ("James, numbers", 3, b"[", b"0,", b"0]"),
    ("James, arrays of one", 3, b"[", b"[0],", b"0]"),
    ("James, empty objects", 3, b"[", b"{},", b"0]"),
    ("James, objects of one", 3, b"[", br#"{"":{"":0}},"#, b"0]"),
    (
        "James, a batch of events",
        3,
        b"[",
        br#"{"A":{"eventId":"1"}},"#,
        br#"{"A":{"eventId":"1"}}]"#,
    ),
    ("James, one event of one text", 3, br#"{"A":{"eventId":"1","x":""#, b"x", br#""}}"#),
    ("James, escapes", 3, br#"{"A":{"eventId":"1","x":""#, br"\u00e9", br#""}}"#),
    ("CloudEvents, arrays of one", 0, CLOUD, b"[0],", b"0]}"),
    ("CloudEvents, one text", 0, CLOUD, b"\"xxxxxxxxxxxxxx\",", b"0]}"),
    (
        "CloudEvents, a batch",
        1,
        b"[",
        br#"{"specversion":"1.0","id":"1","source":"s","type":"t"},"#,
        b"0]",
    ),
    ("MessagePack, nested arrays", 2, MSGPACK, b"\x91", b"\xc0"),
    ("MessagePack, nils", 2, MSGPACK_ARRAY, b"\xc0", b""),
    ("MessagePack, falses", 2, MSGPACK_ARRAY, b"\x91\xc2", b""),
    (
        "MessagePack, control characters",
        2,
        MSGPACK_ARRAY,
        b"\xaf\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01",
        b"",
    ),
];

/// Feeds each of them and checks how much memory it took.
pub(super) fn measure(program: &Path, directory: &Path) -> Result<()> {
    fs::create_dir_all(directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    let mut bodies: Vec<(&str, Vec<u8>)> =
        SHAPES.iter().map(|shape| (shape.0, body(shape))).collect();
    bodies.push((
        "James, one object of many keys",
        keys(3, b"{", |n| format!("\"{n:x}\":0,"), b"\"\":0}"),
    ));
    bodies.push(("MessagePack, one map of many keys", packed_keys()));
    let mut most = ("", 0);
    for (name, body) in &bodies {
        let path = directory.join("body");
        fs::write(&path, body).with_context(|| format!("cannot write {}", path.display()))?;
        let output = Process::new(program)
            .arg("-print_final_stats=1")
            .arg("-timeout=300")
            .arg(&path)
            .output();
        let output = output.with_context(|| format!("cannot run {}", program.display()))?;
        let said = String::from_utf8_lossy(&output.stderr);
        let peak = super::statistic(&said, "peak_rss_mb").filter(|_| output.status.success());
        match peak {
            None => bail!("{name} is not survived:\n{said}"),
            Some(peak) if peak > MEMORY => {
                bail!("{name}: a body of 16 MiB takes {peak} MiB of memory; {MEMORY} are allowed")
            }
            Some(peak) if peak > most.1 => most = (name, peak),
            Some(_) => {}
        }
    }
    println!("{} hostile bodies of 16 MiB: at most {} MiB ({})", bodies.len(), most.1, most.0);
    Ok(())
}

fn body((_, form, begin, repeated, end): &Shape) -> Vec<u8> {
    let room = BYTES - begin.len() - end.len();
    let middle = repeated.repeat(room / repeated.len());
    [&[*form][..], begin, &middle, end].concat()
}

fn keys(form: u8, begin: &[u8], entry: impl Fn(usize) -> String, end: &[u8]) -> Vec<u8> {
    let mut body = [&[form][..], begin].concat();
    let mut number = 0;
    while body.len() + 32 < BYTES {
        body.extend(entry(number).bytes());
        number += 1;
    }
    body.extend(end);
    body
}

fn packed_keys() -> Vec<u8> {
    let begin = [MSGPACK, b"\xdf\xff\xff\xff\xff"].concat();
    let mut body = [&[2][..], &begin].concat();
    for number in 0u32.. {
        if body.len() + 16 > BYTES {
            break;
        }
        body.push(0xa8);
        body.extend(format!("{number:08x}").bytes());
        body.push(0xc0);
    }
    body
}

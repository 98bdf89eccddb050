//! Processes that end when we do.

use anyhow::{Context, Result, bail};
use std::{
    fs::{File, OpenOptions},
    io::{self, Read},
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        OnceLock,
        mpsc::{Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

/// A server process whose output goes to a file.
///
/// It is killed when the value is dropped. It is in a process group of its own, so that Ctrl-C in a
/// terminal reaches us and not the servers a test uses.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a command made by [`guarded`], appending its output to a file.
    ///
    /// # Errors
    /// When the file cannot be opened or the program cannot be run.
    pub fn spawn(name: &str, mut command: Command, log: &Path) -> Result<Self> {
        let output = OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("cannot write {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).process_group(0);
        let shown = format!("{command:?}");
        let child = spawn_for_good(command)
            .with_context(|| format!("cannot run {shown}; setpriv comes with util-linux"))?;
        Ok(Self { name: name.to_owned(), child, log: log.to_path_buf() })
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, given by its name without `SIG`.
    ///
    /// # Errors
    /// When the process is gone or is not ours.
    pub fn signal(&self, signal: &str) -> Result<()> {
        // The shell's own kill: /bin/kill is a package that may be absent.
        let script = format!("kill -s {signal} {}", self.id());
        let status = Command::new("sh").args(["-c", &script]).status()?;
        if !status.success() {
            bail!("cannot send {signal} to {} (process {})", self.name, self.id());
        }
        Ok(())
    }

    /// Kills the process and returns when it is gone.
    pub fn kill(&mut self) {
        // Failing to kill means that it has ended, and then there is only the exit status to
        // collect.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks the process to end by a signal, and kills it when it has not by the deadline. Returns
    /// whether it ended by itself.
    pub fn end(&mut self, signal: &str, deadline: Duration) -> bool {
        let asked = self.signal(signal).is_ok();
        let until = Instant::now() + deadline;
        while asked && Instant::now() < until {
            if self.exited().is_some() {
                return true;
            }
            thread::sleep(Duration::from_millis(20));
        }
        self.kill();
        false
    }

    /// How the process ended, if it has.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Waits until the server is ready.
    ///
    /// # Errors
    /// When the process ends or the deadline passes first. The error holds the last lines of the
    /// log.
    pub fn wait_ready(&mut self, deadline: Duration, ready: impl Fn() -> bool) -> Result<()> {
        let until = Instant::now() + deadline;
        while !ready() {
            if let Some(status) = self.exited() {
                bail!("{} ended while starting ({status})\n{}", self.name, self.log_tail());
            }
            if Instant::now() > until {
                let seconds = deadline.as_secs();
                bail!("{} is not ready after {seconds} s\n{}", self.name, self.log_tail());
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// The last lines of the log, after a line that says where it is.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        let tail = &lines[lines.len().saturating_sub(40)..];
        format!("the end of {}:\n{}", self.log.display(), tail.join("\n"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A command whose process gets a signal when we die, however we die.
///
/// Arguments added to it are the program to run and the program's arguments. The program takes the
/// place of the helper that arranges this, so the id of the child is the id of the program.
#[must_use]
pub fn guarded(signal: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", signal]);
    command
}

/// Starts a process from a thread that lives as long as we do.
///
/// Linux sends the signal asked for by [`guarded`] when the *thread* that started the process ends.
/// Started from the thread of a test, a server that other tests share would die with that test.
fn spawn_for_good(command: Command) -> io::Result<Child> {
    type Job = (Command, Sender<io::Result<Child>>);
    static SPAWNER: OnceLock<Sender<Job>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (jobs, queue) = channel::<Job>();
        thread::spawn(move || {
            for (mut command, reply) in queue {
                let _ = reply.send(command.spawn());
            }
        });
        jobs
    });
    let (reply, answer) = channel();
    spawner.send((command, reply)).map_err(io::Error::other)?;
    answer.recv().map_err(io::Error::other)?
}

/// Whether we run as root.
#[must_use]
pub(crate) fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|myself| myself.uid() == 0)
}

/// Random bytes from the kernel as hexadecimal digits, for tokens and cookies.
///
/// # Errors
/// When the kernel's source cannot be read.
pub fn random_hex(bytes: usize) -> Result<String> {
    use std::fmt::Write;
    let mut random = vec![0; bytes];
    File::open("/dev/urandom")?.read_exact(&mut random)?;
    Ok(random.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    }))
}

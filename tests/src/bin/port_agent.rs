//! An agent in the shape of rbw's: the command line starts it where nobody answers, and goes on. Both
//! are asynchronous, with tokio and anyhow; the agent says itself when it is ready.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use std::{env, fs, process};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use daemon_rt::control::Control;
use daemon_rt::{Daemon, Ready, daemon, shutdown};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::Runtime;

const PATIENCE: Duration = Duration::from_mins(1);

/// Asks an agent, which is started when it is needed.
#[derive(Parser)]
struct Options {
    /// Where socket and pidfile are
    #[arg(long, global = true, default_value = "/run/port_agent")]
    directory: PathBuf,
    /// What the agent reads before it listens
    #[arg(long, global = true)]
    unlock: Option<PathBuf>,
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Ask the agent
    Ask { question: String },
    /// End the agent
    Quit,
    /// Be the agent
    Serve,
}

impl Options {
    fn socket(&self) -> PathBuf {
        self.directory.join("socket")
    }

    fn control(&self) -> Control {
        Control::new(self.directory.join("pid"))
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    let done = match &options.action {
        Action::Serve => return serve(),
        Action::Ask { question } => Runtime::new()
            .map_err(Into::into)
            .and_then(|runtime| runtime.block_on(ask(&options, question))),
        Action::Quit => options
            .control()
            .stop(PATIENCE)
            .map(drop)
            .map_err(Into::into),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("port_agent: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn ask(options: &Options, question: &str) -> Result<()> {
    let mut agent = match UnixStream::connect(options.socket()).await {
        Err(error) if is_nobody(error.kind()) => {
            launch(options).await?;
            UnixStream::connect(options.socket()).await
        }
        connected => connected,
    }
    .context("cannot reach the agent")?;
    agent.write_all(format!("{question}\n").as_bytes()).await?;
    let mut answer = String::new();
    agent.read_to_string(&mut answer).await?;
    print!("{answer}");
    Ok(())
}

fn is_nobody(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::NotFound | ErrorKind::ConnectionRefused)
}

/// Starts the agent, or waits for one that is about to be ready.
async fn launch(options: &Options) -> Result<()> {
    let control = options.control();
    let mut agent = Command::new(env::current_exe()?);
    agent
        .arg("serve")
        .arg("--directory")
        .arg(&options.directory);
    if let Some(path) = &options.unlock {
        agent.arg("--unlock").arg(path);
    }
    tokio::task::spawn_blocking(move || control.launch(&mut agent, PATIENCE)).await??;
    Ok(())
}

#[daemon(configure = configure, defer_ready, umask = 0o077)]
fn serve(options: Options, ready: Ready) -> Result<()> {
    if let Some(path) = &options.unlock {
        fs::read(path).context("cannot unlock")?;
    }
    Runtime::new()?.block_on(answer_all(&options.socket(), ready))
}

fn configure(daemon: &mut Daemon) -> Result<Options> {
    let mut options = Options::parse();
    options.directory = std::path::absolute(options.directory)?;
    daemon.pidfile(options.directory.join("pid"));
    daemon.stderr(options.directory.join("log"));
    Ok(options)
}

async fn answer_all(socket: &Path, ready: Ready) -> Result<()> {
    _ = fs::remove_file(socket); // a dead agent's: this one has the lock
    let listener = UnixListener::bind(socket)
        .with_context(|| format!("cannot listen at {}", socket.display()))?;
    ready.notify();
    loop {
        tokio::select! {
            called = listener.accept() => drop(tokio::spawn(answer(called?.0))),
            () = shutdown() => return Ok(fs::remove_file(socket)?),
        }
    }
}

/// Answers with the agent's pid, the number of the question, and the question.
async fn answer(mut client: UnixStream) -> Result<()> {
    static NUMBER: AtomicU32 = AtomicU32::new(1);
    let mut question = String::new();
    BufReader::new(&mut client).read_line(&mut question).await?;
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let answer = format!("{} {number} {question}", process::id());
    Ok(client.write_all(answer.as_bytes()).await?)
}

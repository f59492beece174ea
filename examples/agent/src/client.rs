//! The client: what a person types.

use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::thread;
use std::time::{Duration, Instant};

use daemon_rt::control::Control;

use crate::Result;

/// How long an agent may take to start, or to end when it does not answer any more.
const PATIENCE: Duration = Duration::from_secs(10);

/// Asks the agent, and shows what it answers.
pub(crate) fn main(request: &[&str]) -> ExitCode {
    match ask(request) {
        Ok(Some(answer)) if answer.is_empty() => ExitCode::SUCCESS,
        Ok(Some(answer)) if writeln!(io::stdout(), "{answer}").is_ok() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("agent: {error}");
            ExitCode::from(2)
        }
    }
}

/// The answer; `None` where the agent has none.
fn ask(request: &[&str]) -> Result<Option<String>> {
    if request.iter().any(|word| word.contains(['\0', '\n'])) {
        return Err("it remembers single lines".into());
    }
    let socket = crate::socket()?;
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        // An agent that is about to end has answered or not even begun, so that the next can be
        // asked.
        let answer = connect(&socket)?
            .map(|agent| talk(&agent, request))
            .transpose()?;
        if let Some(answer) = answer.flatten() {
            return Ok(answer.strip_prefix('+').map(str::to_owned));
        }
        thread::sleep(Duration::from_millis(10));
    }
    Err("the agent is running, but does not answer".into())
}

/// A connection to the agent, which is started where there is none. `None` if the one that is there
/// is about to end.
fn connect(socket: &Path) -> Result<Option<UnixStream>> {
    let nobody = |error: &io::Error| {
        matches!(
            error.kind(),
            ErrorKind::NotFound | ErrorKind::ConnectionRefused
        )
    };
    match UnixStream::connect(socket) {
        Err(error) if nobody(&error) => start()?,
        result => return Ok(Some(result?)),
    }
    match UnixStream::connect(socket) {
        Err(error) if nobody(&error) => Ok(None),
        result => Ok(Some(result?)),
    }
}

/// Starts the agent. It returns when one is ready, whoever has started it.
fn start() -> Result<()> {
    let mut serve = Command::new(std::env::current_exe()?);
    serve.arg("serve");
    Control::new(crate::pidfile()?).launch(&mut serve, PATIENCE)?;
    Ok(())
}

/// Sends the request, its words with NULs between, and reads the answer. `None` if the agent has
/// ended without one.
fn talk(mut agent: &UnixStream, request: &[&str]) -> Result<Option<String>> {
    let mut answer = String::new();
    let sent = writeln!(agent, "{}", request.join("\0"));
    match sent.and_then(|()| BufReader::new(agent).read_line(&mut answer)) {
        Err(error)
            if !matches!(
                error.kind(),
                ErrorKind::BrokenPipe | ErrorKind::ConnectionReset
            ) =>
        {
            Err(error.into())
        }
        _ => Ok(answer.strip_suffix('\n').map(str::to_owned)),
    }
}

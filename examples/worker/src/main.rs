//! Counts the lines of files in the background, for the user who starts it. The jobs wait in a
//! database; told to end, it finishes those that it has begun:
//!
//! ```text
//! $ worker add /etc/services
//! $ worker start
//! $ worker list
//! /etc/services: 361
//! ```

use std::fs;
use std::path::{self, PathBuf};
use std::process;
use std::thread;
use std::time::Duration;

use clap::{Parser, Subcommand};
use daemon_rt::cli::{self, Action};
use daemon_rt::{Daemon, daemon, places, shutdown};
use rusqlite::{Connection, OptionalExtension};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Counts the lines of files
#[derive(Parser)]
#[command(name = "worker", version)]
struct Options {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Have the lines of a file counted
    Add { file: PathBuf },
    /// Show all jobs
    List,
    #[command(flatten)]
    Control(Action),
}

const THREADS: usize = 2;

#[daemon(name = "worker", pidfile, stdout, stderr, umask = 0o077, stop_timeout = "30s",
         configure = configure, init = init)]
fn main(connections: Vec<Connection>) -> Result<()> {
    let mut threads = Vec::new();
    for connection in connections {
        threads.push(thread::spawn(move || work(&connection)));
    }
    for thread in threads {
        thread.join().expect("no panic")?;
    }
    Ok(())
}

/// On the terminal: carries out the program's own commands, and leaves the others to the library.
fn configure(daemon: &mut Daemon) -> Result<()> {
    let options: Options = cli::parse();
    daemon.cli(env!("CARGO_PKG_VERSION"));
    match options.command {
        Some(Command::Add { file }) => {
            let file = path::absolute(file)?;
            let file = file.to_str().ok_or("the name of the file is not UTF-8")?;
            open()?.execute("INSERT INTO job (file) VALUES (?1)", [file])?;
        }
        Some(Command::List) => list(&open()?)?,
        Some(Command::Control(action)) => {
            daemon.action(action);
            return Ok(());
        }
        None => return Ok(()),
    }
    process::exit(0)
}

/// Connects to the database, which is made when it is first needed.
fn open() -> Result<Connection> {
    let directory = places("worker").state_directory()?;
    fs::create_dir_all(&directory)?;
    let database = Connection::open(directory.join("jobs.db"))?;
    database.execute_batch(
        "PRAGMA journal_mode = WAL;
         CREATE TABLE IF NOT EXISTS job
             (id INTEGER PRIMARY KEY, file TEXT NOT NULL, begun INTEGER NOT NULL DEFAULT 0, result TEXT)",
    )?;
    Ok(database)
}

fn list(database: &Connection) -> Result<()> {
    let mut jobs = database.prepare("SELECT file, coalesce(result, '…') FROM job ORDER BY id")?;
    let mut rows = jobs.query([])?;
    while let Some(job) = rows.next()? {
        let (file, result): (String, String) = (job.get(0)?, job.get(1)?);
        println!("{file}: {result}");
    }
    Ok(())
}

/// In the daemon, as no connection survives a fork: one for each thread. No other instance runs, so
/// what was begun and is not finished was cut short.
fn init() -> Result<Vec<Connection>> {
    let mut connections = Vec::new();
    for _ in 0..THREADS {
        connections.push(open()?);
    }
    connections[0].execute("UPDATE job SET begun = 0 WHERE result IS NULL", [])?;
    Ok(connections)
}

/// Works until the service is told to end. If it fails, the other threads end, too.
fn work(database: &Connection) -> Result<()> {
    while !shutdown().requested() {
        match next(database) {
            Ok(true) => {}
            Ok(false) => _ = shutdown().wait_timeout(Duration::from_millis(500)),
            Err(error) => {
                shutdown().request();
                return Err(error);
            }
        }
    }
    Ok(())
}

/// Does the next job. `false` if there is none.
fn next(database: &Connection) -> Result<bool> {
    let job = database.query_row(
        "UPDATE job SET begun = 1 WHERE id = (SELECT min(id) FROM job WHERE NOT begun)
         RETURNING id, file",
        [],
        |row| Ok((row.get(0)?, row.get(1)?)),
    );
    let Some((id, file)): Option<(i64, String)> = job.optional()? else {
        return Ok(false);
    };
    let result = match fs::read_to_string(&file) {
        Ok(text) => text.lines().count().to_string(),
        Err(error) => error.to_string(),
    };
    println!("{file}: {result}");
    database.execute("UPDATE job SET result = ?2 WHERE id = ?1", (id, result))?;
    Ok(true)
}

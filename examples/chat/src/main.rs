//! A room to talk in, on the runtime smol: what one says, all hear. `nc 127.0.0.1 7777` enters it.

use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Mutex;
use std::time::Duration;

use daemon_rt::{Error, daemon, listen, shutdown};
use smol::channel::{self, Receiver, Sender};
use smol::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use smol::stream::StreamExt;
use smol::{Async, Timer, future};

/// A member that has not heard so many lines yet is too slow, and leaves.
const PATIENCE: usize = 100;

/// Before it tries again to let somebody in, for example when no descriptor was left.
const PAUSE: Duration = Duration::from_millis(10);

static MEMBERS: Mutex<Vec<Sender<String>>> = Mutex::new(Vec::new());

#[daemon(name = "chat", pidfile, stdout, stderr, umask = 0o022, cli, init = bind)]
fn main(listener: TcpListener) -> io::Result<()> {
    smol::block_on(serve(Async::new(listener)?))
}

fn bind() -> Result<TcpListener, Error> {
    listen("chat", (Ipv4Addr::LOCALHOST, 7777))
}

async fn serve(listener: Async<TcpListener>) -> io::Result<()> {
    loop {
        let accepted = async { Some(listener.accept().await) };
        let ended = async {
            shutdown().await;
            None
        };
        let Some(accepted) = future::or(accepted, ended).await else {
            break;
        };
        match accepted {
            Ok((member, _)) => smol::spawn(talk(member)).detach(),
            Err(_) => _ = Timer::after(PAUSE).await,
        }
    }
    say("The room is closed.");
    MEMBERS.lock().expect("no panic").clear();
    shutdown().drained().await; // until everyone has heard it
    Ok(())
}

/// Listens to a member, until it leaves.
async fn talk(member: Async<TcpStream>) -> io::Result<()> {
    let member = &member;
    let (sender, lines) = channel::bounded(PATIENCE);
    MEMBERS.lock().expect("no panic").push(sender);
    let talks = async {
        let mut said = BufReader::new(member).lines();
        while let Some(line) = said.next().await {
            say(&line?);
        }
        Ok(())
    };
    future::or(talks, hear(member, lines)).await
}

/// Tells a member what is said, until the room is closed.
async fn hear(mut member: &Async<TcpStream>, lines: Receiver<String>) -> io::Result<()> {
    let _hold = shutdown().hold();
    while let Ok(line) = lines.recv().await {
        member.write_all(format!("{line}\n").as_bytes()).await?;
    }
    Ok(())
}

fn say(line: &str) {
    let mut members = MEMBERS.lock().expect("no panic");
    members.retain(|member| member.try_send(line.to_owned()).is_ok());
}

//! supervisord: a `[program]` section for its conf.d directory.

use super::quote::{supervisord_line, supervisord_value};
use super::{Sheet, lines, refuse};
use crate::error::Error;

pub(super) fn program(sheet: &Sheet<'_>) -> Result<String, Error> {
    let mut program = vec![
        format!("[program:{}]", sheet.name),
        format!("command = {}", supervisord_line(&sheet.command("run"))),
        format!("directory = {}", value(sheet.directory_outside_chroot())?),
    ];
    program.extend(sheet.umask().map(|mask| format!("umask = {mask}")));
    program.push("autorestart = unexpected".to_owned());
    program
        .push("; 2, 80: a wrong setting, another instance: it would only fail again.".to_owned());
    program.push("exitcodes = 0,2,80".to_owned());
    if let Some(path) = &sheet.stdout {
        program.push(format!("stdout_logfile = {}", value(path)?));
    }
    if sheet.stderr == sheet.stdout {
        program.push("redirect_stderr = true".to_owned());
    } else if let Some(path) = &sheet.stderr {
        program.push(format!("stderr_logfile = {}", value(path)?));
    }
    Ok(lines(program))
}

fn value(text: &str) -> Result<String, Error> {
    if [" ;", " #", "\u{a0};", "\u{a0}#"]
        .iter()
        .any(|comment| text.contains(comment))
    {
        return Err(refuse(
            text,
            "a supervisord file cannot hold a path with a space before ';' or '#'",
        ));
    }
    Ok(supervisord_value(text))
}

//! The manual page.

use std::io::{self, Write};

use clap::Command;
use clap_mangen::Man;

const EXIT_STATUS: &str = r"
.SH EXIT STATUS
.B start
and
.BR restart :
0 if the service is ready, 78 if its configuration is wrong, 80 if it is running already, 2 for a wrong
command line, another if a step of the start failed.
.PP
.BR status :
0 if it is running and ready, 1 if it has died and has left its pidfile, 3 if it is not running, 4 if it is
starting, or cannot be told.
.PP
Other commands: 0 if it was done, 78 if the configuration is wrong, 2 for a wrong command line, 1 if it
could not be done. It is no error to stop a service that is not running.
";

/// Returns one page for all commands; clap_mangen has a page for each.
pub(super) fn page(parser: Command) -> Vec<u8> {
    let mut page = Vec::new();
    write(parser, &mut page).expect("a vector takes all that is written");
    page
}

fn write(parser: Command, page: &mut Vec<u8>) -> io::Result<()> {
    // That each command has --help is said once.
    let mut parser = parser.mut_subcommands(|command| command.disable_help_flag(true));
    parser.build();
    let man = Man::new(parser.clone()).section("8");
    man.render_title(page)?;
    man.render_name_section(page)?;
    man.render_synopsis_section(page)?;
    man.render_description_section(page)?;
    man.render_options_section(page)?;
    writeln!(page, ".SH COMMANDS")?;
    for command in parser.get_subcommands() {
        if command.get_name() != "help" && !command.is_hide_set() {
            write_command(command, page)?;
        }
    }
    page.write_all(EXIT_STATUS.trim_start().as_bytes())
}

fn write_command(command: &Command, page: &mut Vec<u8>) -> io::Result<()> {
    let man = Man::new(command.clone());
    let mut sections = Vec::new();
    man.render_synopsis_section(&mut sections)?;
    man.render_description_section(&mut sections)?;
    man.render_options_section(&mut sections)?;
    writeln!(page, ".SS {}", command.get_name())?;
    for line in String::from_utf8_lossy(&sections).lines() {
        if line.starts_with(".SH ") {
            writeln!(page, ".PP")?;
        } else if !is_preamble(line) {
            writeln!(page, "{line}")?;
        }
    }
    Ok(())
}

/// Tells whether the line defines the apostrophe, as at the beginning of each section.
fn is_preamble(line: &str) -> bool {
    line.starts_with(".ie ") || line.starts_with(".el ")
}

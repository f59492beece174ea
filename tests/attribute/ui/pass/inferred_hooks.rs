use std::collections::HashMap;
use std::io;

use daemon_rt::daemon;

#[daemon(privileged_init = read, init = parse)]
fn main(table: HashMap<String, u16>) {
    drop(table);
}

fn read() -> io::Result<Vec<String>> {
    Ok(Vec::new())
}

fn parse<T: IntoIterator<Item = String>>(names: T) -> Result<HashMap<String, u16>, String> {
    Ok(names.into_iter().map(|name| (name, 80)).collect())
}

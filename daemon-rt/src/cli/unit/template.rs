//! A unit for any number of instances, from one of them.

use super::quote::INSTANCE;
use crate::error::Error;

/// Puts the mark for an instance's name in the place of this one's, where that stands alone.
pub(super) fn marked(text: &str, instance: &str) -> String {
    let mut marked = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(instance) {
        let (before, after) = (&rest[..at], &rest[at + instance.len()..]);
        let last = before.chars().next_back().or(marked.chars().next_back());
        let is_part = |c: Option<char>| matches!(c, Some(c) if c.is_alphanumeric());
        marked += before;
        if is_part(last) || is_part(after.chars().next()) {
            marked += instance;
        } else {
            marked.push(INSTANCE);
        }
        rest = after;
    }
    marked + rest
}

/// The name of the service without that of the instance.
pub(super) fn base(name: &str, instance: &str) -> String {
    match name.strip_suffix(instance) {
        Some(base) if base.ends_with(['-', '_', '.']) => base[..base.len() - 1].to_owned(),
        _ => name.to_owned(),
    }
}

/// Checks the name of the instance.
pub(super) fn check_name(instance: &str) -> Result<(), Error> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if instance.is_empty() || !instance.chars().all(is_plain) {
        let problem = "an instance has a name of letters, digits, '-', '_' and '.'";
        return Err(Error::usage(format!("--template {instance}"), problem));
    }
    Ok(())
}

/// Makes sure that the instances are not one another.
pub(super) fn check(instance: &str, words: &[String], pidfile: Option<&str>) -> Result<(), Error> {
    let object = || format!("--template {instance}");
    if !words.iter().any(|word| word.contains(INSTANCE)) {
        let problem = "the arguments before the command do not name this instance";
        return Err(Error::usage(object(), problem));
    }
    match pidfile {
        Some(pidfile) if !pidfile.contains(INSTANCE) => {
            let problem = format!("each instance needs a pidfile of its own, not {pidfile}");
            Err(Error::usage(object(), problem))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_is_a_whole_word() {
        let marked = |text| marked(text, "a").replace(INSTANCE, "%i");
        assert_eq!(marked("a/b/a.toml"), "%i/b/%i.toml");
        assert_eq!(marked("/data/aa"), "/data/aa");
        assert_eq!(marked("--config=/etc/a"), "--config=/etc/%i");
        assert_eq!(marked("é"), "é");
    }

    #[test]
    fn the_base_is_a_name() {
        assert_eq!(base("greeter-alpha", "alpha"), "greeter");
        assert_eq!(base("alpha", "alpha"), "alpha");
        assert_eq!(base("greeteralpha", "alpha"), "greeteralpha");
    }
}

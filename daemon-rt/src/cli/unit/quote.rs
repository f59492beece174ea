//! How each format writes a text that it would otherwise read as something else. No text here
//! holds control characters.

/// A word for sh(1).
pub(super) fn shell(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-+=:,./@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// A command line for sh(1).
pub(in crate::cli) fn shell_line(words: &[&str]) -> String {
    join(words, shell)
}

/// Stands for the name of an instance. No text that is read holds it.
pub(super) const INSTANCE: char = '\u{1}';

/// A value in a systemd unit that takes the rest of the line: only specifiers are special.
pub(super) fn systemd_value(value: &str) -> String {
    value.replace('%', "%%").replace(INSTANCE, "%i")
}

/// One of several words in a systemd unit.
pub(super) fn systemd_word(word: &str) -> String {
    let word = systemd_value(word);
    let special = |c: char| c.is_whitespace() || "\"'\\;".contains(c);
    if !word.is_empty() && !word.contains(special) {
        return word;
    }
    format!("\"{}\"", word.replace('\\', r"\\").replace('"', "\\\""))
}

/// A command line in a systemd unit. Variables are replaced in the arguments, but not in the path.
pub(super) fn systemd_line(words: &[&str]) -> String {
    let Some((path, arguments)) = words.split_first() else {
        return String::new();
    };
    let mut line = systemd_word(path);
    for argument in arguments {
        line.push(' ');
        line += &systemd_word(&argument.replace('$', "$$"));
    }
    line
}

/// A value in a supervisord file. It has no escape for a comment's `;` and `#` after a space.
pub(super) fn supervisord_value(value: &str) -> String {
    value.replace('%', "%%")
}

/// A command line in a supervisord file.
pub(super) fn supervisord_line(words: &[&str]) -> String {
    join(words, supervisord_word)
}

/// Backslashes, not quotes: even in quotes ` ;` would begin a comment.
fn supervisord_word(word: &str) -> String {
    if word.is_empty() {
        return "''".to_owned();
    }
    let mut escaped = String::new();
    for c in word.chars() {
        if !c.is_alphanumeric() && !"_-+=:,./@%".contains(c) {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    supervisord_value(&escaped)
}

/// One of several words in a dinit description, which replaces variables.
pub(super) fn dinit_word(word: &str) -> String {
    let escaped = word.replace('\\', r"\\").replace('"', "\\\"");
    format!("\"{}\"", escaped.replace('$', "$$"))
}

/// A path in a logrotate file, which takes it for a pattern.
pub(super) fn logrotate_word(path: &str) -> String {
    let mut escaped = String::new();
    for c in path.chars() {
        if "\"\\*?[]".contains(c) {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    format!("\"{escaped}\"")
}

/// Character data in XML.
pub(super) fn xml(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

fn join(words: &[&str], quote: impl Fn(&str) -> String) -> String {
    let words: Vec<_> = words.iter().map(|word| quote(word)).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_the_words_that_were_written() {
        assert_eq!(shell_line(&["/bin/x", "a=1,2", "50%"]), "/bin/x a=1,2 50%");
        let words = ["", "a b", "it's", "$HOME `id` \\ \" * ~ # ; &", "~", "é"];
        let script = format!("printf '%s\\n' {}", shell_line(&words));
        let said = std::process::Command::new("sh")
            .arg("-c")
            .arg(script)
            .output()
            .expect("sh");
        assert_eq!(
            String::from_utf8_lossy(&said.stdout),
            words.join("\n") + "\n"
        );
    }

    #[test]
    fn systemd_expands_nothing() {
        assert_eq!(
            systemd_line(&["/opt/$x/50%", "$A", "%n"]),
            "/opt/$x/50%% $$A %%n"
        );
        assert_eq!(
            systemd_line(&["/a b", r#"c\"d"#, "", ";"]),
            r#""/a b" "c\\\"d" "" ";""#
        );
        assert_eq!(systemd_value("/a b/50%"), "/a b/50%%");
    }

    #[test]
    fn supervisord_sees_neither_comments_nor_expansions() {
        assert_eq!(
            supervisord_line(&["/a b", "x ;y", "%(ENV_HOME)s", ""]),
            r"/a\ b x\ \;y %%\(ENV_HOME\)s ''"
        );
    }

    #[test]
    fn dinit_sees_no_variables() {
        assert_eq!(dinit_word(r#"a "b\c" $d #e"#), r#""a \"b\\c\" $$d #e""#);
    }

    #[test]
    fn xml_is_character_data() {
        assert_eq!(xml("<a & 'b'>"), "&lt;a &amp; 'b'&gt;");
    }
}

//! Whatever tokens a user writes: no panic, and each error points at one of them.

use proc_macro2::TokenStream;
use proptest::prelude::*;

use crate::{args, expand};

const NAMES: &str = "configure privileged_init init main_loop defer_ready name pidfile user group groups chroot \
                     working_directory umask keep_env stdout stderr capabilities no_new_privs start_timeout mode cli \
                     crate pidfiel timeout r#name self type async";

const VALUES: &str = r##""/run/x.pid" "relative" "" "\0" "nobody" "CAP_KILL" "CAP_SETUID" "30s" "99999999999m" "-1s"
    "auto" "detach" "LC_*" "A=B" "é" b"/x" c"/x" r#"/x"# 0 0o022 0o1777 0x1ff -1 1.5 4294967295 4294967296
    99999999999999999999 1u8 1_000 'a' true false bind Self::bind ::a::b <T as U>::f f::<A,B> |x|x {f} (1,2) [1]
    ["adm",5] ["CAP_KILL","CAP_KILL"] ["CAP_X"] [] &X *x if x.y() f(a)? move const unsafe loop"##;

const PIECES: &str = r#"= == => , , ; : :: . .. ... < > >> << - -> + * & && | || ! ? # $ @ ~ ^ % / _ 'a fn main
    pub(crate) async const unsafe extern "C" impl dyn where mut ref crate self #[x] #![x] #[doc="x"] #[tokio::main] T
    i32 io::Result<()> () {} [] Ready state:S (a,b):(A,B) return"#;

fn words(words: &'static str) -> impl Strategy<Value = String> {
    prop::sample::select(words.split_whitespace().collect::<Vec<_>>()).prop_map(str::to_owned)
}

fn joined(word: impl Strategy<Value = String>, most: usize) -> impl Strategy<Value = String> {
    prop::collection::vec(word, 0..most).prop_map(|words| words.join(" "))
}

/// Tokens in any order, groups in groups.
fn soup() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![2 => words(NAMES), 2 => words(VALUES), 3 => words(PIECES)];
    let nested = leaf.prop_recursive(3, 20, 6, |inner| {
        (joined(inner, 6), prop::sample::select(vec!["()", "[]", "{}"]))
            .prop_map(|(inner, ends)| format!("{}{inner}{}", &ends[..1], &ends[1..]))
    });
    joined(nested, 12)
}

/// Arguments that are nearly right.
fn arguments() -> impl Strategy<Value = String> {
    let value = prop_oneof![6 => words(VALUES), 1 => soup()];
    let argument = prop_oneof![
        8 => (words(NAMES), value).prop_map(|(name, value)| format!("{name} = {value}")),
        2 => words(NAMES),
        1 => soup(),
    ];
    prop::collection::vec(argument, 0..6).prop_map(|arguments| arguments.join(", "))
}

/// A function that is nearly right.
fn function() -> impl Strategy<Value = String> {
    (joined(words(PIECES), 3), joined(words(PIECES), 4), soup(), joined(words(PIECES), 4)).prop_map(
        |(before, generics, parameters, output)| {
            format!("{before} fn main <{generics}> ({parameters}) -> {output} {{ body() }}")
        },
    )
}

/// What the lexer takes for tokens.
fn tokens(text: &str) -> Result<TokenStream, TestCaseError> {
    text.parse().map_err(|_| TestCaseError::reject("no tokens"))
}

/// Each error points at something that the user wrote.
fn assert_located(arguments: &str) -> Result<(), TestCaseError> {
    let mut faults = Vec::new();
    args::parse(tokens(arguments)?, &mut faults);
    for fault in &faults {
        prop_assert!(!fault.span().byte_range().is_empty(), "nowhere: {fault}: {arguments}");
        prop_assert!(!fault.to_string().is_empty());
    }
    let expansion = expand::daemon(tokens(arguments)?, &tokens("fn main() {}")?).to_string();
    prop_assert!(faults.is_empty() || expansion.contains("compile_error"), "no error: {arguments}");
    // The function is kept, so that the editor keeps working in it.
    prop_assert!(expansion.contains("fn main ()"), "no function: {arguments}");
    Ok(())
}

proptest! {
    #[test]
    fn arguments_that_are_nearly_right(arguments in arguments()) {
        assert_located(&arguments)?;
    }

    #[test]
    fn arguments_of_any_tokens(arguments in soup()) {
        assert_located(&arguments)?;
    }

    #[test]
    fn any_function(arguments in arguments(), function in prop_oneof![2 => function(), 1 => soup()]) {
        let function = tokens(&function)?;
        let expansion = expand::daemon(tokens(&arguments)?, &function).to_string();
        prop_assert!(expansion.contains("compile_error") || expansion.contains("__daemon . run"), "{expansion}");
    }
}

/// The corpus: one for each way in which it could go wrong.
#[test]
fn corpus() {
    for arguments in [
        ",",
        ",,",
        "=",
        "= =",
        "pidfile =",
        "pidfile = ,",
        "= \"/x\"",
        "pidfile = = \"/x\"",
        "pidfile(\"/x\")",
        "umask = -",
        "umask = - -1",
        "umask = 0o",
        "groups = [,]",
        "groups = [",
        "start_timeout = \"\"",
        "start_timeout = \"1é\"",
        "start_timeout = \"s\"",
        "start_timeout = \"18446744073709551616s\"",
        "capabilities = [[\"CAP_KILL\"]]",
        "crate",
        "crate = ",
        "crate = <",
        "init = <",
        "init = >",
        "init = a < b, c",
        "init = |",
        "main_loop = f, main_loop = f",
        "r#pidfile = \"/x\"",
        "keep_env = [\"*\", \"**\", \"\"]",
        "\"\"",
        "{}",
    ] {
        if arguments.parse::<TokenStream>().is_ok() {
            assert_located(arguments).expect(arguments);
        }
    }
}

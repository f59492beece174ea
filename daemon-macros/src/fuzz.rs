//! Fuzzing: no tokens make the attribute panic, and each error points at one of them.

use std::fs;
use std::path::Path;

use proc_macro2::{TokenStream, TokenTree};
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::{args, expand};

/// Seeds, see `corpus/README.md`.
const ARGUMENTS: &str = "arguments.txt";
const FUNCTIONS: &str = "functions.txt";

/// Words that look like the name of an argument.
const OTHER_NAMES: &str = "pidfiel timeout r#name self type async";

const VALUES: &str = r##""/run/x.pid" "relative" "" "\0" "nobody" "CAP_KILL" "CAP_SETUID" "30s" "99999999999m" "-1s"
    "auto" "detach" "LC_*" "A=B" "é" b"/x" c"/x" r#"/x"# 0 0o022 0o1777 0x1ff -1 1.5 4294967295 4294967296
    99999999999999999999 1u8 1_000 'a' true false bind Self::bind ::a::b <T as U>::f f::<A,B> |x|x {f} (1,2) [1]
    ["adm",5] ["CAP_KILL","CAP_KILL"] ["CAP_X"] [] &X *x if x.y() f(a)? move const unsafe loop"##;

const PIECES: &str = r#"= == => , , ; : :: . .. ... < > >> << - -> + * & && | || ! ? # $ @ ~ ^ % / _ 'a fn main
    pub(crate) async const unsafe extern "C" impl dyn where mut ref crate self #[x] #![x] #[doc="x"] #[tokio::main] T
    i32 io::Result<()> () {} [] Ready state:S (a,b):(A,B) return"#;

/// The name of an argument, or nearly.
fn name() -> impl Strategy<Value = String> {
    let mut names: Vec<&str> = args::KNOWN.iter().map(|known| known.name).collect();
    names.extend(OTHER_NAMES.split_whitespace());
    select(names).prop_map(str::to_owned)
}

fn words(words: &'static str) -> impl Strategy<Value = String> {
    select(words.split_whitespace().collect::<Vec<_>>()).prop_map(str::to_owned)
}

fn joined(word: impl Strategy<Value = String>, most: usize) -> impl Strategy<Value = String> {
    prop::collection::vec(word, 0..most).prop_map(|words| words.join(" "))
}

/// Tokens in any order, in nested groups.
fn soup() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![2 => name(), 2 => words(VALUES), 3 => words(PIECES)];
    let nested = leaf.prop_recursive(3, 20, 6, |inner| {
        (joined(inner, 6), select(vec!["()", "[]", "{}"]))
            .prop_map(|(inner, ends)| format!("{}{inner}{}", &ends[..1], &ends[1..]))
    });
    joined(nested, 12)
}

/// Arguments that are nearly right.
fn arguments() -> impl Strategy<Value = String> {
    let value = prop_oneof![6 => words(VALUES), 1 => soup()];
    let argument = prop_oneof![
        8 => (name(), value).prop_map(|(name, value)| format!("{name} = {value}")),
        2 => name(),
        1 => soup(),
    ];
    prop::collection::vec(argument, 0..6).prop_map(|arguments| arguments.join(", "))
}

/// A function that is nearly right.
fn function() -> impl Strategy<Value = String> {
    (
        joined(words(PIECES), 3),
        joined(words(PIECES), 4),
        soup(),
        joined(words(PIECES), 4),
    )
        .prop_map(|(before, generics, parameters, output)| {
            format!("{before} fn main <{generics}> ({parameters}) -> {output} {{ body() }}")
        })
}

/// The inputs of a file. A package of the crate is without the files.
fn corpus(file: &str) -> Vec<String> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    if !directory.exists() {
        return vec![String::new()];
    }
    let text = fs::read_to_string(directory.join(file)).expect(file);
    let inputs = text.lines().filter(|line| !line.starts_with("// "));
    inputs.map(str::to_owned).collect()
}

/// One of the inputs with some tokens removed, doubled, exchanged, or taken from another.
fn changed(file: &str) -> impl Strategy<Value = TokenStream> + use<> {
    let trees = |line: &String| {
        line.parse::<TokenStream>()
            .expect("tokens")
            .into_iter()
            .collect::<Vec<_>>()
    };
    let inputs: Vec<Vec<TokenTree>> = corpus(file).iter().map(trees).collect();
    let number = inputs.len();
    let change = (0..4_u8, any::<Index>(), any::<Index>(), 0..number);
    (0..number, prop::collection::vec(change, 1..4)).prop_map(move |(input, changes)| {
        let mut tokens = inputs[input].clone();
        for (kind, at, from, other) in changes {
            let other = if kind == 0 { &inputs[other] } else { &tokens };
            let copied = match other.len() {
                0 => None,
                length => Some(other[from.index(length)].clone()),
            };
            let at = at.index(tokens.len() + 1);
            match (kind, copied) {
                (0 | 1, Some(token)) => tokens.insert(at, token),
                (2, Some(token)) if at < tokens.len() => tokens[at] = token,
                (3, _) if at < tokens.len() => drop(tokens.remove(at)),
                _ => {}
            }
        }
        tokens.into_iter().collect()
    })
}

/// Reads a text, if the lexer accepts it.
fn tokens(text: &str) -> Result<TokenStream, TestCaseError> {
    text.parse().map_err(|_| TestCaseError::reject("no tokens"))
}

/// Checks that each error in the arguments points at something that the user wrote.
fn check_arguments(arguments: &TokenStream) -> Result<(), TestCaseError> {
    let mut faults = Vec::new();
    args::parse(arguments.clone(), &mut faults);
    for fault in &faults {
        prop_assert!(
            fault
                .span()
                .source_text()
                .is_some_and(|text| !text.is_empty()),
            "nowhere: {fault}: {arguments}"
        );
        prop_assert!(!fault.to_string().is_empty());
    }
    let expansion = expand::daemon(arguments.clone(), &tokens("fn main() {}")?).to_string();
    prop_assert!(
        faults.is_empty() || expansion.contains("compile_error"),
        "no error: {arguments}"
    );
    // The function is kept, so that the editor keeps working in it.
    prop_assert!(expansion.contains("fn main ()"), "no function: {arguments}");
    Ok(())
}

/// Checks that there is an expansion or an error, and that each error points at something that the
/// user wrote.
fn check(arguments: &TokenStream, function: &TokenStream) -> Result<(), TestCaseError> {
    let expansion = expand::daemon(arguments.clone(), function);
    let mut errors = Vec::new();
    find_errors(expansion.clone(), &mut errors);
    let text = expansion.to_string();
    prop_assert!(
        !errors.is_empty()
            || text.contains("__daemon . run_in")
            || text.contains("__daemon . serve"),
        "{text}"
    );
    // The compiler calls it with an item, never with nothing.
    if !function.is_empty() {
        for error in errors {
            prop_assert!(
                error.is_some_and(|text| !text.is_empty()),
                "nowhere: {text}: {arguments}: {function}"
            );
        }
    }
    Ok(())
}

/// Finds where each `compile_error!` of the expansion points: name and message.
fn find_errors(expansion: TokenStream, found: &mut Vec<Option<String>>) {
    let tokens: Vec<TokenTree> = expansion.into_iter().collect();
    for (at, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Ident(name) if name == "compile_error" => {
                let message = tokens.get(at + 2).unwrap_or(token);
                found.extend([name.span(), message.span()].map(|span| span.source_text()));
            }
            TokenTree::Group(group) => find_errors(group.stream(), found),
            _ => {}
        }
    }
}

proptest! {
    #[test]
    fn arguments_that_are_nearly_right(arguments in arguments()) {
        check_arguments(&tokens(&arguments)?)?;
    }

    #[test]
    fn arguments_of_any_tokens(arguments in soup()) {
        check_arguments(&tokens(&arguments)?)?;
    }

    #[test]
    fn any_function(arguments in arguments(), function in prop_oneof![2 => function(), 1 => soup()]) {
        check(&tokens(&arguments)?, &tokens(&function)?)?;
    }

    #[test]
    fn what_is_nearly_of_the_corpus(arguments in changed(ARGUMENTS), function in changed(FUNCTIONS)) {
        check_arguments(&arguments)?;
        check(&arguments, &function)?;
    }

    #[test]
    fn a_function_that_is_nearly_of_the_corpus_with_arguments_of_it(
        arguments in select(corpus(ARGUMENTS)),
        function in changed(FUNCTIONS),
    ) {
        check(&tokens(&arguments)?, &function)?;
    }
}

#[test]
fn the_corpus() {
    for arguments in corpus(ARGUMENTS).into_iter().chain([String::new()]) {
        let arguments = tokens(&arguments).expect(&arguments);
        check_arguments(&arguments).expect("arguments of the corpus");
        for function in corpus(FUNCTIONS) {
            check(&arguments, &tokens(&function).expect(&function)).expect(&function);
        }
    }
}

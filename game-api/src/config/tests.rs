use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};

use super::*;

const KEY: &str = "k:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

fn env(more: &[(&str, &str)]) -> HashMap<String, String> {
    let needed = [
        ("DATABASE_URL", "postgres://fogline@127.0.0.1/fogline"),
        ("NATS_URL", "nats://127.0.0.1:4222"),
        ("FOGLINE_KEYS", KEY),
    ];
    let all = needed.iter().chain(more);
    all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn refusal(name: &str, value: &str) -> String {
    Config::from_env(&env(&[(name, value)]))
        .unwrap_err()
        .to_string()
}

#[test]
fn three_variables_are_enough() {
    let config = Config::from_env(&env(&[])).unwrap();
    assert_eq!(config.listen.public.to_string(), "127.0.0.1:8080");
    assert_eq!(config.origins, AllowedOrigins::Own);
    assert_eq!(config.limits.commands.per_s.get(), 20);
    assert_eq!(config.limits.commands.burst.get(), 40);
}

#[test]
fn a_bad_value_is_a_sentence_with_the_name_and_without_the_secret() {
    let cases = [
        ("DATABASE_URL", "mysql:secret@x", "is not a Postgres URL"),
        (
            "NATS_URL",
            "http://secret@x:y",
            "is not a list of NATS URLs",
        ),
        // Neither of the two connections speaks it.
        (
            "NATS_URL",
            "nats://a,ws://secret@x",
            "is not a list of NATS URLs",
        ),
        ("LISTEN_ADDR", "here", "cannot use \"here\""),
        ("ACCESS_TOKEN_TTL_S", "1", "from 60 to 86400"),
        ("RATE_COMMANDS_PER_S", "0", "from 1 to 100000"),
        ("ALLOWED_ORIGINS", "*", "is not an origin"),
        ("ALLOWED_ORIGINS", "https://a.example/", "is not an origin"),
        (
            "TRACE_TRUSTED",
            "10.0.0.0/33",
            "neither an address nor a network",
        ),
        ("INSTANCE", "a b", "must be 1 to 48"),
    ];
    for (name, value, expected) in cases {
        let sentence = refusal(name, value);
        assert!(sentence.starts_with(name), "{sentence}");
        assert!(sentence.contains(expected), "{sentence}");
        assert!(!sentence.contains("secret"), "{sentence}");
    }
}

#[test]
fn networks_and_addresses_are_trusted_also_over_ipv6() {
    let config = Config::from_env(&env(&[("TRACE_TRUSTED", "10.0.0.0/8, ::1")])).unwrap();
    for (address, trusted) in [
        ("10.1.2.3", true),
        ("::ffff:10.1.2.3", true),
        ("::1", true),
        ("11.0.0.1", false),
        ("127.0.0.1", false),
    ] {
        assert_eq!(
            config.trace_trusted.contain(address.parse().unwrap()),
            trusted,
            "{address}"
        );
    }
}

/// Notes what is asked for.
struct Asked(HashMap<String, String>, RefCell<BTreeSet<String>>);

impl Env for Asked {
    fn get(&self, name: &str) -> Option<String> {
        self.1.borrow_mut().insert(name.to_owned());
        Env::get(&self.0, name)
    }
}

#[test]
fn help_lists_exactly_what_is_read() {
    let asked = Asked(env(&[]), RefCell::default());
    Config::from_env(&asked).unwrap();
    let listed = VARIABLES.map(|variable| variable.name.to_owned());
    assert_eq!(*asked.1.borrow(), BTreeSet::from(listed));
}

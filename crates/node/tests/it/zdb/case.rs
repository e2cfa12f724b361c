//! Reading `tests/zdb/*.case`; the first file there explains how they are written.

use super::value::{Expected, Value};

/// One case.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) file: String,
    pub(crate) name: String,
    /// settings of the server: `admin=root`
    pub(crate) with: Vec<(String, String)>,
    pub(crate) steps: Vec<(usize, Step)>,
}

#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// a request of these arguments on a connection
    Send(u32, Vec<Argument>),
    /// these bytes
    Raw(u32, Vec<u8>),
    /// the same, byte by byte
    Slowly(u32, Vec<u8>),
    Expect(u32, Expected),
    /// a request, until its reply is this
    Until(u32, Vec<Argument>, Expected),
    /// the server closes the connection
    Closed(u32),
    /// this side sends no more
    HalfClose(u32),
    Restart,
    /// the server stops by itself
    Stopped,
}

#[derive(Clone, Debug)]
pub(crate) enum Argument {
    Is(Vec<u8>),
    Kept(String),
    /// SHA-1 of a kept nonce, a colon and a password
    Proof(String, String),
}

pub(crate) fn read(file: &str, text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let mut again = None;
    for (nth, line) in text.lines().enumerate() {
        let nth = nth + 1;
        let line = line.trim();
        let fail = |what: &str| -> ! { panic!("{file}:{nth}: {what}: {line}") };
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_prefix("== ") {
            let (file, name) = (file.to_owned(), name.to_owned());
            cases.push(Case { file, name, with: Vec::new(), steps: Vec::new() });
            continue;
        }
        let Some(case) = cases.last_mut() else { fail("a case begins with ==") };
        if let Some(settings) = line.strip_prefix("with ") {
            for setting in settings.split_whitespace() {
                let Some((key, value)) = setting.split_once('=') else { fail("key=value") };
                case.with.push((key.to_owned(), value.to_owned()));
            }
            continue;
        }
        let (on, rest) = match line.strip_prefix('@') {
            None => (1, line),
            Some(rest) => match rest.split_once(' ') {
                Some((digits, rest)) => (digits.parse().unwrap(), rest),
                None => fail("@N and a step"),
            },
        };
        let step = if rest == "restart" {
            Step::Restart
        } else if rest == "stopped" {
            Step::Stopped
        } else if rest == "closed" {
            Step::Closed(on)
        } else if rest == "half-close" {
            Step::HalfClose(on)
        } else if let Some(rest) = rest.strip_prefix(">> ") {
            Step::Raw(on, Reader::new(rest).bytes_to_end())
        } else if let Some(rest) = rest.strip_prefix(">. ") {
            Step::Slowly(on, Reader::new(rest).bytes_to_end())
        } else if let Some(rest) = rest.strip_prefix(">~ ") {
            again = Some(Reader::new(rest).arguments());
            continue;
        } else if let Some(rest) = rest.strip_prefix("> ") {
            Step::Send(on, Reader::new(rest).arguments())
        } else if let Some(rest) = rest.strip_prefix("< ") {
            let expected = Reader::new(rest).expected();
            match again.take() {
                Some(arguments) => Step::Until(on, arguments, expected),
                None => Step::Expect(on, expected),
            }
        } else {
            fail("what is this");
        };
        case.steps.push((nth, step));
    }
    cases
}

struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn new(rest: &'a str) -> Self {
        Self { rest: rest.trim() }
    }

    fn skip(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn word(&mut self) -> &'a str {
        let end = self.rest.find([' ', ']']).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    /// `"text"`, with escapes, and perhaps `*count` behind it.
    fn quoted(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut chars = self.rest[1..].char_indices();
        let end = loop {
            let (at, c) = chars.next().expect("a closing quote");
            match c {
                '"' => break at + 2,
                '\\' => match chars.next().expect("an escape").1 {
                    'r' => out.push(b'\r'),
                    'n' => out.push(b'\n'),
                    '0' => out.push(0),
                    'x' => {
                        let hex: String = chars.by_ref().take(2).map(|(_, c)| c).collect();
                        out.push(u8::from_str_radix(&hex, 16).unwrap());
                    }
                    other => out.extend(other.to_string().bytes()),
                },
                other => out.extend(other.to_string().bytes()),
            }
        };
        self.rest = &self.rest[end..];
        if let Some(rest) = self.rest.strip_prefix('*') {
            self.rest = rest;
            let count: usize = self.word().parse().unwrap();
            out = out.repeat(count);
        }
        out
    }

    fn bytes_to_end(mut self) -> Vec<u8> {
        let mut out = Vec::new();
        while !self.rest.is_empty() {
            out.extend(self.quoted());
            self.skip();
        }
        out
    }

    fn arguments(mut self) -> Vec<Argument> {
        let mut out = Vec::new();
        while !self.rest.is_empty() {
            if self.rest.starts_with('"') {
                out.push(Argument::Is(self.quoted()));
            } else {
                let word = self.word();
                let proof = word.strip_prefix("sha1($").and_then(|rest| rest.strip_suffix(')'));
                out.push(match (word.strip_prefix('$'), proof) {
                    (_, Some(proof)) => {
                        let (nonce, password) = proof.split_once(':').unwrap();
                        Argument::Proof(nonce.to_owned(), password.to_owned())
                    }
                    (Some(name), None) => Argument::Kept(name.to_owned()),
                    (None, None) => Argument::Is(word.into()),
                });
            }
            self.skip();
        }
        out
    }

    fn expected(&mut self) -> Expected {
        match self.rest.as_bytes()[0] {
            b'"' => Expected::Is(Value::Bulk(self.quoted())),
            b'~' => {
                self.rest = &self.rest[1..];
                Expected::Contains(self.quoted())
            }
            b'+' => Expected::Is(Value::Simple(self.take_rest()[1..].to_vec())),
            b'-' => match self.take_rest() {
                b"-*" => Expected::AnyError,
                text => match text.strip_suffix(b"*") {
                    Some(start) => Expected::ErrorFrom(start[1..].to_vec()),
                    None => Expected::Is(Value::Error(text[1..].to_vec())),
                },
            },
            b':' => match &self.word()[1..] {
                "*" => Expected::AnyInteger,
                digits => Expected::Is(Value::Integer(digits.parse().unwrap())),
            },
            b'=' => Expected::Keep(self.word()[1..].to_owned()),
            b'$' => match &self.word()[1..] {
                "*" => Expected::AnyBulk,
                name => Expected::Kept(name.to_owned()),
            },
            b'*' => {
                self.word();
                Expected::Anything
            }
            b'[' => {
                self.rest = &self.rest[1..];
                let mut all = Vec::new();
                loop {
                    self.skip();
                    if let Some(rest) = self.rest.strip_prefix(']') {
                        self.rest = rest;
                        return Expected::Array(all);
                    }
                    all.push(self.expected());
                }
            }
            _ => match self.word() {
                "nil" => Expected::Is(Value::Nil),
                other => panic!("no reply: {other}"),
            },
        }
    }

    fn take_rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest).as_bytes()
    }
}

//! The exchange of a load, as the user describes it, and as a load thread carries it out.

use std::{path::PathBuf, sync::Arc};

use crate::protocol::{
    self, AnyProtocol, Framing, Protocol, ProtocolVisitor,
    echo::Echo,
    exchange::{Exchange, Visitor},
    expect::Expect,
    framed::{Framed, FramedRules},
    message::{Messages, SIZE_MAX},
    mix::{self, MessageArg, Mix, MixError, Source},
    recorded::{Order, Recorded},
    requests::Requests,
    template::{Template, TemplateError},
};

/// What is sent, and what is expected, as the user describes it.
#[derive(Clone, Debug)]
pub(crate) struct DialogueRequest {
    /// The name of the protocol.
    pub protocol: &'static str,
    /// The settings of the protocol.
    pub framing: Framing,
    /// What is sent.
    pub content: Content,
    /// The expected reply. None: the protocol's own.
    pub expect: Option<Expect>,
    /// The longest reply in bytes, at least 1.
    pub reply_bytes_max: u64,
}

/// What is sent.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// Numbered messages of this size in bytes. Only an echo answers them.
    Numbered(u64),
    /// Messages, at least one.
    Messages(Vec<Message>),
    /// The requests of this file.
    Recorded(PathBuf, Recorded, Order),
}

/// A message, as the user describes it.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    /// The value of `--message`.
    pub arg: MessageArg,
    /// The bytes of its file, if it has one.
    pub file: Option<Vec<u8>>,
}

/// The requests and the check of replies of a load.
#[derive(Clone, Debug)]
pub(crate) struct Dialogue {
    /// The name of the protocol.
    pub protocol: &'static str,
    /// The messages as the user wrote them. Empty for numbered messages, and for those of a file with requests.
    pub messages: Vec<String>,
    /// The file with requests.
    pub file: Option<PathBuf>,
    /// The names of the kinds of requests, at least one.
    pub kinds: Vec<String>,
    /// The expected reply.
    pub expect: Expect,
    spoken: Spoken,
}

#[derive(Clone, Debug)]
enum Spoken {
    /// An echo of messages of one length: the shortest path.
    Echo(Messages),
    Framed(AnyProtocol, Arc<FramedRules>),
}

/// Why a dialogue cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DialogueError {
    /// A protocol other than the echo has no numbered messages.
    #[error("--protocol {0} needs a request: add --message, as in --message '{1}', or --messages FILE")]
    NoMessage(&'static str, &'static str),
    /// A message is too large.
    #[error("{flag} {given} is too large: the maximum is {SIZE_MAX}")]
    TooLarge {
        /// The flag.
        flag: &'static str,
        /// The given size.
        given: u64,
    },
    /// A setting of the protocol is wrong, or belongs to another one.
    #[error("{0}")]
    Framing(String),
    /// A numbered message is compared with its reply.
    #[error("--expect {0} needs a request: add --message TEXT, or use --expect upper, echo or none")]
    NumberedExpect(String),
    /// The file of a message has no bytes.
    #[error("--message @{} is empty: a message needs at least one byte", .0.display())]
    EmptyFile(PathBuf),
    /// A message is wrong.
    #[error("--message '{text}': {error}")]
    Template {
        /// The message.
        text: String,
        /// What is wrong.
        error: TemplateError,
    },
    /// A request is none of the protocol.
    #[error("{flag}: {problem}")]
    Request {
        /// The flag.
        flag: String,
        /// What is wrong, and what to write.
        problem: String,
    },
    /// The messages do not fit together.
    #[error("--message: {0}")]
    Mix(#[from] MixError),
    /// The expectation belongs to another protocol.
    #[error("--expect {expect} does not fit --protocol {protocol}: its replies have no {lacks}")]
    Expect {
        /// The expectation.
        expect: String,
        /// The protocol.
        protocol: &'static str,
        /// What it lacks.
        lacks: &'static str,
    },
}

impl Dialogue {
    /// The dialogue of a load.
    ///
    /// # Errors
    /// When the description makes no sense; the error says what to change.
    pub(crate) fn new(request: DialogueRequest) -> Result<Self, DialogueError> {
        let row = protocol::row(request.protocol);
        let framer = row.make(&request.framing).map_err(DialogueError::Framing)?;
        let expect = match request.expect {
            Some(expect) => expect,
            None => row.expect.parse().expect("the table has valid expectations"),
        };
        check_expect(&expect, row.name)?;
        if let Some(size) = request.framing.reply_size.filter(|size| *size > request.reply_bytes_max) {
            let most = request.reply_bytes_max;
            return Err(DialogueError::Framing(format!(
                "--reply-size {size} is more than --max-reply {most}: raise --max-reply, or lower --reply-size"
            )));
        }
        let rules = |requests| {
            let reply_bytes_max = usize::try_from(request.reply_bytes_max).unwrap_or(usize::MAX);
            Arc::new(FramedRules { requests, expect: expect.clone(), reply_bytes_max })
        };
        let (mut messages, mut file) = (Vec::new(), None);
        let (kinds, spoken) = match request.content {
            Content::Numbered(size) if row.name == Echo::NAME && is_compared(&expect) => {
                let size = message_size("--size", size)?;
                (vec!["message".to_owned()], Spoken::Echo(Messages::numbered(size, &expect)))
            }
            Content::Numbered(_) if row.name == Echo::NAME => {
                return Err(DialogueError::NumberedExpect(expect.to_string()));
            }
            Content::Numbered(_) => return Err(DialogueError::NoMessage(row.name, row.example)),
            Content::Messages(given) => {
                let args: Vec<_> = given.iter().map(|message| message.arg.clone()).collect();
                messages = args.iter().map(ToString::to_string).collect();
                let kinds = mix::name_kinds(&args)?;
                let texts = given.iter().map(template).collect::<Result<Vec<_>, _>>()?;
                let spoken = match texts.as_slice() {
                    [text]
                        if row.name == Echo::NAME && is_compared(&expect) && text.as_literal().is_some() =>
                    {
                        let bytes = text.as_literal().unwrap_or_default();
                        message_size("--message's size", bytes.len() as u64)?;
                        Spoken::Echo(Messages::fixed(bytes, &expect))
                    }
                    texts => {
                        let weights: Vec<_> = args.iter().map(|arg| arg.weight).collect();
                        let make = FromTexts { texts, mix: Mix::new(&weights)? };
                        let requests = framer.accept(make).map_err(|(index, problem)| {
                            let flag = format!("--message '{}'", messages[index]);
                            DialogueError::Request { flag, problem }
                        })?;
                        Spoken::Framed(framer, rules(requests))
                    }
                };
                (kinds, spoken)
            }
            Content::Recorded(path, recorded, order) => {
                let kinds = recorded.kinds.clone();
                let flag = format!("--messages {}", path.display());
                let requests = framer
                    .accept(FromFile { recorded, order })
                    .map_err(|problem| DialogueError::Request { flag, problem })?;
                file = Some(path);
                (kinds, Spoken::Framed(framer, rules(requests)))
            }
        };
        Ok(Self { protocol: row.name, messages, file, kinds, expect, spoken })
    }

    /// Calls the visitor with the exchange of one load thread, in a run with this seed and this number of clients.
    pub(crate) fn accept<V: Visitor>(&self, seed: u64, clients: u32, visitor: V) -> V::Output {
        match &self.spoken {
            Spoken::Echo(messages) => visitor.visit(messages.clone()),
            Spoken::Framed(protocol, rules) => {
                protocol.accept(WithRules { visitor, rules: Arc::clone(rules), seed, clients })
            }
        }
    }

    /// The length of the first request of the first client in bytes.
    pub(crate) fn size(&self, seed: u64, clients: u32) -> usize {
        struct Size;

        impl Visitor for Size {
            type Output = usize;

            fn visit<X: Exchange>(self, mut exchange: X) -> usize {
                exchange.request(0, 0).len()
            }
        }
        self.accept(seed, clients, Size)
    }

    /// The same dialogue with an echo in upper case. None if the requests are not those of an echo.
    pub(crate) fn with_upper_echo(&self) -> Option<Self> {
        let spoken = match &self.spoken {
            Spoken::Echo(messages) => Spoken::Echo(messages.expecting(&Expect::Upper)),
            Spoken::Framed(AnyProtocol::Echo(echo), rules) => {
                let rules = FramedRules { expect: Expect::Upper, ..FramedRules::clone(rules) };
                Spoken::Framed(AnyProtocol::Echo(echo.clone()), Arc::new(rules))
            }
            Spoken::Framed(..) => return None,
        };
        Some(Self { expect: Expect::Upper, spoken, ..self.clone() })
    }
}

/// An echo's own messages are compared as a whole.
fn is_compared(expect: &Expect) -> bool {
    matches!(expect, Expect::Upper | Expect::Echo | Expect::None)
}

fn check_expect(expect: &Expect, protocol: &'static str) -> Result<(), DialogueError> {
    let lacks = match expect {
        Expect::Status(_) if protocol != "http" => "status",
        Expect::NoError if !matches!(protocol, "resp" | "memcached") => "error replies",
        Expect::Upper | Expect::Echo if matches!(protocol, "resp" | "memcached" | "http") => "echo",
        _ => return Ok(()),
    };
    Err(DialogueError::Expect { expect: expect.to_string(), protocol, lacks })
}

fn message_size(flag: &'static str, given: u64) -> Result<usize, DialogueError> {
    if given > SIZE_MAX as u64 { Err(DialogueError::TooLarge { flag, given }) } else { Ok(given as usize) }
}

fn template(message: &Message) -> Result<Template, DialogueError> {
    match (&message.file, &message.arg.source) {
        (Some(bytes), Source::File(path)) if bytes.is_empty() => Err(DialogueError::EmptyFile(path.clone())),
        (Some(bytes), _) => {
            message_size("--message's size", bytes.len() as u64)?;
            Ok(Template::literal(&bytes[..]))
        }
        (None, Source::Text(text)) => {
            Template::parse(text).map_err(|error| DialogueError::Template { text: text.clone(), error })
        }
        (None, Source::File(path)) => unreachable!("{} was read before", path.display()),
    }
}

/// Makes requests from texts. The error has the index of the text.
struct FromTexts<'a> {
    texts: &'a [Template],
    mix: Mix,
}

impl ProtocolVisitor for FromTexts<'_> {
    type Output = Result<Requests, (usize, String)>;

    fn visit<P: Protocol>(self, protocol: P) -> Self::Output {
        Requests::from_texts(&protocol, self.texts, self.mix)
    }
}

/// Makes requests from a file.
struct FromFile {
    recorded: Recorded,
    order: Order,
}

impl ProtocolVisitor for FromFile {
    type Output = Result<Requests, String>;

    fn visit<P: Protocol>(self, protocol: P) -> Self::Output {
        Requests::from_file(&protocol, self.recorded, self.order)
    }
}

/// Adds the requests and the expectation to a protocol.
struct WithRules<V> {
    visitor: V,
    rules: Arc<FramedRules>,
    seed: u64,
    clients: u32,
}

impl<V: Visitor> ProtocolVisitor for WithRules<V> {
    type Output = V::Output;

    fn visit<P: Protocol>(self, protocol: P) -> V::Output {
        self.visitor.visit(Framed::new(protocol, self.rules, self.seed, self.clients))
    }
}

//! The arguments that describe requests and replies.

use std::{
    fs::File,
    io::{BufReader, Read},
    path::{Path, PathBuf},
    str::FromStr,
};

use clap::{
    Parser,
    builder::{PossibleValue, PossibleValuesParser, TypedValueParser},
};
use common::{Address, units::parse_positive_count};

use crate::{
    load::{plan::Against, request::PlanError},
    protocol::{
        Framing, PROTOCOLS, Protocol,
        dialogue::{Content, DialogueRequest, Message},
        echo::Echo,
        expect::Expect,
        message::SIZE_MAX,
        mix::{MessageArg, Source},
        recorded::{Order, Recorded},
    },
};

/// The requests and replies.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct DialogueArgs {
    /// Protocol of the server
    #[arg(long, help_heading = "Messages", value_parser = protocol_parser(), value_name = "NAME",
          default_value = Echo::NAME)]
    protocol: &'static str,
    /// Size of a numbered message in bytes, without --message and --messages
    #[arg(short, long, help_heading = "Messages", value_name = "N", default_value = "64",
          value_parser = parse_positive_count)]
    size: u64,
    /// Request to send: TEXT, or @FILE for the bytes of a file. May be repeated, with a weight and a name for the report, as in
    /// 3:TEXT or 3/name:TEXT. Fields of a text are {client}, {request}, {random:1..1000}, {zipf:1..100k:0.99}, {fill:64} and
    /// {uuid}; escapes are \n, \r, \t, \0, \xHH and \\
    #[arg(long, help_heading = "Messages", value_name = "TEXT", conflicts_with = "size")]
    message: Vec<MessageArg>,
    /// Send the requests of this file, one in each line; or of JSON lines with "message" or "base64", and "kind"
    #[arg(long, help_heading = "Messages", value_name = "FILE", conflicts_with_all = ["size", "message"])]
    messages: Option<PathBuf>,
    /// Order of the requests of --messages
    #[arg(
        long,
        help_heading = "Messages",
        value_enum,
        value_name = "ORDER",
        requires = "messages",
        default_value = "in-order"
    )]
    messages_order: MessagesOrder,
    /// Expected reply: upper, echo, none, no-error, prefix:TEXT, equals:TEXT, regex:EXPRESSION, or an HTTP status such as 2xx or
    /// 204 [default: depends on --protocol]
    #[arg(long, help_heading = "Messages", value_name = "WHAT")]
    expect: Option<Expect>,
    /// Longest reply in bytes, in protocols other than echo
    #[arg(long, help_heading = "Messages", value_name = "N", default_value = "64m",
          value_parser = parse_positive_count)]
    max_reply: u64,
    /// The settings of protocols.
    #[command(flatten)]
    framing: FramingArgs,
}

/// The settings of protocols.
#[derive(Clone, Debug, clap::Args)]
struct FramingArgs {
    /// End of requests and replies, with escapes (line) [default: \n]
    #[arg(long, help_heading = "Protocol settings", value_name = "TEXT")]
    delimiter: Option<String>,
    /// Size of each reply in bytes (fixed)
    #[arg(long, help_heading = "Protocol settings", value_name = "N", value_parser = parse_positive_count)]
    reply_size: Option<u64>,
    /// Bytes of the length field, from 1 to 8 (length) [default: 4]
    #[arg(long, help_heading = "Protocol settings", value_name = "N", value_parser = parse_positive_count)]
    length_field_length: Option<u64>,
    /// Bytes before the length field (length) [default: 0]
    #[arg(long, help_heading = "Protocol settings", value_name = "N", value_parser = common::units::parse_count)]
    length_field_offset: Option<u64>,
    /// What to add to the value of the length field to get the number of bytes after it (length) [default: 0]
    #[arg(long, help_heading = "Protocol settings", value_name = "N", allow_hyphen_values = true)]
    length_adjustment: Option<i64>,
    /// The length field begins with its least significant byte (length)
    #[arg(long, help_heading = "Protocol settings")]
    length_little_endian: bool,
}

/// The order of the requests of a file.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum MessagesOrder {
    /// One after the other, and again from the first
    InOrder,
    /// Each drawn from the seed
    Random,
}

/// A value of `--dialogue`: the name of a server, and the flags of its requests and replies.
#[derive(Clone, Debug)]
pub(crate) struct ServerDialogue {
    /// The name.
    pub name: String,
    args: DialogueArgs,
}

/// The flags in a value of `--dialogue`.
#[derive(Debug, clap::Parser)]
#[command(no_binary_name = true, disable_help_flag = true)]
struct DialogueFlags {
    #[command(flatten)]
    dialogue: DialogueArgs,
}

impl ServerDialogue {
    /// The dialogue as requested. `against` is the server, as far as it is known.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub(crate) fn request(&self, against: &Against) -> Result<DialogueRequest, PlanError> {
        self.args.request(against)
    }
}

impl FromStr for ServerDialogue {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, flags) = text
            .split_once('=')
            .filter(|(name, flags)| !name.trim().is_empty() && !flags.trim().is_empty())
            .ok_or("write NAME=FLAGS, as in 'redis=--protocol resp --message PING'")?;
        let words = shell_words::split(flags).map_err(
            |_| "a quote is not closed: quotes and backslashes have the same meaning as in a shell",
        )?;
        match DialogueFlags::try_parse_from(words) {
            Ok(flags) => Ok(Self { name: name.trim().to_owned(), args: flags.dialogue }),
            Err(error) => {
                let error = error.to_string();
                let first = error.lines().next().unwrap_or_default();
                let problem = first.strip_prefix("error: ").unwrap_or(first);
                Err(format!(
                    "{problem}; the flags are those under Messages and Protocol settings of 'loadgen run --help'"
                ))
            }
        }
    }
}

impl DialogueArgs {
    /// The dialogue with a server as requested.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub(crate) fn request(&self, against: &Against) -> Result<DialogueRequest, PlanError> {
        Ok(DialogueRequest {
            protocol: self.protocol,
            framing: self.framing.framing(against),
            content: self.content()?,
            expect: self.expect.clone(),
            reply_bytes_max: self.max_reply,
        })
    }

    fn content(&self) -> Result<Content, PlanError> {
        if let Some(path) = &self.messages {
            let order = match self.messages_order {
                MessagesOrder::InOrder => Order::InOrder,
                MessagesOrder::Random => Order::Drawn,
            };
            return Ok(Content::Recorded(path.clone(), read_messages(path)?, order));
        }
        if self.message.is_empty() {
            return Ok(Content::Numbered(self.size));
        }
        self.message.iter().map(message).collect::<Result<_, _>>().map(Content::Messages)
    }
}

impl FramingArgs {
    fn framing(&self, against: &Against) -> Framing {
        let host = match against {
            Against::Targets(targets) => targets.first().map_or("localhost".to_owned(), host),
            Against::OwnServer(_) => "localhost".to_owned(),
        };
        Framing {
            delimiter: self.delimiter.clone(),
            reply_size: self.reply_size,
            length_field_length: self.length_field_length,
            length_field_offset: self.length_field_offset,
            length_adjustment: self.length_adjustment,
            length_little_endian: self.length_little_endian,
            host,
        }
    }
}

/// The host that a request to this address names.
fn host(target: &Address) -> String {
    match target {
        Address::Tcp { .. } => target.to_string(),
        Address::Unix(_) => "localhost".to_owned(),
    }
}

fn message(arg: &MessageArg) -> Result<Message, PlanError> {
    let file = match &arg.source {
        Source::Text(_) => None,
        Source::File(path) => Some(read_message(path)?),
    };
    Ok(Message { arg: arg.clone(), file })
}

/// Reads at most one byte more than the maximum: then the plan reports that the message is too large.
fn read_message(path: &Path) -> Result<Vec<u8>, PlanError> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(SIZE_MAX as u64 + 1).read_to_end(&mut bytes))
        .map_err(|error| unreadable(format!("--message @{}", path.display()), &error))?;
    Ok(bytes)
}

fn read_messages(path: &Path) -> Result<Recorded, PlanError> {
    let flag = || format!("--messages {}", path.display());
    let file = File::open(path).map_err(|error| unreadable(flag(), &error))?;
    Recorded::read(BufReader::new(file)).map_err(|error| unreadable(flag(), &error))
}

fn unreadable(flag: String, error: &dyn std::fmt::Display) -> PlanError {
    PlanError::UnreadableMessage { flag, reason: format!("{error:#}") }
}

fn protocol_parser() -> impl TypedValueParser<Value = &'static str> {
    let names = PROTOCOLS.iter().map(|row| PossibleValue::new(row.name).help(row.summary));
    PossibleValuesParser::new(names).map(|name| crate::protocol::row(&name).name)
}

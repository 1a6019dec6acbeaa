//! The requests of a load: templates with weights, or the requests of a file.

use std::sync::Arc;

use crate::protocol::{
    Asked, Protocol,
    message::SIZE_MAX,
    mix::Mix,
    recorded::{Order, Recorded},
    template::{At, Template},
};

/// The requests of a load.
#[derive(Clone, Debug)]
pub(crate) enum Requests {
    /// Each request is an expanded template.
    Templates {
        /// The templates of the kinds.
        templates: Vec<RequestTemplate>,
        /// The kind of each request.
        mix: Mix,
    },
    /// Each request is a line of a file.
    Recorded {
        /// The requests of the file, at least one.
        requests: Arc<[RecordedRequest]>,
        /// Which one is next.
        order: Order,
    },
}

/// A kind of request.
#[derive(Clone, Debug)]
pub(crate) struct RequestTemplate {
    /// The whole request.
    template: Template,
    asked: Asked,
}

/// A request of a file.
#[derive(Clone, Debug)]
pub(crate) struct RecordedRequest {
    bytes: Vec<u8>,
    kind: usize,
    asked: Asked,
}

impl Requests {
    /// Requests from these texts, in a protocol.
    ///
    /// # Errors
    /// The index of the first text that is no request of the protocol, and why.
    pub(crate) fn from_texts(
        protocol: &impl Protocol,
        texts: &[Template],
        mix: Mix,
    ) -> Result<Self, (usize, String)> {
        let template = |(index, text)| {
            let template = protocol.request(text).map_err(|error| (index, error))?;
            let mut first = Vec::new();
            template.expand(&At { client: 0, request: 0, seed: 0 }, &mut first);
            check_length(first.len()).map_err(|error| (index, error))?;
            Ok(RequestTemplate { template, asked: protocol.asked(&first) })
        };
        let templates = texts.iter().enumerate().map(template).collect::<Result<_, _>>()?;
        Ok(Self::Templates { templates, mix })
    }

    /// The requests of a file, in a protocol.
    ///
    /// # Errors
    /// The number of the first request that is none of the protocol, from 1, and why.
    pub(crate) fn from_file(
        protocol: &impl Protocol,
        recorded: Recorded,
        order: Order,
    ) -> Result<Self, String> {
        let request = |(index, message): (usize, crate::protocol::recorded::RecordedMessage)| {
            let text = Template::literal(message.bytes);
            let whole = protocol.request(&text).map_err(|error| format!("request {}: {error}", index + 1))?;
            let mut bytes = Vec::new();
            whole.expand(&At { client: 0, request: 0, seed: 0 }, &mut bytes);
            check_length(bytes.len()).map_err(|error| format!("request {}: {error}", index + 1))?;
            let asked = protocol.asked(&bytes);
            Ok(RecordedRequest { bytes, kind: message.kind, asked })
        };
        let requests =
            recorded.messages.into_iter().enumerate().map(request).collect::<Result<_, String>>()?;
        Ok(Self::Recorded { requests, order })
    }

    /// Appends a request.
    #[inline]
    pub(crate) fn expand(&self, at: &At, clients: u32, out: &mut Vec<u8>) {
        match self {
            Requests::Templates { templates, mix } => templates[mix.kind(at)].template.expand(at, out),
            Requests::Recorded { .. } => out.extend_from_slice(&self.recorded(at, clients).bytes),
        }
    }

    /// What the reply to a request depends on.
    #[inline]
    pub(crate) fn asked(&self, at: &At, clients: u32) -> Asked {
        match self {
            Requests::Templates { templates, mix } => templates[mix.kind(at)].asked,
            Requests::Recorded { .. } => self.recorded(at, clients).asked,
        }
    }

    /// The kind of a request, from 0.
    #[inline]
    pub(crate) fn kind(&self, at: &At, clients: u32) -> usize {
        match self {
            Requests::Templates { mix, .. } => mix.kind(at),
            Requests::Recorded { .. } => self.recorded(at, clients).kind,
        }
    }

    fn recorded(&self, at: &At, clients: u32) -> &RecordedRequest {
        match self {
            Requests::Recorded { requests, order } => &requests[order.index(at, clients, requests.len())],
            Requests::Templates { .. } => unreachable!("only requests of a file are recorded"),
        }
    }
}

fn check_length(bytes: usize) -> Result<(), String> {
    match bytes <= SIZE_MAX {
        true => Ok(()),
        false => Err(format!("the request has {bytes} bytes: the maximum is {SIZE_MAX} (64 MiB)")),
    }
}

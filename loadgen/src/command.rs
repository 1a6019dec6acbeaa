//! The commands: a file or a folder for each, and the parts that they share.

pub(crate) mod calibrate;
pub(crate) mod command_line;
pub(crate) mod compare;
pub(crate) mod conduct;
pub(crate) mod delivery;
pub(crate) mod error;
pub(crate) mod exit;
pub(crate) mod files;
pub(crate) mod merge;
pub(crate) mod order;
pub(crate) mod outcome;
pub(crate) mod request_log;
pub(crate) mod run;
pub(crate) mod show;
pub(crate) mod stored;
pub(crate) mod sweep;
pub(crate) mod talk;
pub(crate) mod turn;
pub(crate) mod turn_progress;

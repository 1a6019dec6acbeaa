//! How the run went over its time.

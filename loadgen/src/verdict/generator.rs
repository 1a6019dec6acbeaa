//! What the generator and its machine were short of.

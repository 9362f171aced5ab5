//! Load tools

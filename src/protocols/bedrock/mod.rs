//! AWS Bedrock's Converse.

pub(crate) mod provider;
